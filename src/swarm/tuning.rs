//! Settings of bursar, within the ranges that the documented file gives. Times are on the short
//! side of them, so that a world comes to rest soon.

use super::dice::Dice;
use crate::config::settings::Settings;
use crate::control::settings::{ControlSettings, Mode};
use crate::cost::Gateway;
use crate::engine::settings::DetectionSettings;
use crate::simulation::scenario::{Load, Scenario};

/// bursar is fresh in every world, and a function without a past is noticed when it burns twenty
/// times the floor. The estate burns less than half of that, or everything usual would be news.
const YOUNG_SHARE: f64 = 0.1;
/// Lambda's price of a GB-second, rounded up.
const GB_SECOND_USD: f64 = 1.7e-5;
/// Everything else that a call costs, at most; see `cost` below.
const CALL_USD: f64 = 1.2e-4;

/// Settings for a world.
pub(super) fn settings(dice: &mut Dice, scenario: &Scenario) -> Settings {
    let mut settings = Settings::default();
    settings.engine.lateness_seconds = dice.between(1, 30);
    settings.engine.functions_max = dice.pick(&[256, 1_000, 1_000_000]);
    // More than come within the time that a duplicate takes, or none at all.
    settings.engine.deliveries_max = dice.pick(&[65_536, 65_536, 65_536, 0]);
    settings.batch_records = dice.pick(&[1, 16, 4_096]);
    let usual = DetectionSettings::default();
    let least = burn_usd_per_hour(scenario) * YOUNG_SHARE;
    let drawn = detection(dice, least);
    let is_dear = least > usual.notice_floor_usd_per_hour;
    settings.detection = if is_dear || dice.chance(0.7) { drawn } else { usual };
    settings.control = control(dice, scenario);
    let cost = &mut settings.cost;
    cost.gateway =
        dice.pick(&[Gateway::Observed, Gateway::None, Gateway::HttpApi, Gateway::RestApi]);
    cost.log_bytes_per_invocation = u64::from(dice.between(0, 5_000));
    cost.response_bytes = u64::from(dice.pick(&[0_u32, 10_000]));
    cost.extra_usd_per_million_requests = dice.pick(&[0.0, 0.0, 5.0, 50.0]);
    cost.free_tier = dice.chance(0.2);
    settings
}

/// What the dearest function burns when nothing is wrong, in dollars an hour, roughly.
fn burn_usd_per_hour(scenario: &Scenario) -> f64 {
    let burn = |load: &Load| {
        let spec = &scenario.functions[load.function];
        let gb_seconds = f64::from(spec.memory.get()) / 1_024.0 * spec.duration.quantile(0.8) / 1e3;
        let call = gb_seconds * GB_SECOND_USD + CALL_USD;
        load.pace.mean_rps() * (1.0 + load.season.daily) * call * 3_600.0
    };
    scenario.loads.iter().map(burn).fold(0.0, f64::max)
}

fn detection(dice: &mut Dice, least: f64) -> DetectionSettings {
    let notice_floor_usd_per_hour = dice.scale(0.001, 0.1).max(least);
    DetectionSettings {
        pages_per_day: dice.scale(0.001, 1.0),
        estate_functions: u64::from(dice.pick(&[1_u32, 100, 10_000, 1_000_000])),
        envelope: dice.range(1.2, 4.0),
        notice_floor_usd_per_hour,
        page_floor_usd_per_hour: notice_floor_usd_per_hour * dice.scale(1.0, 10.0),
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
        ..ControlSettings::default()
    }
}
