//! Evidence that few callers return again and again, request by request.
//!
//! The question is put to one caller after the other: is this somebody new or one who was here
//! before, and how often? Every law of callers answers with a chance, and the chances multiply.
//! What few attackers would make likely, divided by what the most favourable of the crowds would,
//! is an e-value: under any of these crowds it exceeds 1,000 at any time at all in at most one of
//! 1,000 surges (Ville 1939; Ramdas, Grünwald, Vovk, Shafer, Statistical Science 38(4), 2023,
//! doi:10.1214/23-STS894). So an attack may be called one after fifteen requests.
//!
//! Crowds are Pitman-Yor laws (Annals of Probability 25(2), 1997, doi:10.1214/aop/1024404422), from
//! the flat to the ones with Zipf popularity, each also with sessions. They are tied to the
//! reference by one number: two requests of a crowd come from the same address at most as often as
//! two ordinary ones do. Where hardly anybody but regulars calls, these are left out, since their
//! doing more is a busy day, and a crowd of others may be as uneven as crowds are. One single
//! address, whichever it is, may do as it likes, since a batch job is no attack.
//!
//! A surge is compared piece by piece, since an attack may hide behind the callers out of whose
//! number it grows: whenever the surge has doubled, the next piece begins with nobody seen yet. The
//! evidence of piece k counts by 1/(k (k + 1)), and these sum to one, so that all pieces together
//! are one e-value.

use super::reference::Reference;
use crate::keep::kept;

/// Chance that two requests have the same caller, beyond which no crowd goes. Zipf popularity with
/// exponent 1.3 among 2,000 has 0.1; it is assumed where the reference knows too few to tell.
pub(super) const UNLIKE_MAX: f64 = 0.1;
/// Discounts of the crowds, which are inverse exponents of their popularity (0 is flat), and the
/// most that two requests of one are of the same caller where the reference cannot tell: of two
/// hundred clients alike, and of populations with exponents 2, 1.3 and 1.1.
const DISCOUNTS: [(f64, f64); 4] = [(0.0, 0.005), (0.5, 0.02), (0.77, UNLIKE_MAX), (0.9, 0.05)];
/// Where it can tell, up to so many times that.
const MEASURED: f64 = 4.0;
/// Two requests of so many callers are of the same one with at most this over their number.
const FEW_OVER: f64 = 2.0;
/// Clients come for several requests: so much of a crowd may be such returns where the reference
/// cannot tell,
const SESSIONS: f64 = 0.5;
/// and otherwise as much as returns among so many requests in a row explain.
const SESSION_REACH: f64 = 64.0;
/// A crowd may be more diverse than ordinary callers: their chance of a return is tried divided by
/// powers of four, down to nearly nobody's returning.
const DIVERSITIES: usize = 5;
const CROWDS: usize = 2 * DISCOUNTS.len() * DIVERSITIES;
const UNLIKE_MIN: f64 = 1e-4;
/// Attackers, about, where few have been seen yet.
const ATTACKERS: [f64; 4] = [4.0, 16.0, 64.0, 256.0];
/// Share of the requests that are others' all the same.
const BYSTANDERS: f64 = 0.1;
/// The last is the one that goes by how many were seen once, twice and three times.
const ATTACKS: usize = ATTACKERS.len() + 1;
/// Up to how often seen sources are counted apart.
const SEEN: usize = 3;
/// A piece is complete after so many requests of no regulars: what has not shown by then does not
/// show in it.
const REQUESTS_MAX: u32 = 1_024;
/// Or after so many callers: the laws of crowds are tried in steps, and among more callers the
/// evidence would tell a crowd between two steps from either.
const CALLERS_MAX: usize = 256;
/// The next begins when the surge has so many times the requests.
const GROWTH: u64 = 2;
/// Requests of no regular before a crowd is called one: few attackers take a while to come back.
pub(super) const COMPARED_MIN: u32 = 200;
/// And so many of its requests are its callers' only ones, by which Good and Turing tell the share
/// of callers yet to come.
const OPEN_SHARE: f64 = 0.06;
/// What has looked like a crowd is one until a piece of it is twice as likely an attack. To be
/// called an attack takes far more; in between nothing is known of the callers, who then are no
/// excuse.
const DOUBT: f64 = core::f64::consts::LN_2;
/// The evidence is looked at after each of so many requests, and then after every sixteenth.
const LOOKED_AT_EACH: u32 = 128;
const LOOK_EVERY: u32 = 16;
/// Which callers return: evidence about a surge of any length.
#[derive(Debug)]
pub(super) struct Repeats {
    /// The newest piece, and the one before.
    piece: Piece,
    last: Option<Piece>,
    /// Number of the newest, from 1.
    number: u32,
    /// Requests of the surge, and how many there must be for the next piece.
    requests: u64,
    next_at: u64,
    /// Natural logarithm of the evidence at its highest, over all pieces.
    best: f64,
    /// Whether there was a crowd the last time that anything could be told.
    crowd: bool,
}

