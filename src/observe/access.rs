//! Who may read and who may change: a file of names and digests, read anew whenever somebody shows
//! a key, so that a key that is taken out of it is of no use from that moment on.
//!
//! A line is `NAME read|change token|certificate DIGEST`. The digest of a token is plain SHA-256.
//! Slow hashes (Argon2, bcrypt) are for what people make up; a token is 256 random bits, which
//! nobody tries out, and a slow hash would only be work that strangers could ask for (NIST SP
//! 800-63B, 5.1.2.2: from 112 bits of entropy on an approved one-way function is enough). For a
//! certificate it is the SHA-256 of its DER form, as `openssl x509 -fingerprint -sha256` prints.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

/// An access file has a few lines; of this size it has three hundred.
const FILE_BYTES_MAX: u64 = 64 << 10;
const HOLDERS_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 64;
/// What tokens begin with, by which scanners for secrets know them.
const TOKEN_PREFIX: &str = "bursar_";
/// Bytes of a token that are random.
const TOKEN_BYTES: usize = 32;
/// Orders of one key: so many at once, and then one in so long.
const ORDERS_BURST: u32 = 20;
const ORDER_EVERY: Duration = Duration::from_secs(2);
/// Keys that are not known, from one address: they are answered and told so often, then only
/// answered. Keys that are known are taken all the same: nobody locks out anybody else.
const FAILURES_BURST: u32 = 10;
const FAILURE_EVERY: Duration = Duration::from_secs(6);
/// Addresses whose failures are remembered; the one that is idle longest makes room.
const ADDRESSES_MAX: usize = 1_024;

/// A SHA-256.
pub type Fingerprint = [u8; 32];

/// What a key allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// To look.
    Read,
    /// To look and to give orders.
    Change,
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Token,
    Certificate,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    name: String,
    right: Right,
    kind: Kind,
    digest: Fingerprint,
}

/// An access file that is of no use. It never says what a line holds: somebody may have put the
/// token itself there.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The system.
    #[error("server.access_file {path} cannot be read ({cause}); nobody is let in")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it said.
        cause: io::Error,
    },
    /// A line that says nothing of use.
    #[error("server.access_file {path}, line {line}: {why}; nobody is let in until it is mended")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
}

/// Who is who.
#[derive(Debug)]
pub struct Access {
    path: PathBuf,
    clock: fn() -> Duration,
    orders: Mutex<Buckets<String>>,
    failures: Mutex<Buckets<IpAddr>>,
}

/// What becomes of somebody at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Let in, under this name.
    Known(String),
    /// Known, but without the right.
    Forbidden(String),
    /// Known, and has given too many orders.
    Hasty(String),
    /// Showed nothing.
    Nobody,
    /// Showed something that is in no line.
    Stranger {
        /// Has done so too often to be worth a word.
        tiresome: bool,
    },
}

/// What is counted of requests that need a key, or should not have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessOutcome {
    /// Let in.
    Granted,
    /// No key, an unknown one, or one without the right.
    Denied,
    /// Too many.
    Limited,
    /// For another host, or from another origin's page.
    Foreign,
}

impl AccessOutcome {
    /// The label's values.
    pub const NAMES: [&'static str; 4] = ["granted", "denied", "limited", "foreign"];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            AccessOutcome::Granted => "granted",
            AccessOutcome::Denied => "denied",
            AccessOutcome::Limited => "limited",
            AccessOutcome::Foreign => "foreign",
        }
    }
}

impl Access {
    /// By this file, which is read only when it is needed, and a clock that never goes back.
    pub fn by(path: PathBuf, clock: fn() -> Duration) -> Self {
        let orders = Buckets::new(ORDERS_BURST, ORDER_EVERY, HOLDERS_MAX);
        let failures = Buckets::new(FAILURES_BURST, FAILURE_EVERY, ADDRESSES_MAX);
        Self { path, clock, orders: Mutex::new(orders), failures: Mutex::new(failures) }
    }

    /// Judges what is shown: a token, the certificate of the connection, or both.
    ///
    /// # Errors
    /// A file that is of no use, by which nobody is known.
    pub fn judge(
        &self,
        token: Option<&str>,
        certificate: Option<&Fingerprint>,
        needs: Right,
        from: IpAddr,
    ) -> Result<Verdict, AccessError> {
        if token.is_none() && certificate.is_none() {
            return Ok(Verdict::Nobody);
        }
        let holders = load(&self.path)?;
        // The token first: it is what somebody chose to show.
        let shown = [
            token.map(|token| (Kind::Token, fingerprint(token.as_bytes()))),
            certificate.map(|certificate| (Kind::Certificate, *certificate)),
        ];
        let mut known =
            shown.iter().flatten().filter_map(|(kind, digest)| find(&holders, *kind, digest));
        let Some(holder) = known.next() else {
            // A certificate alone was accepted for the connection: it is a guest, not a guesser.
            let Some(_) = token else { return Ok(Verdict::Nobody) };
            let tiresome = !lock(&self.failures).take(&network(from), (self.clock)());
            return Ok(Verdict::Stranger { tiresome });
        };
        let name = holder.name.clone();
        if holder.right < needs {
            return Ok(Verdict::Forbidden(name));
        }
        if needs == Right::Change && !lock(&self.orders).take(&name, (self.clock)()) {
            return Ok(Verdict::Hasty(name));
        }
        Ok(Verdict::Known(name))
    }
}

