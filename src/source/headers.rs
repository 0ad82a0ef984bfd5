//! The headers of a message in one block of bytes, so that a chunk holds them without allocating.

/// Headers beside a message; empty where the transport has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// Takes back what [`push`] has written.
    pub fn new(block: &'a [u8]) -> Self {
        Self(block)
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The block itself.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Names and values in the order in which they were written.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let name = part(&mut rest)?;
            let value = part(&mut rest)?;
            Some((std::str::from_utf8(name).unwrap_or_default(), value))
        })
    }
}

/// Writes a header behind a block.
pub fn push(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), value] {
        // No transport has headers of gigabytes; what does not fit is left out.
        let Ok(length) = u32::try_from(part.len()) else {
            block.extend_from_slice(&0_u32.to_le_bytes());
            continue;
        };
        block.extend_from_slice(&length.to_le_bytes());
        block.extend_from_slice(part);
    }
}

fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (part, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            headers in proptest::collection::vec((".{0,9}", ".{0,9}"), 0..9)
        ) {
            let mut block = Vec::new();
            headers.iter().for_each(|(name, value)| push(&mut block, name, value.as_bytes()));
            let read: Vec<_> = Headers::new(&block).iter().collect();
            let written: Vec<_> = headers.iter().map(|(n, v)| (&**n, v.as_bytes())).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn any_bytes_can_be_read(block in proptest::collection::vec(0_u8..255, 0..99)) {
            prop_assert!(Headers::new(&block).iter().count() <= block.len());
        }
    }
}
