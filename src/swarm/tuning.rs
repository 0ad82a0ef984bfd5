//! Settings of bursar, within the ranges that the documented file gives. Times are on the short
//! side of them, so that a world comes to rest soon.

use super::dice::Dice;
use crate::config::settings::Settings;
use crate::control::settings::{ControlSettings, Mode};
use crate::cost::Gateway;
use crate::engine::settings::DetectionSettings;
use crate::simulation::scenario::Scenario;

/// Settings for a world.
pub(super) fn settings(dice: &mut Dice, scenario: &Scenario) -> Settings {
    let mut settings = Settings::default();
    settings.engine.lateness_seconds = dice.between(1, 30);
    settings.engine.functions_max = dice.pick(&[256, 1_000, 1_000_000]);
    // More than come within the time that a duplicate takes, or none at all.
    settings.engine.deliveries_max = dice.pick(&[65_536, 65_536, 65_536, 0]);
    settings.batch_records = dice.pick(&[1, 16, 4_096]);
    if dice.chance(0.7) {
        settings.detection = detection(dice);
    }
    settings.control = control(dice, scenario);
    let cost = &mut settings.cost;
    cost.gateway =
        dice.pick(&[Gateway::Observed, Gateway::None, Gateway::HttpApi, Gateway::RestApi]);
    cost.log_bytes_per_invocation = u64::from(dice.between(0, 5_000));
    cost.response_bytes = u64::from(dice.pick(&[0_u32, 10_000]));
    cost.extra_usd_per_million_requests = dice.pick(&[0.0, 0.0, 5.0, 100.0]);
    cost.free_tier = dice.chance(0.2);
    settings
}

fn detection(dice: &mut Dice) -> DetectionSettings {
    DetectionSettings {
        pages_per_day: dice.scale(0.001, 1.0),
        estate_functions: u64::from(dice.pick(&[1_u32, 100, 10_000, 1_000_000])),
        envelope: dice.range(1.2, 4.0),
        notice_floor_usd_per_hour: dice.scale(0.001, 0.1),
        page_floor_usd_per_hour: dice.scale(0.002, 1.0),
        page_after_usd: dice.scale(0.0001, 0.1),
    }
}

fn control(dice: &mut Dice, scenario: &Scenario) -> ControlSettings {
    let function = dice.between(0, u32::MAX) as usize % scenario.functions.len();
    let name = scenario.functions[function].key.name.to_string();
    ControlSettings {
        mode: if dice.chance(0.15) { Mode::Observe } else { Mode::Enforce },
        action_floor_usd_per_hour: dice.pick(&[0.0, 0.01, 0.1, 1.0]),
        never_touch: if dice.chance(0.25) { vec![name] } else { Vec::new() },
        cap_floor: dice.pick(&[0, 1, 1, 3, 10]),
        settle_seconds: dice.between(1, 30),
        quiet_seconds: dice.between(1, 120),
        canary_seconds: dice.between(1, 60),
        hold_down_seconds: dice.between(1, 180),
        expiry_seconds: dice.between(10, 600),
        functions_per_minute_max: dice.pick(&[0, 1, 2, 20, 20]),
    }
}
