//! One field of a JSON record, which may hold anything until it is used.

use core::fmt;
use std::borrow::Cow;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};

use super::outcome::Refused;
use crate::record::SOURCE_BYTES_MAX;
use crate::units::{BilledMs, MemoryMb, OutOfRange};

/// One field of a record, whatever it holds. A field with the wrong kind of value must not make the
/// rest of its message unreadable, so the kind is looked at when the field is used.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) enum Field<'a> {
    /// Not there, or null.
    #[default]
    Absent,
    /// Borrowed unless it has escapes.
    Text(Cow<'a, str>),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    /// A boolean, an array or an object: no field here has one.
    Other,
    /// A string with escapes, which the function in [`FieldWith`] has got.
    Given,
}

impl Field<'_> {
    /// Not by comparing, which would look at what the field holds.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }

    /// A string, cut to [`SOURCE_BYTES_MAX`].
    pub(super) fn text(&self, field: &str) -> Result<Option<&str>, Refused> {
        match self {
            Field::Text(text) => Ok(Some(cut(text))),
            Field::Absent => Ok(None),
            _ => Err(self.malformed(field, "a string")),
        }
    }

    /// A whole number; `12.0` is one.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and within 2^53, checked in the same line"
    )]
    pub(super) fn integer(&self, field: &'static str) -> Result<Option<i64>, Refused> {
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        let out_of_range = |value: &dyn fmt::Display| {
            Err(OutOfRange::new(field, value, "a whole number below 2^53").into())
        };
        match self {
            Field::Unsigned(value) => match i64::try_from(*value) {
                Ok(value) => Ok(Some(value)),
                Err(_) => out_of_range(value),
            },
            Field::Signed(value) => Ok(Some(*value)),
            Field::Float(value) if value.abs() < EXACT_MAX && value.fract() == 0.0 => {
                Ok(Some(*value as i64))
            }
            Field::Float(value) => out_of_range(value),
            Field::Absent => Ok(None),
            _ => Err(self.malformed(field, "a number")),
        }
    }

    /// A time in seconds since 1970, with or without a fraction, as milliseconds.
    #[expect(clippy::cast_possible_truncation, reason = "a cast of a float saturates")]
    pub(super) fn seconds(&self, field: &'static str) -> Result<Option<i64>, Refused> {
        let seconds = match self {
            Field::Unsigned(seconds) => *seconds as f64,
            Field::Signed(seconds) => *seconds as f64,
            Field::Float(seconds) => *seconds,
            Field::Absent => return Ok(None),
            _ => return Err(self.malformed(field, "seconds since 1970")),
        };
        Ok(Some(libm::round(seconds * 1_000.0) as i64))
    }

    /// A billed duration. A fraction of a millisecond is rounded up, as the platform bills it.
    pub(super) fn billed(&self, field: &str) -> Result<BilledMs, Refused> {
        Ok(match self {
            Field::Unsigned(ms) => BilledMs::try_new(*ms)?,
            Field::Signed(ms) => BilledMs::try_from_f64(*ms as f64)?,
            Field::Float(ms) => BilledMs::try_from_f64(*ms)?,
            Field::Absent => return Err(Refused::missing(field)),
            _ => return Err(self.malformed(field, "a number of milliseconds")),
        })
    }

    /// A memory size.
    pub(super) fn memory(&self, field: &'static str) -> Result<MemoryMb, Refused> {
        let Some(mb) = self.integer(field)? else {
            return Err(Refused::missing(field));
        };
        match u64::try_from(mb) {
            Ok(mb) => Ok(MemoryMb::try_new(mb)?),
            Err(_) => Err(OutOfRange::new("memory size (MB)", mb, "1 to 32768").into()),
        }
    }

    /// An initialisation time in milliseconds.
    pub(super) fn init(&self, field: &str) -> Result<Option<f32>, Refused> {
        let ms = match self {
            Field::Unsigned(ms) => *ms as f64,
            Field::Signed(ms) => *ms as f64,
            Field::Float(ms) => *ms,
            Field::Absent => return Ok(None),
            _ => return Err(self.malformed(field, "a number of milliseconds")),
        };
        init_ms(ms).map(Some)
    }

    #[cold]
    fn malformed(&self, field: &str, accepted: &str) -> Refused {
        let shown = match self {
            Field::Absent => "null",
            Field::Text(text) => text,
            Field::Unsigned(_) | Field::Signed(_) | Field::Float(_) => "a number",
            Field::Other => "a boolean, an array or an object",
            Field::Given => "a string",
        };
        Refused::malformed(field, shown, accepted)
    }
}

/// An initialisation time, checked. It has the range of a billed duration, of which it is a part.
#[expect(
    clippy::cast_possible_truncation,
    reason = "milliseconds below one hour; a float keeps them to a quarter of a microsecond"
)]
pub(super) fn init_ms(ms: f64) -> Result<f32, Refused> {
    // Positive form, so that NaN fails.
    if ms >= 0.0 && ms <= f64::from(BilledMs::MAX_MS) {
        Ok(ms as f32)
    } else {
        Err(OutOfRange::new("initialisation (ms)", ms, "0 to 3600000").into())
    }
}