/// How many lines a file has, if all of them are of use.
///
/// # Errors
/// The first that is not.
pub fn check(path: &Path) -> Result<usize, AccessError> {
    load(path).map(|holders| holders.len())
}

/// The holder of a key. Every line is compared, and each in constant time, so that the time taken
/// says nothing of how much of a digest was right.
fn find<'a>(holders: &'a [Holder], kind: Kind, digest: &Fingerprint) -> Option<&'a Holder> {
    let mut found = u32::MAX;
    for (index, holder) in (0..).zip(holders) {
        let is_it = holder.digest.ct_eq(digest) & u8::from(holder.kind == kind).ct_eq(&1);
        found.conditional_assign(&index, is_it);
    }
    holders.get(usize::try_from(found).ok()?)
}

/// The digest that the file holds of a token, and of a certificate in its DER form.
pub fn fingerprint(bytes: &[u8]) -> Fingerprint {
    Sha256::digest(bytes).into()
}

/// A token that nobody has seen yet.
///
/// # Errors
/// The system has no randomness to give.
pub fn new_token() -> Result<String, getrandom::Error> {
    let mut random = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut random)?;
    Ok(TOKEN_PREFIX.to_owned() + &hex(&random))
}

/// The line by which a token is known.
pub fn line(name: &str, right: Right, token: &str) -> String {
    let right = if right == Right::Read { "read" } else { "change" };
    format!("{name} {right} token {}", hex(&fingerprint(token.as_bytes())))
}

/// Whether a holder may be called that.
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._@-".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Fingerprint> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let whole = |pair: &[u8]| pair.iter().fold(0, |all, one| all << 4 | one);
    let bytes: Vec<u8> = digits.chunks(2).map(whole).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

fn load(path: &Path) -> Result<Vec<Holder>, AccessError> {
    let unreadable = |cause| AccessError::Unreadable { path: path.to_owned(), cause };
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    let malformed = |line, why| AccessError::Malformed { path: path.to_owned(), line, why };
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(malformed(1, "the file is longer than 64 KiB"));
    }
    let mut holders: Vec<Holder> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let holder = holder(line).map_err(|why| malformed(number, why))?;
        if holders.iter().any(|other| other.name == holder.name) {
            return Err(malformed(number, "the name is used above, give each key its own"));
        }
        if holders.iter().any(|other| other.digest == holder.digest) {
            return Err(malformed(number, "the digest stands above under another name"));
        }
        if holders.len() >= HOLDERS_MAX {
            return Err(malformed(number, "there are more than 256 keys"));
        }
        holders.push(holder);
    }
    Ok(holders)
}

fn holder(line: &str) -> Result<Holder, &'static str> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, right, kind, digest] = words[..] else {
        return Err("not NAME read|change token|certificate DIGEST, as `bursar token` prints it");
    };
    if !is_name(name) {
        return Err("the name is not 1 to 64 letters, digits and . _ @ -");
    }
    let right = match right {
        "read" => Right::Read,
        "change" => Right::Change,
        _ => return Err("the right is neither read nor change"),
    };
    let kind = match kind {
        "token" => Kind::Token,
        "certificate" => Kind::Certificate,
        _ => return Err("the kind is neither token nor certificate"),
    };
    if digest.starts_with(TOKEN_PREFIX) {
        return Err("the token itself stands there, and only its digest should; make a new one");
    }
    let digest =
        unhex(&digest.replace(':', "")).ok_or("the digest is not 64 hexadecimal digits")?;
    Ok(Holder { name: name.to_owned(), right, kind, digest })
}

/// One subscriber has at least a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

/// Leaky buckets by name, a bounded number of them.
#[derive(Debug)]
struct Buckets<K> {
    burst: u32,
    every: Duration,
    most: usize,
    /// When each has leaked out.
    empty_at: BTreeMap<K, Duration>,
}

impl<K: Ord + Clone> Buckets<K> {
    const fn new(burst: u32, every: Duration, most: usize) -> Self {
        Self { burst, every, most, empty_at: BTreeMap::new() }
    }

    /// Whether one more fits.
    fn take(&mut self, key: &K, now: Duration) -> bool {
        let level = self.empty_at.get(key).copied().unwrap_or(now).max(now);
        if level + self.every > now + self.every * self.burst {
            return false;
        }
        if !self.empty_at.contains_key(key) && self.empty_at.len() >= self.most {
            // The one that is empty first has been idle longest.
            let idlest =
                self.empty_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            idlest.and_then(|idlest| self.empty_at.remove(&idlest));
        }
        self.empty_at.insert(key.clone(), level + self.every);
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(text: &str) -> (tempfile::TempDir, Access) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access");
        std::fs::write(&path, text).unwrap();
        (folder, Access::by(path, || Duration::ZERO))
    }

