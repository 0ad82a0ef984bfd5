//! What the HTTP API shows: a copy that the runtime refreshes and that requests only read, so a
//! slow reader never holds up the engine.
//!
//! Each part has a maximum; what does not fit is left out here and stays in the decisions file.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use dashmap::DashMap;
use serde::Serialize;
use serde_json::Value;

use super::largest::largest;
use crate::record::FunctionKey;
use crate::units::{EventTime, NanoUsd};

/// Functions shown: those with the most money at risk. At about 300 bytes each, 3 MB.
pub const FUNCTIONS_SHOWN_MAX: usize = 10_000;

/// Alarms shown; beyond it the oldest make room.
pub const ALARMS_SHOWN_MAX: usize = 1_000;

/// Restrictions shown; beyond it the oldest make room.
pub const RESTRICTIONS_SHOWN_MAX: usize = 10_000;

/// Actions shown; beyond it the oldest make room.
pub const ACTIONS_SHOWN_MAX: usize = 512;

/// Budgets shown; beyond it the oldest make room.
pub const BUDGETS_SHOWN_MAX: usize = 1_000;

/// What is shown of a function.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FunctionView {
    /// Which one.
    pub function: FunctionKey,
    /// Event time of its newest record.
    pub last_event: EventTime,
    /// Invocations a minute.
    pub requests_per_minute: f64,
    /// What it spends, for an hour at the present rate.
    pub burn_nano_usd_per_hour: NanoUsd,
    /// What it would normally spend in an hour.
    pub baseline_nano_usd_per_hour: NanoUsd,
    /// What it spends above that, for an hour at the present rate.
    pub money_at_risk_nano_usd_per_hour: NanoUsd,
    /// Decimal logarithm of the evidence against the baseline.
    pub evidence_log10: f64,
    /// Mean billed duration in milliseconds.
    pub billed_ms_mean: f64,
    /// Configured memory.
    pub memory_mb: u32,
    /// The restriction in force.
    pub restriction: Option<String>,
}

impl FunctionView {
    /// By money at risk, then by spend, then by name: the order in which functions are dropped.
    pub fn by_risk(&self, other: &Self) -> Ordering {
        self.money_at_risk_nano_usd_per_hour
            .cmp(&other.money_at_risk_nano_usd_per_hour)
            .then_with(|| self.burn_nano_usd_per_hour.cmp(&other.burn_nano_usd_per_hour))
            .then_with(|| other.function.cmp(&self.function))
    }
}

/// A part of the program that has to be up before the whole is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// Which part.
    pub component: &'static str,
    /// Whether it is up.
    pub ready: bool,
    /// Why, in words.
    pub why: String,
}

/// The copy. One writer and any number of readers; a reader may see a mixture of two refreshes.
#[derive(Debug)]
pub struct View {
    functions: DashMap<FunctionKey, FunctionView>,
    alarms: Shelf,
    restrictions: Shelf,
    budgets: Shelf,
    actions: Mutex<VecDeque<Value>>,
    readiness: RwLock<Vec<Readiness>>,
    run: RwLock<Value>,
}

impl Default for View {
    fn default() -> Self {
        Self {
            functions: DashMap::new(),
            alarms: Shelf::with_capacity(ALARMS_SHOWN_MAX),
            restrictions: Shelf::with_capacity(RESTRICTIONS_SHOWN_MAX),
            budgets: Shelf::with_capacity(BUDGETS_SHOWN_MAX),
            actions: Mutex::default(),
            readiness: RwLock::default(),
            run: RwLock::default(),
        }
    }
}

impl View {
    /// Replaces all functions. Takes any number and keeps the [`FUNCTIONS_SHOWN_MAX`] with the most
    /// money at risk.
    pub fn publish_functions(&self, functions: impl Iterator<Item = FunctionView>) {
        let kept = largest(functions, FUNCTIONS_SHOWN_MAX, FunctionView::by_risk);
        let mut names: Vec<&FunctionKey> = kept.iter().map(|view| &view.function).collect();
        names.sort_unstable();
        self.functions.retain(|name, _| names.binary_search(&name).is_ok());
        for view in kept {
            self.functions.insert(view.function.clone(), view);
        }
    }

    /// The `count` first functions in `order`, and how many there are in all.
    pub fn functions(
        &self,
        count: usize,
        order: impl Fn(&FunctionView, &FunctionView) -> Ordering,
    ) -> (Vec<FunctionView>, usize) {
        let all = self.functions.iter().map(|entry| entry.value().clone());
        (largest(all, count, order), self.functions.len())
    }

    /// Adds or replaces an alarm.
    pub fn put_alarm(&self, id: &str, alarm: Value) {
        self.alarms.put(id, alarm);
    }

    /// Takes an alarm away.
    pub fn remove_alarm(&self, id: &str) {
        self.alarms.remove(id);
    }

    /// All alarms, the oldest first.
    pub fn alarms(&self) -> Vec<Value> {
        self.alarms.values()
    }

    /// Adds or replaces a restriction.
    pub fn put_restriction(&self, id: &str, restriction: Value) {
        self.restrictions.put(id, restriction);
    }

    /// Takes a restriction away.
    pub fn remove_restriction(&self, id: &str) {
        self.restrictions.remove(id);
    }

    /// All restrictions, the oldest first.
    pub fn restrictions(&self) -> Vec<Value> {
        self.restrictions.values()
    }

    /// Adds or replaces a budget.
    pub fn put_budget(&self, name: &str, budget: Value) {
        self.budgets.put(name, budget);
    }

    /// All budgets, in the order in which they first came.
    pub fn budgets(&self) -> Vec<Value> {
        self.budgets.values()
    }