/// Cut to [`SOURCE_BYTES_MAX`] at a character boundary.
#[inline]
pub(super) fn cut(text: &str) -> &str {
    if text.len() <= SOURCE_BYTES_MAX {
        return text;
    }
    let kept = text.floor_char_boundary(SOURCE_BYTES_MAX);
    text.get(..kept).unwrap_or_default()
}

/// A flat object whose fields are found by name. Filled in place: a derived implementation builds
/// the fields one by one and then moves all of them, which for two dozen takes as long as parsing.
pub(super) trait Fields<'a> {
    /// Where the field with this name belongs.
    fn slot(&mut self, name: &str) -> Option<&mut Field<'a>>;
}

/// Parses a whole text, an object, into its fields.
pub(super) fn fill<'a>(text: &'a str, fields: &mut impl Fields<'a>) -> Result<(), Refused> {
    let mut parser = sonic_rs::Deserializer::from_str(text);
    (&mut parser).deserialize_map(Fill(fields))?;
    Ok(parser.end()?)
}

struct Fill<'s, T>(&'s mut T);

impl<'de, T: Fields<'de>> Visitor<'de> for Fill<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(slot) = map.next_key_seed(Slot(self.0))? {
            match slot {
                Some(slot) if slot.is_absent() => *slot = map.next_value_seed(OneField)?,
                Some(_) => return Err(A::Error::custom("a field is there twice")),
                None => {
                    map.next_value_seed(OneField)?;
                }
            }
        }
        Ok(())
    }
}

struct Slot<'s, T>(&'s mut T);

impl<'de: 's, 's, T: Fields<'de>> DeserializeSeed<'de> for Slot<'s, T> {
    type Value = Option<&'s mut Field<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de: 's, 's, T: Fields<'de>> Visitor<'de> for Slot<'s, T> {
    type Value = Option<&'s mut Field<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.slot(name))
    }
}

struct OneField;

impl<'de> DeserializeSeed<'de> for OneField {
    type Value = Field<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field<'de>, D::Error> {
        deserializer.deserialize_any(FieldVisitor(collected))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As an option, because that is how serde tells a missing field from a wrong one.
        deserializer.deserialize_option(FieldVisitor(collected))
    }
}

/// Reads a field without allocating: a string with escapes is not collected but given to this
/// function.
pub(super) struct FieldWith<F>(pub(super) F);

impl<'de, F: FnOnce(&str) -> Field<'de>> DeserializeSeed<'de> for FieldWith<F> {
    type Value = Field<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field<'de>, D::Error> {
        deserializer.deserialize_any(FieldVisitor(self.0))
    }
}

struct FieldVisitor<F>(F);

fn collected<'a>(text: &str) -> Field<'a> {
    Field::Text(Cow::Owned(text.to_owned()))
}

impl<'de, F: FnOnce(&str) -> Field<'de>> Visitor<'de> for FieldVisitor<F> {
    type Value = Field<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Field::Absent)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Field::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.0(text))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Field::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Field::Signed(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Field::Float(value))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Field::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element_seed(OneField)?.is_some() {}
        Ok(Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(OneField)?;
        }
        Ok(Field::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::json::parse;
    use crate::decode::outcome::Reason;

    #[test]
    fn a_field_takes_anything_and_says_what_it_would_have_accepted() {
        let field = |text| parse::<Field<'_>>(text).unwrap();
        assert_eq!(field("null"), Field::Absent);
        assert_eq!(field("12.0").integer("x").unwrap(), Some(12));
        assert_eq!(field("-3").integer("x").unwrap(), Some(-3));
        assert_eq!(field("12.0").billed("x").unwrap().get(), 12);
        assert_eq!(field("11.2").billed("x").unwrap().get(), 12);
        assert_eq!(field("0").init("x").unwrap(), Some(0.0));
        for (text, reason) in [
            ("12.5", Reason::OutOfRange),
            ("1e300", Reason::OutOfRange),
            ("18446744073709551615", Reason::OutOfRange),
            ("true", Reason::MalformedField),
            ("[[1]]", Reason::MalformedField),
            ("{\"a\":{}}", Reason::MalformedField),
            ("\"12\"", Reason::MalformedField),
        ] {
            assert_eq!(field(text).integer("x").unwrap_err().reason, reason, "{text}");
        }
        for (text, reason) in [
            ("-1", Reason::OutOfRange),
            ("-0.5", Reason::OutOfRange),
            ("3600001", Reason::OutOfRange),
            ("null", Reason::MissingField),
            ("\"12\"", Reason::MalformedField),
        ] {
            assert_eq!(field(text).billed("x").unwrap_err().reason, reason, "{text}");
        }
        assert_eq!(parse::<Field<'_>>("1e999").unwrap_err().reason, Reason::OutOfRange);
        assert_eq!(parse::<Field<'_>>("NaN").unwrap_err().reason, Reason::InvalidJson);
        assert_eq!(init_ms(f64::NAN).unwrap_err().reason, Reason::OutOfRange);
    }

    #[test]
    fn long_strings_are_cut_between_characters() {
        let long = "é".repeat(SOURCE_BYTES_MAX);
        assert_eq!(cut(&long).len(), SOURCE_BYTES_MAX);
        let shifted = format!("x{long}");
        assert_eq!(cut(&shifted).len(), SOURCE_BYTES_MAX - 1);
        assert_eq!(cut("short"), "short");
    }
}
