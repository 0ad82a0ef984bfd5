//! Whether a cap shows.

use super::*;
use crate::control::restriction::Effect;

#[test]
fn a_cap_is_seen_in_what_runs_at_once_and_missed_after_a_minute() {
    let mut control = control(Mode::Enforce);
    let cap = capped(&mut control);
    let limit = cap.to.number().unwrap();
    let applied =
        Outcome { effective_at: Some(at(20)), ..answer(OutcomeKind::Applied, number(90)) };
    control.outcome(cap, applied);
    // Telemetry is late: 120 run at once as before.
    run(&mut control, 21, 40, &pulse("f", 400.0, 0.0));
    assert_eq!(control.effects(), []);
    assert_eq!(control.restrictions().next().unwrap().effect, Effect::Awaited);
    let held = f64::from(limit) / 0.3;
    run(&mut control, 40, 60, &pulse("f", held, 400.0 - held));
    let told = control.effects();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].effect, told[0].limit, told[0].after_ms), (Effect::Seen, limit, 20_000));
    assert!((told[0].runs - f64::from(limit)).abs() < 1e-6);
    // Somebody has lifted it, and nobody has looked there yet.
    run(&mut control, 60, 118, &pulse("f", 400.0, 0.0));
    assert_eq!(control.effects(), []);
    run(&mut control, 118, 130, &pulse("f", 400.0, 0.0));
    let told = control.effects();
    assert_eq!(told.iter().map(|it| it.effect).collect::<Vec<_>>(), [Effect::Missing], "{told:?}");
    run(&mut control, 130, 140, &pulse("f", 10.0, 0.0));
    assert_eq!(control.effects()[0].effect, Effect::Seen);
}
