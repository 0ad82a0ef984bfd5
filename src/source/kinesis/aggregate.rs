//! Records that the Kinesis Producer Library has packed together: four magic bytes, a protobuf
//! message, the MD5 of that message (amazon-kinesis-producer, `aggregation-format.md`).
//!
//! Anything that is not exactly that is one plain record, as it is for the service's own readers.

use md5::{Digest as _, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_BYTES: usize = 16;

/// Field `records` of the message, and field `data` of a record in it.
const RECORDS: u64 = 3;
const DATA: u64 = 3;

/// The most records that one is unpacked into; the library itself packs far fewer. One with more
/// is a plain record, so that a few bytes each cannot become a queue entry each without end.
const PACKED_MAX: usize = 100_000;

/// The data of the packed records; `None` for a plain record.
pub(super) fn unpack(record: &[u8]) -> Option<Vec<&[u8]>> {
    let body = record.strip_prefix(&MAGIC)?;
    let (message, digest) = body.split_at_checked(body.len().checked_sub(DIGEST_BYTES)?)?;
    if Md5::digest(message).as_slice() != digest {
        return None;
    }
    let mut packed = Vec::new();
    let mut fields = Fields(message);
    while let Some((number, value)) = fields.next()? {
        if number == RECORDS {
            if packed.len() == PACKED_MAX {
                return None;
            }
            packed.push(data(value?)?);
        }
    }
    Some(packed)
}

/// The last `data` field of a packed record; one without is empty.
fn data(record: &[u8]) -> Option<&[u8]> {
    let mut data: &[u8] = &[];
    let mut fields = Fields(record);
    while let Some((number, value)) = fields.next()? {
        if number == DATA {
            data = value?;
        }
    }
    Some(data)
}

/// The rest of a protobuf message.
struct Fields<'a>(&'a [u8]);

/// A field's number, and its bytes if it has a length.
type Field<'a> = (u64, Option<&'a [u8]>);

impl<'a> Fields<'a> {
    /// The next field, `Some(None)` at the end, `None` where this is no protobuf message.
    #[expect(clippy::option_option, reason = "the end and a mistake are two things")]
    fn next(&mut self) -> Option<Option<Field<'a>>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => self.varint().map(|_| None)?,
            1 => self.take(8).map(|_| None)?,
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Some(self.take(length)?)
            }
            5 => self.take(4).map(|_| None)?,
            _ => return None,
        };
        Some(Some((tag >> 3, value)))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2];
        let mut length = bytes.len();
        while length >= 0x80 {
            field.push(length as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend_from_slice(bytes);
        field
    }

    fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC, message, Md5::digest(message).as_slice()].concat()
    }

    pub(in super::super) fn aggregated(data: &[&[u8]]) -> Vec<u8> {
        let mut message = field(1, b"partition key");
        for data in data {
            // partition_key_index, then the data.
            let record = [&[1 << 3, 0][..], &field(3, data)].concat();
            message.extend(field(3, &record));
        }
        sealed(&message)
    }

    #[test]
    fn packed_records_come_out_in_order_and_anything_else_is_plain() {
        let long = vec![7; 70_000];
        let data: [&[u8]; 4] = [b"one", b"", &long, b"four"];
        assert_eq!(unpack(&aggregated(&data)), Some(data.to_vec()));
        assert_eq!(unpack(&sealed(b"")), Some(vec![]));
        let mut bent = aggregated(&data);
        let last = bent.len() - 1;
        bent[last] ^= 1;
        for plain in [&b""[..], b"{}", &MAGIC, &bent, &sealed(b"\xff"), &sealed(&[26, 9, 0])] {
            assert_eq!(unpack(plain), None);
        }
        // A record that is a number, a group, and a length beyond any memory.
        for message in [&[3 << 3, 1][..], &[3 << 3 | 3], &[26, 255, 255, 255, 255, 255, 255, 127]] {
            assert_eq!(unpack(&sealed(message)), None);
        }
    }

    proptest! {
        #[test]
        fn no_message_is_a_panic_and_what_is_packed_is_part_of_it(
            message in proptest::collection::vec(0_u8..40, 0..200),
        ) {
            if let Some(packed) = unpack(&sealed(&message)) {
                prop_assert!(packed.iter().map(|data| data.len()).sum::<usize>() <= message.len());
            }
        }
    }
}