impl Repeats {
    /// Begins, against the callers that were ordinary until now.
    pub(super) fn new(reference: &Reference) -> Self {
        Self {
            piece: Piece::new(reference, Vec::with_capacity(CALLERS_MAX)),
            last: None,
            number: 1,
            requests: 0,
            next_at: u64::MAX,
            best: 0.0,
            crowd: false,
        }
    }

    /// Notes a request of an address.
    pub(super) fn note(&mut self, hash: u64, reference: &Reference) {
        self.requests += 1;
        if self.requests >= self.next_at {
            self.next_at = u64::MAX;
            self.number = self.number.saturating_add(1);
            // Who was seen is of no use any more, and a flood must not take memory.
            let mut known = std::mem::take(&mut self.piece.known);
            known.clear();
            let next = Piece::new(reference, known);
            self.last = Some(std::mem::replace(&mut self.piece, next));
        }
        if self.piece.is_complete() {
            return;
        }
        self.piece.note(hash, reference);
        let number = f64::from(self.number);
        let weight = 1.0 / (number * (number + 1.0));
        self.best = self.best.max(self.piece.best + libm::log(weight));
        // One piece in a few speaks a little for an attack by chance.
        self.crowd = match self.piece.now {
            now if now <= 0.0 => self.crowd || self.piece.are_open(),
            now => self.crowd && now < DOUBT,
        };
        if self.piece.is_complete() {
            self.next_at = GROWTH * self.requests;
        }
    }

    /// Whether many come, of whom there is no end.
    pub(super) fn is_crowd(&self) -> bool {
        let piece = self.piece();
        self.crowd || (piece.are_open() && piece.evidence() <= 0.0)
    }

    /// Natural logarithm of the evidence at its highest.
    pub(super) fn best(&self) -> f64 {
        self.best
    }

    /// The newest piece that is long enough to tell a crowd.
    pub(super) fn piece(&self) -> &Piece {
        match &self.last {
            Some(last) if self.piece.requests < COMPARED_MIN => last,
            _ => &self.piece,
        }
    }
}

/// One piece of a surge.
#[derive(Debug)]
pub(super) struct Piece {
    /// Chance that two requests of a crowd have the same caller.
    unlike: Option<f64>,
    /// The same if the ordinary callers were few and alike.
    few: f64,
    requests: u32,
    sources: u32,
    /// Requests of the address with the most, and which it is.
    most: u32,
    busiest: u64,
    /// Sources seen once, twice and so on.
    seen: [u32; SEEN],
    crowds: [Likelihood; CROWDS],
    attacks: [Likelihood; ATTACKS],
    best: f64,
    /// Natural logarithm of the evidence when it was last looked at.
    now: f64,
    /// Addresses with their requests, sorted; of no regulars only, unless these belong to what
    /// ordinary callers are like.
    known: Vec<(u64, u32)>,
    /// All requests while it lasted.
    passed: u64,
}

impl Piece {
    fn new(reference: &Reference, known: Vec<(u64, u32)>) -> Self {
        Self {
            unlike: reference.unlike(),
            few: FEW_OVER / reference.distinct().max(1.0),
            requests: 0,
            sources: 0,
            most: 0,
            busiest: 0,
            seen: [0; SEEN],
            crowds: [Likelihood::ONE; CROWDS],
            attacks: [Likelihood::ONE; ATTACKS],
            best: 0.0,
            now: 0.0,
            known,
            passed: 0,
        }
    }

