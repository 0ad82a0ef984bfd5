//! A firewall's rate-based rule: an address that asks more than 2,000 times in five minutes is
//! refused until it asks less. (AWS WAF developer guide, "Rate-based rule statement": counts are
//! taken every ten seconds over the last five minutes, and it takes some seconds to act; 2,000 is
//! the number of the vendor's own examples.)

use core::net::IpAddr;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};

use super::{Claims, Policy, Second, names};
use crate::record::FunctionKey;
use crate::simulation::plant::{SharedPlant, lock};
use crate::simulation::platform::Command;
use crate::simulation::scenario::Scenario;

const LIMIT: u32 = 2_000;
const LOOK_MS: i64 = 10_000;
const LOOKS: usize = 30;
/// The rule applies to at most this many addresses at once (same page).
const BLOCKED_MAX: usize = 10_000;

/// How often addresses asked. A crowd has millions of them, and nothing depends on their order.
type Asked = HashMap<IpAddr, u32>;

/// Refuses busy addresses at the edge.
#[derive(Debug)]
pub struct SourceLimit {
    functions: Vec<FunctionKey>,
    now: Asked,
    looks: VecDeque<Asked>,
    totals: Asked,
    /// Those of `totals` that are above the limit.
    busy: BTreeSet<IpAddr>,
    blocked: BTreeSet<IpAddr>,
    claims: Claims,
}

impl SourceLimit {
    /// In front of all APIs.
    pub fn new(scenario: &Scenario) -> Self {
        Self {
            functions: names(scenario),
            now: Asked::new(),
            looks: VecDeque::new(),
            totals: Asked::new(),
            busy: BTreeSet::new(),
            blocked: BTreeSet::new(),
            claims: Claims::default(),
        }
    }

    /// Each function that an address asks for the first time since it is refused has an alarm.
    fn alarm(&mut self, second: &Second<'_>, busy: &BTreeSet<IpAddr>) {
        let fresh = |address: &IpAddr| busy.contains(address) && !self.blocked.contains(address);
        let asked = second.requests.iter();
        let asked = asked.filter(|request| request.address.as_ref().is_some_and(fresh));
        let asked: BTreeSet<usize> = asked.map(|request| request.function).collect();
        for function in asked {
            self.claims.alarms.push((second.end, Some(self.functions[function].clone())));
        }
    }

    fn look(&mut self) -> BTreeSet<IpAddr> {
        let now = std::mem::take(&mut self.now);
        for (address, count) in &now {
            let total = self.totals.entry(*address).or_default();
            *total += count;
            if *total > LIMIT {
                self.busy.insert(*address);
            }
        }
        self.looks.push_back(now);
        if self.looks.len() > LOOKS
            && let Some(oldest) = self.looks.pop_front()
        {
            for (address, count) in oldest {
                if let Entry::Occupied(mut total) = self.totals.entry(address) {
                    *total.get_mut() -= count;
                    if *total.get() <= LIMIT {
                        self.busy.remove(&address);
                    }
                    if *total.get() == 0 {
                        total.remove();
                    }
                }
            }
        }
        self.busy.iter().take(BLOCKED_MAX).copied().collect()
    }
}

impl Policy for SourceLimit {
    fn name(&self) -> &'static str {
        "limit per source"
    }

    fn second(&mut self, second: &Second<'_>, plant: &SharedPlant) {
        for address in second.requests.iter().filter_map(|request| request.address) {
            *self.now.entry(address).or_default() += 1;
        }
        if second.end.ms() % LOOK_MS != 0 {
            return;
        }
        let busy = self.look();
        if second.in_window && busy != self.blocked {
            self.alarm(second, &busy);
            let addresses = busy.clone();
            let done = lock(plant).command(Command::SetBlocked { addresses }, second.end);
            if done.is_ok() {
                self.blocked = busy;
            }
        }
    }

    fn claims(&self) -> Claims {
        self.claims.clone()
    }
}