    fn judged(access: &Access, token: &str, needs: Right) -> Verdict {
        access.judge(Some(token), None, needs, [10, 0, 0, 1].into()).unwrap()
    }

    #[test]
    fn old_and_new_tokens_are_good_at_once_and_a_removed_one_no_more() {
        let [old, new] = [new_token().unwrap(), new_token().unwrap()];
        assert_ne!(old, new);
        assert_eq!(old.len(), "bursar_".len() + 64);
        let [old_line, new_line] =
            [("old", &old), ("new", &new)].map(|(name, token)| line(name, Right::Change, token));
        let (_folder, access) = access(&format!("# keys\n{old_line}\n\n{new_line}\n"));
        assert_eq!(judged(&access, &old, Right::Change), Verdict::Known("old".to_owned()));
        assert_eq!(judged(&access, &new, Right::Change), Verdict::Known("new".to_owned()));
        std::fs::write(&access.path, new_line).unwrap();
        assert_eq!(judged(&access, &old, Right::Read), Verdict::Stranger { tiresome: false });
        assert_eq!(judged(&access, &new, Right::Read), Verdict::Known("new".to_owned()));
    }

    #[test]
    fn a_reader_may_not_change_and_a_certificate_is_no_token() {
        let token = new_token().unwrap();
        let digest = fingerprint(token.as_bytes());
        let (_folder, access) = access(&line("scraper", Right::Read, &token));
        assert_eq!(judged(&access, &token, Right::Read), Verdict::Known("scraper".to_owned()));
        assert_eq!(
            judged(&access, &token, Right::Change),
            Verdict::Forbidden("scraper".to_owned())
        );
        let by = |digest| access.judge(None, digest, Right::Read, [10, 0, 0, 1].into()).unwrap();
        assert_eq!((by(Some(&digest)), by(None)), (Verdict::Nobody, Verdict::Nobody));
        let colons: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        let pinned = format!("ci change certificate {}", colons.join(":"));
        std::fs::write(&access.path, pinned).unwrap();
        assert_eq!(by(Some(&digest)), Verdict::Known("ci".to_owned()));
    }

    #[test]
    fn strangers_become_tiresome_by_address_and_lock_nobody_out() {
        let token = new_token().unwrap();
        let (_folder, access) = access(&line("alice", Right::Change, &token));
        let show = |token: &str, from: IpAddr| {
            access.judge(Some(token), None, Right::Change, from).unwrap()
        };
        let tiresome = |tiresome| Verdict::Stranger { tiresome };
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        for _ in 0..FAILURES_BURST {
            assert_eq!(show("bursar_guess", one), tiresome(false));
        }
        assert_eq!(show("bursar_guess", neighbour), tiresome(true));
        assert_eq!(show("bursar_guess", [10, 0, 0, 1].into()), tiresome(false));
        assert_eq!(show(&token, one), Verdict::Known("alice".to_owned()));
        for host in 0..3 * u32::try_from(ADDRESSES_MAX).unwrap() {
            show("bursar_guess", IpAddr::from(host.to_be_bytes()));
        }
        assert_eq!(lock(&access.failures).empty_at.len(), ADDRESSES_MAX);
    }

    #[test]
    fn orders_of_one_key_are_limited() {
        let token = new_token().unwrap();
        let (_folder, access) = access(&line("alice", Right::Change, &token));
        for _ in 0..ORDERS_BURST {
            assert_eq!(judged(&access, &token, Right::Change), Verdict::Known("alice".to_owned()));
        }
        assert_eq!(judged(&access, &token, Right::Change), Verdict::Hasty("alice".to_owned()));
        assert_eq!(judged(&access, &token, Right::Read), Verdict::Known("alice".to_owned()));
    }

    #[test]
    fn a_file_of_no_use_lets_nobody_in_and_does_not_say_what_it_holds() {
        let token = new_token().unwrap();
        let good = line("alice", Right::Change, &token);
        let digest = hex(&fingerprint(b"other"));
        for (text, why) in [
            (format!("alice change token {token}"), "the token itself"),
            ("alice change token".to_owned(), "NAME read|change"),
            (format!("alice all token {digest}"), "neither read nor change"),
            (format!("alice read cookie {digest}"), "neither token nor certificate"),
            (format!("alice change token {digest}00"), "64 hexadecimal"),
            (format!("al\u{1b}ice change token {digest}"), "the name is not"),
            (format!("{good}\nalice read token {digest}"), "used above"),
            (format!("{good}\n{}", good.replace("alice", "bob")), "stands above"),
            ("#".repeat(70_000), "longer than 64 KiB"),
        ] {
            let (_folder, access) = access(&text);
            let told = access.judge(Some(&token), None, Right::Read, [10, 0, 0, 1].into());
            let told = told.unwrap_err().to_string();
            assert!(told.contains(why) && told.contains("line "), "{told}");
            assert!(!told.contains(&token) && !told.contains(&digest), "{told}");
        }
        let gone = check(Path::new("/nonexistent")).unwrap_err().to_string();
        assert!(gone.contains("nobody is let in"), "{gone}");
    }
}
