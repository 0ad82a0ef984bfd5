//! Where the value stands in a line of a metric export.
//!
//! `timestamp,value` with or without a header, and with other columns, which are carried along.
//! Times are carried too, in whatever form they have: the order of the lines is all that counts.

/// What stands for a value that is not there, in any case, beside nothing at all.
const MISSING: [&str; 5] = ["nan", "null", "none", "na", "-"];

/// Where values stand in the lines of one export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Columns {
    value: usize,
    /// Whether the line that this was made from names the columns.
    pub has_header: bool,
}

/// What stands in the value's place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Field {
    /// A number; it may be infinite.
    Number(f64),
    /// Nothing, or a word for it.
    Missing,
    /// Anything else, or fewer columns.
    Unreadable,
}

impl Columns {
    /// From the first line: a header if its second column is not a number. The column named
    /// `value` is taken, or else the second; `None` where there is neither.
    pub fn of(first: &str) -> Option<Self> {
        let second = fields(first).nth(1)?;
        if field(second) != Field::Unreadable {
            return Some(Self { value: 1, has_header: false });
        }
        let named = fields(first).position(|name| name.eq_ignore_ascii_case("value"));
        Some(Self { value: named.unwrap_or(1), has_header: true })
    }

    /// The value in a line.
    pub fn value(self, line: &str) -> Field {
        fields(line).nth(self.value).map_or(Field::Unreadable, field)
    }
}

fn field(text: &str) -> Field {
    if text.is_empty() || MISSING.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Field::Missing;
    }
    text.parse().map_or(Field::Unreadable, Field::Number)
}

/// The fields of a line (RFC 4180), without their quotes and the blanks around them. Commas inside
/// quotes do not separate.
fn fields(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let separates = move |character: char| {
        quoted ^= character == '"';
        character == ',' && !quoted
    };
    line.split(separates).map(|field| {
        let field = field.trim();
        let inside = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
        inside.unwrap_or(field).trim()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_may_be_missing_and_the_value_stand_anywhere() {
        for (first, expected) in [
            ("timestamp,value", Some((1, true))),
            ("\"TimeStamp\",\"Value\",\"Label\"", Some((1, true))),
            ("time,host,VALUE", Some((2, true))),
            ("time,requests", Some((1, true))),
            ("2014-04-01 00:00:00,20.5", Some((1, false))),
            ("1396310400,", Some((1, false))),
            ("1396310400000,NaN,x", Some((1, false))),
            ("value", None),
            ("", None),
        ] {
            let columns = expected.map(|(value, has_header)| Columns { value, has_header });
            assert_eq!(Columns::of(first), columns, "{first}");
        }
    }

    #[test]
    fn a_value_is_a_number_missing_or_unreadable() {
        let columns = Columns { value: 1, has_header: false };
        for (line, expected) in [
            ("t,1.5", Field::Number(1.5)),
            ("t, -2e3 ,0", Field::Number(-2_000.0)),
            ("\"1 May, 2018\",\"0\",\"1\"", Field::Number(0.0)),
            ("t,", Field::Missing),
            ("t,NaN", Field::Missing),
            ("t,null,1", Field::Missing),
            ("t,\"\"", Field::Missing),
            ("t,inf", Field::Number(f64::INFINITY)),
            ("t,many", Field::Unreadable),
            ("t", Field::Unreadable),
            ("", Field::Unreadable),
        ] {
            assert_eq!(columns.value(line), expected, "{line}");
        }
    }
}
