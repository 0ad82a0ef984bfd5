//! Lengths of time as people write them: `90s`, `1h30m`, `500ms`, `14d`.

/// In milliseconds; `None` where it is something else.
pub fn parse_span(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit())?)?;
        let next = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(next)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_add_up_and_what_is_none_is_refused() {
        for (text, expected) in [
            ("90s", Some(90_000)),
            ("1h30m", Some(5_400_000)),
            ("500ms", Some(500)),
            ("14d", Some(1_209_600_000)),
            ("0s", Some(0)),
            ("", None),
            ("90", None),
            ("s", None),
            ("-1s", None),
            ("1w", None),
            ("99999999999999999999s", None),
            ("999999999999999d", None),
        ] {
            assert_eq!(parse_span(text), expected, "{text}");
        }
    }
}
