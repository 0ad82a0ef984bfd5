//! Requests that are turned away day in, day out: by a reservation that is always full, by a
//! firewall. They are no part of an attack and must not keep its alarm open.

/// Weight of a new minute.
const WEIGHT: f64 = 1.0 / 16.0;

/// How many are usual.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refusals {
    /// In the open minute.
    minute: u32,
    /// In a usual minute.
    usual: f32,
}

impl Refusals {
    /// Notes one.
    pub(super) fn note(&mut self) {
        self.minute = self.minute.saturating_add(1);
    }

    /// Closes a minute.
    #[expect(clippy::cast_possible_truncation, reason = "kept for display and limits")]
    pub(super) fn close(&mut self, learning: bool) {
        let minute = f64::from(std::mem::take(&mut self.minute));
        if learning {
            let usual = f64::from(self.usual);
            self.usual = (usual + WEIGHT * (minute - usual)) as f32;
        }
    }

    /// Closes `minutes` minutes without any.
    #[expect(clippy::cast_possible_truncation, reason = "kept for display and limits")]
    pub(super) fn silence(&mut self, minutes: u64) {
        self.usual *= libm::pow(1.0 - WEIGHT, minutes as f64) as f32;
    }

    /// How many a second are usual.
    pub(super) fn per_second(self) -> f64 {
        f64::from(self.usual) / 60.0
    }
}