    /// Adds an action.
    pub fn push_action(&self, action: Value) {
        let mut actions = lock(&self.actions);
        if actions.len() >= ACTIONS_SHOWN_MAX {
            actions.pop_front();
        }
        actions.push_back(action);
    }

    /// All actions, the oldest first.
    pub fn actions(&self) -> Vec<Value> {
        lock(&self.actions).iter().cloned().collect()
    }

    /// Says whether a component is up. Components are literals, so their number is that of the
    /// places in the program that call this.
    pub fn set_ready(&self, component: &'static str, ready: bool, why: impl Into<String>) {
        let entry = Readiness { component, ready, why: why.into() };
        let mut all = self.readiness.write().unwrap_or_else(PoisonError::into_inner);
        match all.iter_mut().find(|entry| entry.component == component) {
            Some(old) => *old = entry,
            None => all.push(entry),
        }
    }

    /// All components, in the order in which they first spoke.
    pub fn readiness(&self) -> Vec<Readiness> {
        let all = self.readiness.read();
        all.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what is running: the run line.
    pub fn set_run(&self, run: Value) {
        *self.run.write().unwrap_or_else(PoisonError::into_inner) = run;
    }

    /// The run line; null before it is known.
    pub fn run(&self) -> Value {
        let run = self.run.read();
        run.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Values by id, and the order in which the ids came.
#[derive(Debug)]
struct Shelf {
    values: DashMap<String, Value>,
    order: Mutex<VecDeque<String>>,
    capacity: usize,
}

impl Shelf {
    fn with_capacity(capacity: usize) -> Self {
        Self { values: DashMap::new(), order: Mutex::default(), capacity }
    }

    /// Replacing keeps the place in the order.
    fn put(&self, id: &str, value: Value) {
        let mut order = lock(&self.order);
        if self.values.insert(id.to_owned(), value).is_none() {
            order.push_back(id.to_owned());
        }
        while order.len() > self.capacity {
            if let Some(oldest) = order.pop_front() {
                self.values.remove(&oldest);
            }
        }
    }

    fn remove(&self, id: &str) {
        let mut order = lock(&self.order);
        if self.values.remove(id).is_some() {
            order.retain(|other| other != id);
        }
    }

    fn values(&self) -> Vec<Value> {
        let order = lock(&self.order);
        let values = order.iter().filter_map(|id| self.values.get(id));
        values.map(|entry| entry.value().clone()).collect()
    }
}

/// A panic while holding one of these locks leaves whole values behind, so the poison is ignored.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(in crate::observe) fn function(name: &str, at_risk: i64) -> FunctionView {
        FunctionView {
            function: format!("111122223333:eu-west-1:{name}").parse().unwrap(),
            last_event: EventTime::try_from_ms(1_700_000_000_000).unwrap(),
            requests_per_minute: 60.0,
            burn_nano_usd_per_hour: NanoUsd(at_risk.saturating_add(5)),
            baseline_nano_usd_per_hour: NanoUsd(5),
            money_at_risk_nano_usd_per_hour: NanoUsd(at_risk),
            evidence_log10: 1.5,
            billed_ms_mean: 12.0,
            memory_mb: 128,
            restriction: None,
        }
    }

    fn names(view: &View, count: usize) -> Vec<String> {
        let (functions, _) = view.functions(count, FunctionView::by_risk);
        functions.iter().map(|f| f.function.name.to_string()).collect()
    }

    #[test]
    fn functions_beyond_the_limit_are_those_with_the_least_money_at_risk() {
        let view = View::default();
        let many = FUNCTIONS_SHOWN_MAX as i64 + 5_000;
        view.publish_functions((0..many).map(|i| function(&format!("f{i}"), i)));
        let (_, total) = view.functions(1, FunctionView::by_risk);
        assert_eq!(total, FUNCTIONS_SHOWN_MAX);
        assert_eq!(names(&view, 2), [format!("f{}", many - 1), format!("f{}", many - 2)]);

        view.publish_functions([function("b", 1), function("a", 1)].into_iter());
        assert_eq!(names(&view, 10), ["a", "b"]);
    }

    #[test]
    fn alarms_keep_their_place_when_updated_and_the_oldest_make_room() {
        let view = View::default();
        view.put_alarm("a", json!(1));
        view.put_alarm("b", json!(2));
        view.put_alarm("a", json!(3));
        assert_eq!(view.alarms(), [json!(3), json!(2)]);
        view.remove_alarm("a");
        view.remove_alarm("a");
        for i in 0..ALARMS_SHOWN_MAX {
            view.put_alarm(&format!("alarm {i}"), json!(i));
        }
        assert_eq!(view.alarms().len(), ALARMS_SHOWN_MAX);
        assert_eq!(view.alarms.values.len(), ALARMS_SHOWN_MAX);
        assert_eq!(view.alarms()[0], json!(0));
    }

    #[test]
    fn only_the_newest_actions_are_kept() {
        let view = View::default();
        for i in 0..ACTIONS_SHOWN_MAX + 7 {
            view.push_action(json!(i));
        }
        let actions = view.actions();
        assert_eq!(actions.len(), ACTIONS_SHOWN_MAX);
        assert_eq!(actions[0], json!(7));
    }

    #[test]
    fn a_component_is_listed_once() {
        let view = View::default();
        view.set_ready("source", false, "connecting");
        view.set_ready("engine", true, "running");
        view.set_ready("source", true, "reading");
        let all = view.readiness();
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|component| component.ready));
        assert_eq!(all[0].why, "reading");
    }
}
