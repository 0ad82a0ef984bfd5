//! Numbers that come back from a file: read only within their range, so that what is not a number,
//! is not finite or can never have been learned is refused where it stands. Written in the positive
//! form, so that NaN fails.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// One number or several, all under the same bound.
pub trait Numbers {
    /// Whether all of them pass.
    fn all(&self, passes: impl Fn(f64) -> bool) -> bool;
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl Numbers for $number {
            fn all(&self, passes: impl Fn(f64) -> bool) -> bool {
                passes((*self).into())
            }
        }
    )*};
}
numbers!(i8 u32 f32 f64);

impl<T: Numbers, const N: usize> Numbers for [T; N] {
    fn all(&self, passes: impl Fn(f64) -> bool) -> bool {
        self.iter().all(|number| number.all(&passes))
    }
}

/// Reads numbers from zero to `MAX`.
///
/// # Errors
/// Others.
pub fn up_to<'de, T, D, const MAX: u64>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Numbers,
    D: Deserializer<'de>,
{
    let numbers = T::deserialize(deserializer)?;
    if numbers.all(|number| number >= 0.0 && number <= MAX as f64) {
        return Ok(numbers);
    }
    Err(D::Error::custom(format!("a number that is not from 0 to {MAX}")))
}

/// Reads numbers from -`MAX` to `MAX`.
///
/// # Errors
/// Others.
pub fn within<'de, T, D, const MAX: u64>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Numbers,
    D: Deserializer<'de>,
{
    let numbers = T::deserialize(deserializer)?;
    if numbers.all(|number| number.abs() <= MAX as f64) {
        return Ok(numbers);
    }
    Err(D::Error::custom(format!("a number that is not from -{MAX} to {MAX}")))
}

/// Arrays that are too long for serde's own forms, as lists of exactly that length.
pub mod array {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes a list.
    ///
    /// # Errors
    /// The writer's.
    pub fn serialize<T: Serialize, S: Serializer, const N: usize>(
        array: &[T; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        array.as_slice().serialize(serializer)
    }

    /// Reads a list.
    ///
    /// # Errors
    /// One of another length.
    pub fn deserialize<'de, T, D, const N: usize>(deserializer: D) -> Result<[T; N], D::Error>
    where
        T: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let list = Vec::deserialize(deserializer)?;
        let length = list.len();
        let wrong = |_| D::Error::custom(format!("a list of {length} numbers instead of {N}"));
        list.try_into().map_err(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Form {
        #[serde(deserialize_with = "up_to::<_, _, 10>")]
        level: f32,
        #[serde(deserialize_with = "within::<_, _, 10>")]
        pair: [f32; 2],
        #[serde(with = "array")]
        long: [u8; 40],
    }

    fn read(level: &str, pair: &str, length: usize) -> Result<Form, serde_json::Error> {
        let long = vec!["7"; length].join(",");
        let text = format!(r#"{{"level":{level},"pair":{pair},"long":[{long}]}}"#);
        serde_json::from_str(&text)
    }

    #[test]
    fn what_is_within_its_range_is_read_and_nothing_else() {
        let form = read("10.0", "[-10.0,0.5]", 40).unwrap();
        assert_eq!((form.level.to_bits(), form.pair.len()), (10.0_f32.to_bits(), 2));
        assert_eq!(form.long, [7; 40]);
        for level in ["null", "-0.1", "10.1", "1152921504606846976", "1e300", "1e999", "\"1\""] {
            assert!(read(level, "[0.0,0.0]", 40).is_err(), "{level}");
        }
        for pair in ["[0.0]", "[0.0,-11.0]", "[0.0,0.0,0.0]", "[null,0.0]"] {
            assert!(read("1.0", pair, 40).is_err(), "{pair}");
        }
        for length in [0, 39, 41] {
            assert!(read("1.0", "[0.0,0.0]", length).is_err(), "{length}");
        }
    }
}
