//! The second reading: calls in the order of their times, as requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::callers::{ByRequest, Caller, invocation_id, request_of};
use super::survey::{run_ms, started};
use super::{Recording, Records, id_bits};
use crate::record::{Record, Status, Target};
use crate::simulation::draw::Draw;
use crate::simulation::load::user_agent;
use crate::simulation::platform::{Request, Way};
use crate::units::{EventTime, whole};

/// Calls that are held because earlier ones may still be told, some 150 MB. Beyond that reading
/// waits for time to pass, and what is then read too late comes when it is read.
const CALLS_HELD_MAX: usize = 1 << 20;

/// Requests whose invocations are still to come, some 100 MB; those beyond it have no caller.
const CALLERS_MAX: usize = 1 << 20;
/// An invocation begins at most this much later than its request, in milliseconds: twice the time
/// after which a gateway gives up (API Gateway quotas, integration timeout: 29 s).
const GATEWAY_MS: i64 = 60_000;

/// A recording that is played.
#[derive(Debug)]
pub struct Playback {
    recording: Recording,
    /// In which way each function is asked, and whether callers have addresses there.
    doors: Vec<(Way, bool)>,
    draw: Draw,
    /// Closed until something is needed from it, and so in every copy. Never locked: it lets
    /// threads look at a world that they make copies of.
    records: Mutex<Option<Box<dyn Records>>>,
    /// Messages that were read.
    messages: u64,
    /// The newest time that was told.
    told: EventTime,
    taken: EventTime,
    has_ended: bool,
    held: BTreeMap<(EventTime, u64), Held>,
    sequence: u64,
    callers: ByRequest<Caller, CALLERS_MAX>,
    fault: Option<String>,
}

/// A call that waits for its time; the request id of an invocation whose caller is asked for then.
#[derive(Debug, Clone, Copy)]
struct Held {
    request: Request,
    id: Option<u64>,
    /// It is there because of the scale.
    is_copy: bool,
}

/// A copy reads the files for itself, from where this one is.
impl Clone for Playback {
    fn clone(&self) -> Self {
        Self {
            recording: self.recording.clone(),
            doors: self.doors.clone(),
            draw: self.draw.clone(),
            records: Mutex::default(),
            held: self.held.clone(),
            callers: self.callers.clone(),
            fault: self.fault.clone(),
            ..*self
        }
    }
}

impl Playback {
    /// A recording at its beginning; `doors` are the functions' ways, and whether they have an API.
    pub fn new(recording: &Recording, doors: Vec<(Way, bool)>, draw: Draw) -> Self {
        Self {
            recording: recording.clone(),
            doors,
            draw,
            records: Mutex::default(),
            messages: 0,
            told: EventTime::MIN,
            taken: EventTime::MIN,
            has_ended: false,
            held: BTreeMap::new(),
            sequence: 0,
            callers: ByRequest::default(),
            fault: None,
        }
    }

    /// Why the recording broke off, if it did.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Calls that wait for their time, and requests that wait for theirs.
    pub fn held(&self) -> usize {
        self.held.len() + self.callers.len()
    }

    /// Appends all calls before `until`, in the order of their times; each is given once.
    pub fn take(&mut self, until: EventTime, out: &mut Vec<Request>) {
        let enough = until.plus_ms(self.recording.lag_ms);
        while !self.has_ended && self.told <= enough && self.held.len() < CALLS_HELD_MAX {
            match self.read() {
                Ok(true) => {}
                Ok(false) => self.has_ended = true,
                Err(fault) => {
                    self.has_ended = true;
                    self.fault = Some(fault);
                }
            }
        }
        while let Some(entry) = self.held.first_entry().filter(|entry| entry.key().0 < until) {
            let held = entry.remove();
            let at = held.request.at.max(self.taken);
            let request = Request { at, ..self.asked(&held) };
            let times = if held.is_copy { 1 } else { self.times() };
            for _ in 1..times {
                // Further calls come within the second after it.
                let later = self.draw.below(1_000).cast_signed();
                self.hold(Request { at: at.plus_ms(later), ..request }, None, true);
            }
            out.extend((times > 0).then_some(request));
        }
        self.taken = until;
        self.callers.forget(until.plus_ms(-self.recording.lag_ms - GATEWAY_MS));
    }