    fn note(&mut self, hash: u64, reference: &Reference) {
        self.passed += 1;
        if self.unlike.is_none() && reference.is_regular_address(hash) {
            return;
        }
        let before = self.know(hash);
        self.crowds_expected(hash, before);
        for index in 0..ATTACKS {
            let chance = match ATTACKERS.get(index) {
                Some(&attackers) => self.chance_of_few(before, attackers),
                None => self.chance_of_seen(before),
            };
            self.attacks[index].times(chance);
        }
        for (times, sources) in (1..).zip(&mut self.seen) {
            *sources += u32::from(before + 1 == times);
            *sources -= u32::from(before == times);
        }
        self.requests += 1;
        self.sources += u32::from(before == 0);
        if before + 1 > self.most {
            self.most = before + 1;
            self.busiest = hash;
        }
        if self.requests <= LOOKED_AT_EACH || self.requests.is_multiple_of(LOOK_EVERY) {
            self.now = self.evidence();
            self.best = self.best.max(self.now);
        }
    }

    fn is_complete(&self) -> bool {
        self.requests >= REQUESTS_MAX || self.known.len() >= CALLERS_MAX
    }

    /// How many requests an address has had.
    fn know(&mut self, hash: u64) -> u32 {
        match self.known.binary_search_by_key(&hash, |&(known, _)| known) {
            Ok(place) => {
                self.known[place].1 += 1;
                self.known[place].1 - 1
            }
            Err(place) => {
                self.known.insert(place, (hash, 1));
                0
            }
        }
    }

    /// Whether there is no end of callers: some are still seen for the first time.
    fn are_open(&self) -> bool {
        let requests = f64::from(self.requests);
        self.requests >= COMPARED_MIN && f64::from(self.seen[0]) >= OPEN_SHARE * requests
    }

    fn crowds_expected(&mut self, hash: u64, before: u32) {
        // One address may be apart from the crowd; it is the one with the most so far.
        let has_apart = self.most > 1;
        let share = f64::from(self.most.saturating_sub(1)) / f64::from(self.requests + 1);
        let (requests, sources) = if has_apart {
            (self.requests - self.most, self.sources - 1)
        } else {
            (self.requests, self.sources)
        };
        let sessions = self.unlike.map_or(SESSIONS, |unlike| SESSIONS.min(SESSION_REACH * unlike));
        let is_apart = has_apart && hash == self.busiest;
        let back = f64::from(before) / f64::from(requests.max(1));
        for (index, crowd) in self.crowds.iter_mut().enumerate() {
            let quarters = u32::try_from(index / 2 / DISCOUNTS.len()).unwrap_or_default();
            let (discount, unlike) = DISCOUNTS[index / 2 % DISCOUNTS.len()];
            let unlike =
                self.unlike.map_or(unlike, |usual| usual.min((MEASURED * unlike).max(self.few)));
            // Sessions are returns too, beside those that popularity makes; what the reference saw
            // has both in it.
            let beside = if self.unlike.is_none() { 2 } else { 0 };
            let quarters = quarters + if index % 2 == 1 { beside } else { 0 };
            let unlike = (unlike / f64::from(4_u32.pow(quarters))).max(UNLIKE_MIN);
            let chance = Law::new(discount, unlike).chance(before, requests, sources);
            let chance = match index % 2 {
                _ if is_apart => share,
                0 => (1.0 - share) * chance,
                _ => (1.0 - share) * ((1.0 - sessions) * chance + sessions * back),
            };
            crowd.times(chance);
        }
    }

    /// So many attackers share the requests in any proportions (Laplace's rule of succession);
    /// bystanders are always new.
    fn chance_of_few(&self, before: u32, attackers: f64) -> f64 {
        let (requests, sources) = (f64::from(self.requests), f64::from(self.sources));
        let places = requests + attackers.max(sources);
        let own = 1.0 - BYSTANDERS;
        match before {
            0 => own * (attackers - sources).max(0.0) / places + BYSTANDERS,
            _ => own * (f64::from(before) + 1.0) / places,
        }
    }

