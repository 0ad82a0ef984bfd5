//! The week as two kinds of day, UTC: what people do differs by the hour and at weekends.

/// Hours in a day.
const DAY: i64 = 24;

/// Whether a day, counted from the epoch, is a Saturday or a Sunday. Day 0 was a Thursday.
pub const fn is_weekend(day: i64) -> bool {
    matches!(day.rem_euclid(7), 2 | 3)
}

/// Place of an hour, counted from the epoch: 0 to 23 on weekdays, 24 to 47 at weekends.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 47")]
pub const fn hour_slot(hour: i64) -> usize {
    let weekend = if is_weekend(hour.div_euclid(DAY)) { DAY } else { 0 };
    (hour.rem_euclid(DAY) + weekend) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturday_and_sunday_have_places_of_their_own() {
        // 2026-01-02, a Friday, is day 20,455.
        let friday = 20_455 * DAY;
        assert_eq!((hour_slot(friday), hour_slot(friday + 23)), (0, 23));
        assert_eq!((hour_slot(friday + 24), hour_slot(friday + 71)), (24, 47));
        assert_eq!(hour_slot(friday + 72), 0);
        assert!(!is_weekend(0) && is_weekend(-4) && is_weekend(2));
    }
}
