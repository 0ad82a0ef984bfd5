//! Records on their way to a shard: fixed-size events beside one arena for their text, both reused,
//! so that a steady stream allocates nothing.

use core::net::IpAddr;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::partitions::key_of;
use crate::cost::Usage;
use crate::keep::{Bytes, Keep, Unfit, kept, kept_words};
use crate::record::{
    Architecture, FunctionRef, Position, RefusalReason, SOURCE_BYTES_MAX, Source, Status,
};
use crate::units::{AccountId, BilledMs, EventTime, MbMillis, MemoryMb};

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// A billed execution.
    Invocation,
    /// A request that was let through.
    Trigger,
    /// A request that was turned away.
    Refusal(RefusalReason),
}

/// Along which line sources are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Network address.
    Address,
    /// API key, IAM principal, queue sender.
    Principal,
    /// API, queue, bucket or bus that the event came through.
    Origin,
    /// Route of an API: method and path.
    Route,
    /// The network around an address: /24, or /64 of IPv6. Follows from the address.
    Prefix,
}

impl Dimension {
    /// How many there are.
    pub const COUNT: usize = 5;
    /// How many of them an event names; they come first.
    pub const NAMED: usize = 4;
    /// All of them, in index order.
    pub const ALL: [Dimension; Self::COUNT] = [
        Dimension::Address,
        Dimension::Principal,
        Dimension::Origin,
        Dimension::Route,
        Dimension::Prefix,
    ];

    /// Whether it tells network addresses apart.
    pub const fn is_network(self) -> bool {
        matches!(self, Dimension::Address | Dimension::Prefix)
    }

    /// The name of a source along this dimension in words; `name` is as a batch keeps it.
    pub fn shown(self, name: &[u8]) -> Box<str> {
        match self {
            Dimension::Address => match <[u8; 16]>::try_from(name) {
                Ok(octets) => IpAddr::from(octets).to_canonical().to_string().into(),
                Err(_) => "".into(),
            },
            Dimension::Prefix => match <[u8; 16]>::try_from(name) {
                Ok(octets) => match IpAddr::from(octets).to_canonical() {
                    IpAddr::V4(network) => format!("{network}/24").into(),
                    IpAddr::V6(network) => format!("{network}/64").into(),
                },
                Err(_) => "".into(),
            },
            Dimension::Principal | Dimension::Origin | Dimension::Route => {
                String::from_utf8_lossy(name).into_owned().into()
            }
        }
    }
}

/// Octets of an address as a batch keeps it that are its network's, by family.
const V4_PREFIX_OCTETS: usize = 15;
const V6_PREFIX_OCTETS: usize = 8;

/// The network around an address, both as a batch keeps them.
pub fn prefix_of(address: &[u8]) -> [u8; 16] {
    let mut network = <[u8; 16]>::try_from(address).unwrap_or_default();
    let is_v4 = network.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    let kept = if is_v4 { V4_PREFIX_OCTETS } else { V6_PREFIX_OCTETS };
    network[kept..].fill(0);
    network
}

/// A source of an event: its hash, and where its name stands in the arena. `len` 0 means unknown.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceSlot {
    /// Keyed hash of dimension and name. The upper half of an address's is its network's alone, so
    /// that neighbours are told without looking at names.
    pub hash: u64,
    at: u32,
    len: u16,
}

impl SourceSlot {
    /// Whether the record said who it was, along this dimension.
    pub fn is_known(self) -> bool {
        self.len > 0
    }
}

/// Whether event time lets a record count in the detector's open buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeliness {
    /// Its bucket is open.
    OnTime,
    /// Its bucket is closed: totals and spend only.
    Late,
}

/// One record in a shard's batch.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    /// Place in the whole input's order; decides the order of alarms.
    pub sequence: u64,
    /// Where its message stood in the input.
    pub position: Position,
    /// When it happened.
    pub at: EventTime,
    /// Keyed hash of account, region and function name.
    pub key: u64,
    /// Identity of the delivery, 0 when unknown.
    pub delivery: u64,
    /// Hash of the function's request id, by which a trigger and its invocation find one another;
    /// 0 when unknown.
    pub request: u64,
    /// Billed duration × memory; zero for triggers and refusals.
    pub mb_ms: MbMillis,
    /// Bytes that left the platform.
    pub response_bytes: u64,
    /// Billed milliseconds.
    pub billed: BilledMs,
    /// Configured memory in MB; zero for triggers and refusals.
    pub memory_mb: u32,
    /// Hash of the version, 0 when unknown.
    pub version: u32,
    /// What it is about.
    pub kind: EventKind,
    /// Whether it still counts in the detector.
    pub timeliness: Timeliness,
    /// It came through an API gateway, which is billed beside the function.
    pub gateway: bool,
    /// The function itself asked for it.
    pub own: bool,
    /// How an invocation ended.
    pub status: Status,
    /// Processor architecture.
    pub architecture: Architecture,
    /// Who asked, by [`Dimension`].
    pub sources: [SourceSlot; Dimension::NAMED],
    account: AccountId,
    text_at: u32,
    region_len: u16,
    name_len: u16,
}

