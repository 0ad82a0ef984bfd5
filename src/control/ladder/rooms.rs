//! What the caps of an account may reserve together, and how they share it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::Control;
use super::caps::worthwhile;
use crate::control::action::{ActuatorKind, Intent, Place, Room, Setting, Verb};
use crate::control::case::Case;
use crate::control::restriction::Restriction;
use crate::control::room::{Claim, level};
use crate::engine::alarm::Severity;
use crate::record::FunctionKey;
use crate::units::{EventTime, whole};

/// More accounts and regions than this are invented; what is beyond is not looked after.
const PLACES_MAX: usize = 4_096;
/// The level is found anew so often: what each function needs is a quantile, and they may be many.
const LEVEL_EVERY_MS: i64 = 5_000;

/// What is known of each account.
#[derive(Debug, Default)]
pub(super) struct Rooms {
    places: BTreeMap<Place, Share>,
    /// A first cap there is on its way, and its answer will tell.
    asked: BTreeSet<Place>,
}

/// Where nobody can tell, nothing is in the way.
const UNTOLD: Room = Room { limit: u32::MAX, free: u32::MAX };

/// How the caps of an account share its concurrency.
#[derive(Debug)]
struct Share {
    /// As last told.
    told: Room,
    /// Reserved by caps that are in force.
    own: u64,
    /// Wanted by those that are not answered yet.
    awaited: u64,
    claims: Vec<Claim>,
    levelled: Option<EventTime>,
    now: Left,
}

/// What is left for caps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// So much may still be reserved.
    pub(super) room: u32,
    /// So much is for each, unless its callers need more.
    pub(super) level: u32,
}

impl Share {
    fn new(told: Room) -> Self {
        let now = Left { room: 0, level: u32::MAX };
        Self { told, own: 0, awaited: 0, claims: Vec::new(), levelled: None, now }
    }

    fn is_due(&self, now: EventTime) -> bool {
        self.levelled.is_none_or(|last| now.since_ms(last) >= LEVEL_EVERY_MS)
    }

    fn settle(&mut self, account_share: f64, now: EventTime) {
        let most = whole(f64::from(self.told.limit) * account_share);
        let all = most.min(self.own + u64::from(self.told.free));
        let room = all.saturating_sub(self.own + self.awaited);
        self.now.room = u32::try_from(room).unwrap_or(u32::MAX);
        if self.is_due(now) {
            self.now.level = level(&self.claims, all.saturating_sub(self.awaited));
            self.levelled = Some(now);
        }
        self.claims.clear();
    }
}

impl Rooms {
    fn of(&mut self, function: &FunctionKey) -> Option<&mut Share> {
        if self.places.is_empty() {
            return None;
        }
        self.places.get_mut(&Place::of(function))
    }
}

impl Control {
    /// What an actuator has told of an account with its answer, or that it cannot.
    pub(super) fn told(&mut self, intent: &Intent, room: Option<Room>) {
        if intent.actuator != ActuatorKind::ReservedConcurrency {
            return;
        }
        let place = Place::of(&intent.function);
        let was_asked = self.rooms.asked.remove(&place);
        if let Some(room) = room.or_else(|| was_asked.then_some(UNTOLD)) {
            self.room(place, room);
        }
    }

    /// What an account has left.
    pub fn room(&mut self, place: Place, room: Room) {
        let places = &mut self.rooms.places;
        let is_full = places.len() >= PLACES_MAX;
        match places.entry(place) {
            Entry::Occupied(mut share) if room != UNTOLD => share.get_mut().told = room,
            Entry::Vacant(share) if !is_full => drop(share.insert(Share::new(room))),
            _ => {}
        }
    }

    /// Shares out what the accounts have left, before a round of decisions.
    pub(super) fn share_rooms(&mut self, now: EventTime) {
        let mut places = std::mem::take(&mut self.rooms.places);
        for share in places.values_mut() {
            (share.own, share.awaited) = (0, 0);
        }
        if places.is_empty() {
            return;
        }
        for case in self.cases.values() {
            let Some(share) = places.get_mut(&Place::of(&case.function)) else {
                continue;
            };
            if let Some(cap) = &case.cap {
                share.own += u64::from(reserved(cap));
                share.awaited += u64::from(to_come(case, cap));
            }
            if share.is_due(now) {
                share.claims.extend(self.claim(case, now));
            }
        }
        for share in places.values_mut() {
            share.settle(self.settings.account_share, now);
        }
        self.rooms.places = places;
    }

    /// What a function's cap asks for: the one that it has, or the one that it is about to get.
    fn claim(&self, case: &Case, now: EventTime) -> Option<Claim> {
        if let Some(cap) = &case.cap {
            let current = reserved(cap);
            let least = case.demand().map_or(current, |it| it.legitimate(self.settings.cap_floor));
            return (current > 0).then_some(Claim { least: least.min(current), most: current });
        }
        let alarm = case.alarm.as_ref().filter(|alarm| alarm.severity == Severity::Page)?;
        if case.cap_by != ActuatorKind::ReservedConcurrency
            || case.residual_per_hour() < self.settings.action_floor_usd_per_hour
        {
            return None;
        }
        let demand = case.demand()?;
        let allowance = self.allowance(&alarm.function, &demand, now);
        let cap = demand.cap(allowance, self.settings.cap_floor);
        let most = worthwhile(case.cap_by, demand.concurrency());
        (f64::from(cap.value) <= most).then_some(Claim { least: cap.legitimate, most: cap.value })
    }

    /// Whether the first cap of the function's account is still on its way.
    pub(super) fn asks_room(&self, function: &FunctionKey) -> bool {
        self.rooms.asked.contains(&Place::of(function))
    }

    /// What is left for caps in the function's account, where that is known.
    pub(super) fn left_for(&mut self, function: &FunctionKey) -> Option<Left> {
        self.rooms.of(function).map(|share| share.now)
    }

    /// What a cap is to be at most, so that all of its account find room.
    pub(super) fn level_of(&mut self, cap: &Restriction) -> u32 {
        let is_reserved = cap.actuator == ActuatorKind::ReservedConcurrency;
        let left = self.left_for(&cap.function).filter(|_| is_reserved);
        left.map_or(u32::MAX, |left| left.level)
    }

    /// An intent takes room as soon as it is wanted.
    pub(super) fn take_room(&mut self, intent: &Intent) {
        if intent.actuator != ActuatorKind::ReservedConcurrency {
            return;
        }
        let more = intent.to.number().unwrap_or(0);
        let more = more.saturating_sub(intent.from.number().unwrap_or(0));
        if let Some(share) = self.rooms.of(&intent.function) {
            share.now.room = share.now.room.saturating_sub(more);
        } else if intent.verb == Verb::Restrict
            && self.rooms.places.len() + self.rooms.asked.len() < PLACES_MAX
        {
            self.rooms.asked.insert(Place::of(&intent.function));
        }
    }
}

/// What a cap has taken from the account: nothing where the function had a reservation before.
fn reserved(cap: &Restriction) -> u32 {
    let takes = cap.actuator == ActuatorKind::ReservedConcurrency && cap.is_in_force();
    let took = takes && cap.prior == Setting::Unset;
    if took { cap.current.number().unwrap_or(0) } else { 0 }
}

/// What it will take, once it is answered.
fn to_come(case: &Case, cap: &Restriction) -> u32 {
    let is_awaited = case.waiting > 0 && !cap.is_in_force();
    let takes = cap.actuator == ActuatorKind::ReservedConcurrency && is_awaited;
    if takes { cap.full.number().unwrap_or(0) } else { 0 }
}