    /// Good and Turing's estimate (Good, Biometrika 40, 1953): the next request is of a source seen
    /// so often with the weight of the requests of sources seen once more often. Bystanders stay
    /// new and attackers come back, in whatever numbers.
    fn chance_of_seen(&self, before: u32) -> f64 {
        let mut weights = [0.0; SEEN + 1];
        let mut sources = [1.0; SEEN + 1];
        let mut left = self.requests;
        for times in 0..SEEN {
            let requests = self.seen[times] * u32::try_from(times + 1).unwrap_or_default();
            left -= requests;
            weights[times] = f64::from(requests) + 0.5;
            if times > 0 {
                sources[times] = f64::from(self.seen[times - 1]);
            }
        }
        // Whoever was seen more often is likely in proportion.
        let often = left + self.seen[SEEN - 1] * u32::try_from(SEEN).unwrap_or_default();
        weights[SEEN] = f64::from(left) + 0.5;
        sources[SEEN] = f64::from(often);
        let possible = weights.iter().zip(&sources).filter(|(_, sources)| **sources > 0.0);
        let all: f64 = possible.map(|(weight, _)| weight).sum();
        let class = (before as usize).min(SEEN);
        let own = if class == SEEN { f64::from(before) } else { 1.0 };
        weights[class] / all * own / sources[class]
    }

    /// Chance that two requests of a crowd have the same caller, at most.
    pub(super) fn unlike(&self) -> f64 {
        self.unlike.unwrap_or(UNLIKE_MAX).max(UNLIKE_MIN)
    }

    /// Requests that were looked at.
    pub(super) fn requests(&self) -> u32 {
        self.requests
    }

    /// Of these, how many came from an address that was there before.
    pub(super) fn returns(&self) -> u32 {
        self.requests - self.sources
    }

    /// Share of all requests that is of one address.
    pub(super) fn most_share(&self) -> f64 {
        f64::from(self.most) / self.passed.max(1) as f64
    }

    /// Natural logarithm of the evidence.
    pub(super) fn evidence(&self) -> f64 {
        let attacks = self.attacks.map(Likelihood::log);
        let likeliest = attacks.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = attacks.iter().map(|log| libm::exp(log - likeliest)).sum();
        let crowds = self.crowds.map(Likelihood::log);
        let crowd = crowds.into_iter().fold(f64::NEG_INFINITY, f64::max);
        likeliest + libm::log(sum / ATTACKS as f64) - crowd
    }
}

/// Product of chances. A logarithm is taken now and then only, before the product gets too small.
#[derive(Debug, Clone, Copy)]
struct Likelihood {
    log: f64,
    product: f64,
}

impl Likelihood {
    const ONE: Self = Self { log: 0.0, product: 1.0 };

    fn times(&mut self, chance: f64) {
        self.product *= chance;
        if self.product < 1e-200 {
            *self = Self { log: self.log(), product: 1.0 };
        }
    }

    fn log(self) -> f64 {
        self.log + libm::log(self.product.max(f64::MIN_POSITIVE))
    }
}

/// A law of the next caller.
struct Law {
    discount: f64,
    concentration: f64,
}

impl Law {
    fn new(discount: f64, unlike: f64) -> Self {
        // Two requests have the same caller with chance (1 - discount) / (1 + concentration).
        Self { discount, concentration: (1.0 - discount) / unlike - 1.0 }
    }

    fn chance(&self, before: u32, requests: u32, sources: u32) -> f64 {
        if requests == 0 {
            return 1.0;
        }
        let places = f64::from(requests) + self.concentration;
        match before {
            0 => (self.concentration + self.discount * f64::from(sources)) / places,
            _ => (f64::from(before) - self.discount) / places,
        }
    }
}

kept!(Repeats { piece, last, number, requests, next_at, best, crowd });
kept!(Piece {
    unlike, few, requests, sources, most, busiest, seen, crowds, attacks, best, now, known, passed,
} if |piece| piece.known.len() <= CALLERS_MAX);
kept!(Likelihood { log, product });