impl Event {
    /// What it adds to usage.
    pub fn usage(&self) -> Usage {
        Usage {
            requests: u64::from(self.kind == EventKind::Invocation),
            mb_ms: self.mb_ms,
            refused: u64::from(matches!(self.kind, EventKind::Refusal(_))),
            response_bytes: self.response_bytes,
        }
    }
}

/// What an event says besides its function and sources.
#[derive(Debug, Clone, Copy)]
pub struct EventBody {
    /// See [`Event::sequence`].
    pub sequence: u64,
    /// See [`Event::position`].
    pub position: Position,
    /// See [`Event::at`].
    pub at: EventTime,
    /// See [`Event::delivery`].
    pub delivery: u64,
    /// See [`Event::request`].
    pub request: u64,
    /// Billed duration; zero for triggers and refusals.
    pub billed: BilledMs,
    /// Memory; `None` for triggers and refusals.
    pub memory: Option<MemoryMb>,
    /// See [`Event::response_bytes`].
    pub response_bytes: u64,
    /// See [`Event::version`].
    pub version: u32,
    /// See [`Event::kind`].
    pub kind: EventKind,
    /// See [`Event::timeliness`].
    pub timeliness: Timeliness,
    /// See [`Event::gateway`].
    pub gateway: bool,
    /// See [`Event::status`].
    pub status: Status,
    /// See [`Event::architecture`].
    pub architecture: Architecture,
}

/// A run of events with the text that they point into.
#[derive(Debug, Default)]
pub struct Batch {
    events: Vec<Event>,
    text: Vec<u8>,
}

/// The arena of one batch never grows past this, so that offsets fit 32 bits.
const TEXT_BYTES_MAX: usize = 1 << 30;

impl Batch {
    /// Appends one event; `route` is empty where there is none.
    pub fn push(
        &mut self,
        function: FunctionRef<'_>,
        key: u64,
        body: EventBody,
        source: &Source<'_>,
        route: &str,
    ) {
        let (text_at, region_len) = self.intern(function.region.as_bytes());
        let (_, name_len) = self.intern(function.name.as_bytes());
        let sources = [
            source.address.map_or(SourceSlot::default(), |address| self.address(address)),
            self.named(Dimension::Principal, source.principal),
            self.named(Dimension::Origin, source.origin),
            self.named(Dimension::Route, Some(route)),
        ];
        self.events.push(Event {
            sequence: body.sequence,
            position: body.position,
            at: body.at,
            key,
            delivery: body.delivery,
            request: body.request,
            mb_ms: body.memory.map_or(MbMillis(0), |memory| MbMillis::of(body.billed, memory)),
            response_bytes: body.response_bytes,
            billed: body.billed,
            memory_mb: body.memory.map_or(0, MemoryMb::get),
            version: body.version,
            kind: body.kind,
            timeliness: body.timeliness,
            gateway: body.gateway,
            own: [source.principal, source.origin].into_iter().flatten().any(|asks| {
                // An ARN ends with the function's name, and so does the session of its role.
                let path = asks.strip_suffix(function.name);
                path.is_some_and(|path| path.ends_with([':', '/']))
            }),
            status: body.status,
            architecture: body.architecture,
            sources,
            account: function.account,
            text_at,
            region_len,
            name_len,
        });
    }

    /// Appends an event of another batch, with another place in the order.
    pub fn copy(&mut self, from: &Batch, event: &Event, sequence: u64, timeliness: Timeliness) {
        let names = usize::from(event.region_len) + usize::from(event.name_len);
        let (text_at, _) = self.intern(from.bytes_at(event.text_at as usize, names));
        let sources = event.sources.map(|slot| {
            let (at, len) = self.intern(from.bytes_at(slot.at as usize, usize::from(slot.len)));
            SourceSlot { hash: slot.hash, at, len }
        });
        self.events.push(Event { sequence, timeliness, text_at, sources, ..*event });
    }

    /// The events in order of arrival.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Whether another record's text may no longer fit.
    pub fn is_full(&self) -> bool {
        self.text.len() > TEXT_BYTES_MAX / 2
    }

    /// Forgets the events, keeps the memory.
    pub fn clear(&mut self) {
        self.events.clear();
        self.text.clear();
    }

