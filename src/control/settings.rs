//! What control may do; validated by `config`.

use super::action::ActuatorKind;

/// Whether control acts or only says what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Decides and says so; changes nothing.
    #[default]
    Observe,
    /// Applies what it decides once a person has approved what it begins with, alarm by alarm.
    Approve,
    /// Applies what it decides.
    Enforce,
}

impl Mode {
    /// Whether anything is ever changed.
    pub const fn acts(self) -> bool {
        !matches!(self, Mode::Observe)
    }
}

/// Limits and times of the control ladder.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlSettings {
    /// Observe or enforce.
    pub mode: Mode,
    /// Excess spend below this, in dollars an hour, is not acted on, unless the attacks on an
    /// account together reach it.
    pub action_floor_usd_per_hour: f64,
    /// Names or `*` patterns of functions (matched against `account:region:name` and against the
    /// bare name) that are never restricted.
    pub never_touch: Vec<String>,
    /// Functions, named likewise, that may be capped although messages of their queue can be lost
    /// by it.
    pub lossy: Vec<String>,
    /// Times at which nothing new is restricted; see [`super::maintenance::Window::parse`].
    pub maintenance: Vec<String>,
    /// No cap goes below this concurrency.
    pub cap_floor: u32,
    /// How long a new restriction is given to show its effect before the next rung, seconds.
    pub settle_seconds: u32,
    /// How long demand must have been normal before the first step of a restore, seconds.
    pub quiet_seconds: u32,
    /// Length of each canary step (25 %, 50 %, 100 %), seconds.
    pub canary_seconds: u32,
    /// First hold-down after a restore; doubles at every re-trip, seconds.
    pub hold_down_seconds: u32,
    /// Every restriction lapses after this long unless it is renewed, seconds.
    pub expiry_seconds: u32,
    /// At most this many functions are newly restricted per minute.
    pub functions_per_minute_max: u32,
    /// Caps together reserve at most this share of an account's concurrency in a region.
    pub account_share: f64,
    /// What somebody else has changed or lifted is left alone for this long, seconds.
    pub veto_seconds: u32,
    /// The rungs that there are hands for.
    pub rungs: Vec<ActuatorKind>,
}

impl Default for ControlSettings {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            action_floor_usd_per_hour: 1.0,
            never_touch: Vec::new(),
            lossy: Vec::new(),
            maintenance: Vec::new(),
            cap_floor: 1,
            settle_seconds: 15,
            quiet_seconds: 120,
            canary_seconds: 60,
            hold_down_seconds: 300,
            expiry_seconds: 3_600,
            functions_per_minute_max: 20,
            account_share: 0.5,
            veto_seconds: 86_400,
            rungs: ActuatorKind::ALL.to_vec(),
        }
    }
}