    /// Reads a message; false at the end of what is wanted.
    fn read(&mut self) -> Result<bool, String> {
        let mut records = match self.records().take() {
            Some(records) => records,
            None => {
                let mut records = (self.recording.files.open)(&self.recording.files)?;
                records.pass(self.messages)?;
                records
            }
        };
        let is_more = records.message(&mut |record| self.hear(record))?;
        *self.records() = Some(records);
        self.messages += 1;
        let enough = self.recording.end.plus_ms(self.recording.lag_ms);
        Ok(is_more && self.told <= enough)
    }

    fn records(&mut self) -> &mut Option<Box<dyn Records>> {
        self.records.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&mut self, record: &Record<'_>) {
        let shift_ms = self.recording.shift_ms;
        if let Record::Invocation(invocation) = record {
            let Some(function) = self.recording.place(Some(invocation.function)) else {
                return;
            };
            let at = started(invocation).plus_ms(shift_ms);
            self.told = self.told.max(invocation.at.plus_ms(shift_ms));
            let way = self.way(function);
            let failed = invocation.status == Status::Error && way == Way::Sync;
            #[expect(clippy::cast_possible_truncation, reason = "at most an hour")]
            let run_ms = run_ms(invocation) as f32;
            let request = Request {
                way,
                run_ms: Some(run_ms),
                // What fails is tried again where the platform does so, and those runs are
                // recorded, too.
                error_share: if failed { 1.0 } else { 0.0 },
                ..Request::new(at, function)
            };
            let caller = invocation.source.map(|source| Caller::new(&source, 0));
            let request = caller.map_or(request, |caller| self.called(request, caller));
            self.hold(request, invocation.request_id.map(id_bits), false);
            return;
        }
        let Some(trigger) = request_of(record) else {
            return;
        };
        let caller = Caller::new(&trigger.source, trigger.response_bytes);
        if self.recording.has_invocations {
            if let Some(id) = invocation_id(trigger) {
                self.callers.put(id_bits(id), trigger.at.plus_ms(shift_ms), caller);
            }
            return;
        }
        let named = match trigger.target {
            Target::Function(function) => Some(function),
            Target::Route(_) => None,
        };
        let Some(function) = self.recording.place(named) else {
            return;
        };
        let at = trigger.at.plus_ms(shift_ms);
        self.told = self.told.max(at);
        let request = Request { way: self.way(function), ..Request::new(at, function) };
        let request = self.called(request, caller);
        self.hold(request, None, false);
    }

    fn way(&mut self, function: usize) -> Way {
        match self.doors[function].0 {
            Way::Stream { .. } => {
                Way::Stream { key: u16::try_from(self.draw.below(1 << 16)).unwrap_or(0) }
            }
            way => way,
        }
    }

    fn hold(&mut self, request: Request, id: Option<u64>, is_copy: bool) {
        if request.at < self.recording.end {
            self.sequence += 1;
            self.held.insert((request.at, self.sequence), Held { request, id, is_copy });
        }
    }

    /// The call with its caller, who may have been told after it.
    fn asked(&self, held: &Held) -> Request {
        let known = held.id.and_then(|id| self.callers.get(id));
        known.map_or(held.request, |caller| self.called(held.request, *caller))
    }

    fn called(&self, request: Request, caller: Caller) -> Request {
        if !self.doors[request.function].1 {
            return request;
        }
        let bytes = u32::try_from(caller.response_bytes).ok().filter(|bytes| *bytes > 0);
        Request {
            address: caller.address,
            user_agent: caller.agent.map(user_agent),
            response_bytes: bytes,
            ..request
        }
    }

    /// How often a recorded call is made, on average as often as the scale says.
    fn times(&mut self) -> u64 {
        let scale = self.recording.scale;
        let least = scale.floor();
        let more = scale > least && self.draw.unit() < scale - least;
        whole(least) + u64::from(more)
    }
}