    /// The function that an event of this batch is about.
    pub fn function(&self, event: &Event) -> FunctionRef<'_> {
        let region_at = event.text_at as usize;
        let name_at = region_at + usize::from(event.region_len);
        FunctionRef {
            account: event.account,
            region: self.str_at(region_at, usize::from(event.region_len)),
            name: self.str_at(name_at, usize::from(event.name_len)),
        }
    }

    /// The name of a source of an event of this batch, as [`Dimension::shown`] takes it.
    pub fn source_name(&self, slot: SourceSlot) -> &[u8] {
        self.bytes_at(slot.at as usize, usize::from(slot.len))
    }

    /// Whether an event's function and sources are in the text.
    fn holds(&self, event: &Event) -> bool {
        let name = self.function(event);
        let ends = |slot: &SourceSlot| slot.at as usize + usize::from(slot.len);
        let valid = FunctionRef::try_new(name.account, name.region, name.name).is_ok();
        valid
            && key_of(name) == event.key
            && event.sources.iter().all(|slot| ends(slot) <= self.text.len())
            && event.sources.iter().all(|slot| usize::from(slot.len) <= SOURCE_BYTES_MAX)
            && (event.sources[0].len == 0 || event.sources[0].len == 16)
    }

    fn address(&mut self, address: IpAddr) -> SourceSlot {
        let octets = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let slot = self.slot(Dimension::Address, &octets);
        let network = xxh3_64_with_seed(&prefix_of(&octets), Dimension::Prefix as u64 + 1);
        SourceSlot { hash: (network & !0xffff_ffff) | (slot.hash & 0xffff_ffff), ..slot }
    }

    fn named(&mut self, dimension: Dimension, name: Option<&str>) -> SourceSlot {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return SourceSlot::default();
        };
        let end = name.floor_char_boundary(SOURCE_BYTES_MAX);
        self.slot(dimension, &name.as_bytes()[..end])
    }

    fn slot(&mut self, dimension: Dimension, name: &[u8]) -> SourceSlot {
        let (at, len) = self.intern(name);
        SourceSlot { hash: xxh3_64_with_seed(name, dimension as u64 + 1), at, len }
    }

    fn intern(&mut self, bytes: &[u8]) -> (u32, u16) {
        let at = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
        self.text.extend_from_slice(bytes);
        (at, u16::try_from(bytes.len()).unwrap_or(u16::MAX))
    }

    fn bytes_at(&self, at: usize, len: usize) -> &[u8] {
        self.text.get(at..at + len).unwrap_or_default()
    }

    fn str_at(&self, at: usize, len: usize) -> &str {
        std::str::from_utf8(self.bytes_at(at, len)).unwrap_or_default()
    }
}

kept!(Batch { events, text } if |batch| batch.events.iter().all(|event| batch.holds(event)));
kept!(Event {
    sequence,
    position,
    at,
    key,
    delivery,
    request,
    mb_ms,
    response_bytes,
    billed,
    memory_mb,
    version,
    kind,
    timeliness,
    gateway,
    own,
    status,
    architecture,
    sources,
    account,
    text_at,
    region_len,
    name_len,
});
kept!(SourceSlot { hash, at, len });
kept_words!(Dimension { Address = 0, Principal = 1, Origin = 2, Route = 3, Prefix = 4 });
kept_words!(Timeliness { OnTime = 0, Late = 1 });

impl Keep for EventKind {
    fn keep(&self, out: &mut Vec<u8>) {
        match self {
            EventKind::Invocation => out.push(0),
            EventKind::Trigger => out.push(1),
            EventKind::Refusal(reason) => {
                out.push(2);
                reason.keep(out);
            }
        }
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        Ok(match u8::regain(from)? {
            0 => EventKind::Invocation,
            1 => EventKind::Trigger,
            2 => EventKind::Refusal(RefusalReason::regain(from)?),
            _ => return Err(Unfit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body() -> EventBody {
        EventBody {
            sequence: 1,
            position: Position::default(),
            at: EventTime::MIN,
            delivery: 0,
            request: 0,
            billed: BilledMs::try_new(100).unwrap(),
            memory: Some(MemoryMb::try_new(128).unwrap()),
            response_bytes: 0,
            version: 0,
            kind: EventKind::Invocation,
            timeliness: Timeliness::OnTime,
            gateway: false,
            status: Status::Success,
            architecture: Architecture::X86_64,
        }
    }

    #[test]
    fn names_come_back_as_they_went_in() {
        let account = "1".parse().unwrap();
        let function = FunctionRef::try_new(account, "eu-west-1", "f").unwrap();
        let long = "ä".repeat(200);
        let source = Source {
            address: Some("203.0.113.9".parse().unwrap()),
            principal: Some(&long),
            ..Source::default()
        };
        let mut batch = Batch::default();
        batch.push(function, 7, body(), &source, "");
        let event = batch.events()[0];
        assert_eq!(batch.function(&event), function);
        assert_eq!(event.mb_ms, MbMillis(12_800));
        let names: Vec<_> = Dimension::ALL[..Dimension::NAMED]
            .iter()
            .map(|&dimension| dimension.shown(batch.source_name(event.sources[dimension as usize])))
            .collect();
        assert_eq!(&*names[0], "203.0.113.9");
        assert_eq!(&*names[1], "ä".repeat(128));
        assert!(!event.sources[2].is_known());
    }

    #[test]
    fn an_ipv4_address_and_its_mapped_form_are_one_source() {
        let account = "1".parse().unwrap();
        let function = FunctionRef::try_new(account, "eu-west-1", "f").unwrap();
        let mut batch = Batch::default();
        for address in ["203.0.113.9", "::ffff:203.0.113.9"] {
            let source = Source { address: address.parse().ok(), ..Source::default() };
            batch.push(function, 7, body(), &source, "");
        }
        assert_eq!(batch.events()[0].sources[0].hash, batch.events()[1].sources[0].hash);
    }
}
