//! An account's concurrency and the caps that share it.

use std::collections::{BTreeMap, VecDeque};

use super::*;
use crate::control::action::{Place, Room};
use crate::control::gate::GateKind;

/// An account whose control plane takes so many changes a second.
struct Account {
    limit: u32,
    reserved: BTreeMap<FunctionKey, u32>,
    waiting: VecDeque<Intent>,
    changes_a_second: usize,
    /// What was first done for each function, in order.
    first: Vec<FunctionKey>,
    most: u32,
}

impl Account {
    fn new(limit: u32, changes_a_second: usize) -> Self {
        let (reserved, waiting) = (BTreeMap::new(), VecDeque::new());
        Self { limit, reserved, waiting, changes_a_second, first: Vec::new(), most: 0 }
    }

    fn room(&self) -> Room {
        let taken: u32 = self.reserved.values().sum();
        Room { limit: self.limit, free: (self.limit - 100).saturating_sub(taken) }
    }

    fn second(&mut self, control: &mut Control, second: i64) {
        control.tick(at(second));
        self.waiting.extend(control.intents());
        for _ in 0..self.changes_a_second {
            let Some(intent) = self.waiting.pop_front() else { break };
            let from = Setting::of_number(self.reserved.get(&intent.function).copied());
            let more = intent.to.number().unwrap_or(0).saturating_sub(from.number().unwrap_or(0));
            let kind =
                if more > self.room().free { OutcomeKind::Refused } else { OutcomeKind::Applied };
            if kind == OutcomeKind::Applied {
                if intent.verb == Verb::Restrict {
                    self.first.push(intent.function.clone());
                }
                match intent.to.number() {
                    Some(value) => drop(self.reserved.insert(intent.function.clone(), value)),
                    None => drop(self.reserved.remove(&intent.function)),
                }
            }
            let answered = Outcome::of(kind, from, String::new());
            let told = Outcome {
                effective_at: (kind == OutcomeKind::Applied).then(|| at(second)),
                room: Some(self.room()),
                ..answered
            };
            control.outcome(intent, told);
        }
        self.most = self.most.max(self.reserved.values().sum());
    }
}

fn enforcing(functions_per_minute_max: u32, account_share: f64) -> Control {
    let settings = ControlSettings {
        mode: Mode::Enforce,
        rungs: vec![ActuatorKind::ReservedConcurrency],
        functions_per_minute_max,
        account_share,
        ..ControlSettings::default()
    };
    Control::new(settings, Vec::new())
}

/// A hundred functions for every one of [`ten_thousand`] unless `BURSAR_TEST_FUNCTIONS` says more.
fn count() -> i64 {
    std::env::var("BURSAR_TEST_FUNCTIONS").map_or(500, |text| text.parse().unwrap())
}

#[test]
fn thousands_attacked_at_once_keep_the_quota_the_dearest_come_first_and_all_is_given_back() {
    let functions = count();
    let name = |number: i64| format!("f{number}");
    // In no order that the names would give.
    let dollars = |number: i64| 1.5 + (number * 7_919 % functions) as f64 / 100.0;
    let mut control = enforcing(240, 0.9);
    let mut account = Account::new(u32::try_from(2 * functions).unwrap(), 5);
    let calm = |number: i64| Pulse { expected: 0.001, ..pulse(&name(number), 0.1, 0.0) };
    for number in 0..functions {
        control.alarm(&alarm(&name(number), AlarmState::Opened, dollars(number), 0, 0));
        control.pulse(Pulse { expected: 0.001, ..pulse(&name(number), 400.0, 0.0) });
    }
    let mut second = 5;
    while account.first.len() < usize::try_from(functions).unwrap() {
        account.second(&mut control, second);
        assert!(second < 10 + functions, "{} of {functions}", account.first.len());
        second += 1;
    }
    let order: Vec<f64> = account
        .first
        .iter()
        .map(|function| dollars(function.name.trim_start_matches('f').parse().unwrap()))
        .collect();
    assert!(order.is_sorted_by(|a, b| a >= b), "the dearest first");
    assert!(f64::from(account.most) <= 0.9 * f64::from(account.limit), "{}", account.most);
    for number in 0..functions {
        control.pulse(calm(number));
        control.alarm(&alarm(&name(number), AlarmState::Closed, 0.0, 0, second));
    }
    let over = second + 1_000 + 3 * functions;
    while !account.reserved.is_empty() || !control.is_idle() {
        account.second(&mut control, second);
        assert!(second < over, "{} are left", account.reserved.len());
        second += 1;
    }
    assert!(f64::from(account.most) <= 0.9 * f64::from(account.limit), "{}", account.most);
}

#[test]
fn whoever_came_first_makes_room_for_the_others() {
    let mut control = enforcing(20, 0.5);
    let mut account = Account::new(200, 15);
    let flooded = |name: &str| Pulse { expected: 1.0, ..pulse(name, 2_000.0, 0.0) };
    control.alarm(&alarm("a", AlarmState::Opened, 9.0, 0, 0));
    // A budget that allows far more than the account has.
    control.pulse(Pulse { usd_per_call: 4e-7, ..flooded("a") });
    for second in 5..40 {
        account.second(&mut control, second);
    }
    let alone = account.reserved[&function("a")];
    assert_eq!(alone, 100, "half of the account: what the answer to the first cap has told");
    for name in ["b", "c"] {
        control.alarm(&alarm(name, AlarmState::Opened, 3.0, 0, 40));
        control.pulse(Pulse { usd_per_call: 4e-7, ..flooded(name) });
    }
    for second in 45..120 {
        account.second(&mut control, second);
    }
    let caps: Vec<u32> = account.reserved.values().copied().collect();
    assert_eq!(caps.len(), 3, "{caps:?}");
    assert!(caps.iter().all(|cap| (30..=36).contains(cap)), "each gets a third: {caps:?}");
}

#[test]
fn where_not_even_legitimate_callers_find_room_nothing_is_done_and_that_is_said() {
    let mut control = enforcing(20, 0.5);
    let room = Room { limit: 1_000, free: 5 };
    control.room(Place::of(&function("f")), room);
    control.alarm(&alarm("f", AlarmState::Opened, 5.0, 0, 0));
    assert!(run(&mut control, 0, 60, &pulse("f", 400.0, 0.0)).is_empty());
    let told = control.abstentions();
    let gates: Vec<_> = told.iter().map(|told| told.gate).collect();
    assert_eq!(gates, [GateKind::Room], "{told:?}");
    let gate = told[0].gates.last().unwrap();
    assert_eq!((gate.kind, &gate.needs), (GateKind::Room, &Reading::Number(5.0)));
    assert!(told[0].reason.contains("control.account_share"), "{}", told[0].reason);
    // Somebody gives some back.
    control.room(Place::of(&function("f")), Room { free: 400, ..room });
    let wanted = run(&mut control, 60, 70, &pulse("f", 400.0, 0.0));
    assert_eq!(wanted.len(), 1);
}
