//! A Kinesis that does what it is told: JSON 1.1 over HTTP on a loopback port, with shards that
//! split and merge, limits that hold, and faults on demand.
//!
//! It follows the service's API reference where readers depend on it: iterators are opaque, a
//! closed shard ends with no next iterator, five calls and 2 MB a second and shard, a page of the
//! list at a time.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

/// As long as the service's own.
const SEQUENCE_HEAD: &str = "495903382714902566085596925383615710959215";

/// Hash keys are the keys themselves here.
pub(crate) const KEYS: u32 = 1_000;

/// Shards in a page of the list, few, so that lists have pages.
const PAGE: usize = 2;

#[derive(Default)]
pub(crate) struct State {
    shards: Vec<FakeShard>,
    sequence: u64,
    /// Iterators of an earlier generation have expired.
    generation: u64,
    /// Error codes that the next calls of an operation answer with.
    faults: BTreeMap<&'static str, VecDeque<&'static str>>,
    /// Error codes that an operation answers with until it is healed.
    stuck: BTreeMap<&'static str, &'static str>,
    /// Whether the last answer of a shard names its children.
    pub(crate) tells_children: bool,
    /// The end of a shard shows only behind the last record, in an answer of its own.
    pub(crate) lingers: bool,
    /// Every other answer has no records, whether there are some or not.
    pub(crate) stutters: bool,
    /// Subscriptions of an earlier generation are dropped.
    subscriptions: u64,
    /// Calls by operation, and how many of them were refused for their rate.
    pub(crate) calls: BTreeMap<String, usize>,
    pub(crate) refused: usize,
    /// The largest answer, in records.
    pub(crate) answer_records_max: usize,
}

struct FakeShard {
    id: String,
    parents: Vec<String>,
    /// Keys that belong to it.
    keys: std::ops::Range<u32>,
    records: Vec<(u64, Vec<u8>, i64)>,
    closed: bool,
    listed: bool,
    reads: VecDeque<Instant>,
    subscribed: Option<Instant>,
}

/// An open subscription.
struct Open {
    shard: usize,
    place: usize,
    generation: u64,
}

pub(crate) struct Fake {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Fake {
    /// A stream `costs` with so many shards of equal size.
    pub(crate) fn start(shards: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut state = State::default();
        for shard in 0..shards {
            let at = |shard| KEYS * shard / shards;
            state.open(at(shard)..at(shard + 1), vec![]);
        }
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        // Ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &state));
            }
        });
        Self { url, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Adds a record to the open shard that the key belongs to.
    pub(crate) fn put(&self, key: u32, data: &[u8]) {
        let mut state = self.state();
        state.sequence += 1;
        let sequence = state.sequence;
        let mut shards = state.shards.iter_mut();
        let shard = shards.find(|shard| !shard.closed && shard.keys.contains(&key)).unwrap();
        shard.records.push((sequence, data.to_vec(), wall_ms()));
    }

    /// Splits the open shard of a key at that key.
    pub(crate) fn split(&self, key: u32) {
        let mut state = self.state();
        let (parent, keys) = state.close(key);
        state.open(keys.start..key, vec![parent.clone()]);
        state.open(key..keys.end, vec![parent]);
    }

    /// Merges the open shards of two keys that lie beside each other.
    pub(crate) fn merge(&self, left: u32, right: u32) {
        let mut state = self.state();
        let ((left, low), (right, high)) = (state.close(left), state.close(right));
        assert_eq!(low.end, high.start);
        state.open(low.start..high.end, vec![left, right]);
    }

    /// The next calls of an operation fail with these codes.
    pub(crate) fn fail(&self, operation: &'static str, codes: &[&'static str]) {
        self.state().faults.entry(operation).or_default().extend(codes);
    }

    /// An operation fails with this code until it is healed.
    pub(crate) fn stick(&self, operation: &'static str, code: &'static str) {
        self.state().stuck.insert(operation, code);
    }

    pub(crate) fn heal(&self, operation: &'static str) {
        self.state().stuck.remove(operation);
    }

    pub(crate) fn expire_iterators(&self) {
        self.state().generation += 1;
    }

    /// Breaks the connections of all subscriptions.
    pub(crate) fn drop_subscriptions(&self) {
        self.state().subscriptions += 1;
    }

    /// A shard is beyond its retention.
    pub(crate) fn forget(&self, shard: usize) {
        self.state().shards[shard].listed = false;
    }

    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.state().calls.get(operation).copied().unwrap_or(0)
    }
}

impl State {
    fn open(&mut self, keys: std::ops::Range<u32>, parents: Vec<String>) {
        self.shards.push(FakeShard {
            id: format!("shardId-{:012}", self.shards.len()),
            parents,
            keys,
            records: vec![],
            closed: false,
            listed: true,
            reads: VecDeque::new(),
            subscribed: None,
        });
    }

    fn close(&mut self, key: u32) -> (String, std::ops::Range<u32>) {
        let mut shards = self.shards.iter_mut();
        let shard = shards.find(|shard| !shard.closed && shard.keys.contains(&key)).unwrap();
        shard.closed = true;
        (shard.id.clone(), shard.keys.clone())
    }

    /// Counts a call; the code with which it is to fail, if it is.
    fn fault(&mut self, operation: &str) -> Option<&'static str> {
        *self.calls.entry(operation.to_owned()).or_default() += 1;
        let next = self.faults.get_mut(operation).and_then(VecDeque::pop_front);
        next.or_else(|| self.stuck.get(operation).copied())
    }

    fn answer(&mut self, operation: &str, body: &Value) -> Result<Value, &'static str> {
        if let Some(code) = self.fault(operation) {
            return Err(code);
        }
        let named = body["StreamName"].as_str().unwrap_or("costs");
        match operation {
            _ if named != "costs" => Err("ResourceNotFoundException"),
            "ListShards" => self.list(body),
            "GetShardIterator" => self.iterator(body),
            "GetRecords" => self.records(body),
            _ => Err("UnknownOperationException"),
        }
    }

    fn list(&self, body: &Value) -> Result<Value, &'static str> {
        let start: usize = match body["NextToken"].as_str() {
            Some(_) if !body["StreamName"].is_null() => return Err("InvalidArgumentException"),
            Some(token) => token.parse().unwrap(),
            None => 0,
        };
        let page = self.shards.iter().skip(start).take(PAGE).filter(|shard| shard.listed);
        let page: Vec<Value> = page.map(FakeShard::listed).collect();
        let next = start + PAGE;
        let token = (next < self.shards.len()).then(|| next.to_string());
        Ok(json!({ "Shards": page, "NextToken": token }))
    }

    fn shard(&self, id: &str) -> Result<usize, &'static str> {
        let found = self.shards.iter().position(|shard| shard.id == id && shard.listed);
        found.ok_or("ResourceNotFoundException")
    }

    fn place(&self, shard: usize, kind: &str, body: &Value) -> Result<usize, &'static str> {
        let records = &self.shards[shard].records;
        Ok(match kind {
            "TRIM_HORIZON" => 0,
            "LATEST" => records.len(),
            "AT_TIMESTAMP" => {
                let from = (body["Timestamp"].as_f64().unwrap() * 1e3) as i64;
                records.partition_point(|record| record.2 < from)
            }
            "AFTER_SEQUENCE_NUMBER" => {
                let given =
                    body["StartingSequenceNumber"].as_str().or(body["SequenceNumber"].as_str());
                let after = given.and_then(|given| given.strip_prefix(SEQUENCE_HEAD)?.parse().ok());
                let after: u64 = after.ok_or("InvalidArgumentException")?;
                records.partition_point(|record| record.0 <= after)
            }
            _ => return Err("InvalidArgumentException"),
        })
    }

    fn iterator(&self, body: &Value) -> Result<Value, &'static str> {
        let shard = self.shard(body["ShardId"].as_str().unwrap())?;
        let place = self.place(shard, body["ShardIteratorType"].as_str().unwrap(), body)?;
        Ok(json!({ "ShardIterator": format!("{}:{shard}:{place}:0", self.generation) }))
    }

    fn records(&mut self, body: &Value) -> Result<Value, &'static str> {
        let iterator = body["ShardIterator"].as_str().unwrap().split(':');
        let parts: Vec<u64> = iterator.map(|part| part.parse().unwrap()).collect();
        let [generation, shard, place, turn] = parts[..] else {
            return Err("InvalidArgumentException");
        };
        if generation != self.generation {
            return Err("ExpiredIteratorException");
        }
        let (index, place) = (shard as usize, place as usize);
        let shard = &mut self.shards[index];
        if !shard.listed {
            return Err("ResourceNotFoundException");
        }
        let now = now();
        shard.reads.retain(|read| now.duration_since(*read) < Duration::from_secs(1));
        // One call of grace: how long a call is on its way is not the caller's to say.
        if shard.reads.len() > 5 {
            self.refused += 1;
            return Err("ProvisionedThroughputExceededException");
        }
        shard.reads.push_back(now);
        let limit = body["Limit"].as_u64().unwrap_or(10_000) as usize;
        let limit = if self.stutters && turn.is_multiple_of(2) { 0 } else { limit };
        let rest = &shard.records[place..];
        let mut bytes = 0;
        let fits = rest.iter().take(limit).take_while(|record| {
            bytes += record.1.len();
            bytes <= 10 << 20
        });
        let count = fits.count();
        let records: Vec<Value> = rest[..count].iter().map(record).collect();
        self.answer_records_max = self.answer_records_max.max(count);
        let left = rest.len() - count;
        let ended = self.shards[index].closed && left == 0 && !(self.lingers && count > 0);
        let next = place + count;
        let next = format!("{generation}:{index}:{next}:{}", turn + 1);
        let children = ended && self.tells_children;
        let children = children.then(|| self.children(&self.shards[index].id));
        Ok(json!({
            "Records": records, "MillisBehindLatest": left, "ChildShards": children,
            "NextShardIterator": (!ended).then_some(next),
        }))
    }

    fn subscribe(&mut self, body: &Value) -> Result<Open, &'static str> {
        if let Some(code) = self.fault("SubscribeToShard") {
            return Err(code);
        }
        if !body["ConsumerARN"].as_str().unwrap().ends_with(":stream/costs/consumer/bursar:1") {
            return Err("ResourceNotFoundException");
        }
        let shard = self.shard(body["ShardId"].as_str().unwrap())?;
        let (from, now) = (&body["StartingPosition"], now());
        let place = self.place(shard, from["Type"].as_str().unwrap(), from)?;
        let last = self.shards[shard].subscribed.replace(now);
        if last.is_some_and(|last| now.duration_since(last) < Duration::from_secs(5)) {
            self.refused += 1;
            return Err("ResourceInUseException");
        }
        Ok(Open { shard, place, generation: self.subscriptions })
    }

    /// What a subscription says next: nothing new is also said. `None` once it is broken.
    fn event(&self, open: &mut Open) -> Option<(Value, bool)> {
        if open.generation != self.subscriptions {
            return None;
        }
        let shard = &self.shards[open.shard];
        let rest = &shard.records[open.place..];
        let count = rest.len().min(50);
        open.place += count;
        let left = rest.len() - count;
        let ended = shard.closed && left == 0;
        let last = open.place.checked_sub(1).map_or(0, |last| shard.records[last].0);
        let records: Vec<Value> = rest[..count].iter().map(record).collect();
        let event = json!({
            "Records": records, "MillisBehindLatest": left,
            "ContinuationSequenceNumber": (!ended).then(|| sequence_number(last)),
            "ChildShards": ended.then(|| self.children(&shard.id)),
        });
        Some((event, ended))
    }

    fn children(&self, parent: &String) -> Vec<Value> {
        let children = self.shards.iter().filter(|shard| shard.parents.contains(parent));
        children
            .map(|shard| {
                let range = json!({ "StartingHashKey": "0", "EndingHashKey": "1" });
                json!({ "ShardId": shard.id, "ParentShards": shard.parents, "HashKeyRange": range })
            })
            .collect()
    }
}

impl FakeShard {
    fn listed(&self) -> Value {
        let end = self.closed.then(|| sequence_number(u64::from(u32::MAX)));
        json!({
            "ShardId": self.id, "ParentShardId": self.parents.first(),
            "AdjacentParentShardId": self.parents.get(1),
            "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "1" },
            "SequenceNumberRange": {
                "StartingSequenceNumber": sequence_number(0), "EndingSequenceNumber": end,
            },
        })
    }
}

fn record((sequence, data, arrived): &(u64, Vec<u8>, i64)) -> Value {
    json!({
        "SequenceNumber": sequence_number(*sequence), "Data": base64(data), "PartitionKey": "key",
        "ApproximateArrivalTimestamp": *arrived as f64 / 1e3,
    })
}

fn sequence_number(sequence: u64) -> String {
    format!("{SEQUENCE_HEAD}{sequence:014}")
}

pub(crate) fn base64(data: &[u8]) -> String {
    BASE64_STANDARD.encode(data)
}

/// Requests of one connection, one after the other.
fn serve(stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let (mut operation, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "x-amz-target" => operation = value.rsplit('.').next()?.to_owned(),
                "content-length" => length = value.parse().ok()?,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body: Value = serde_json::from_slice(&body).ok()?;
        if operation == "SubscribeToShard" {
            let subscribed = state.lock().unwrap().subscribe(&body);
            match subscribed {
                Ok(open) => stream_events(&mut writer, state, open)?,
                Err(code) => reply(&mut writer, Err(code))?,
            }
            continue;
        }
        let answer = state.lock().unwrap().answer(&operation, &body);
        reply(&mut writer, answer)?;
    }
}

/// Events in chunks, until the shard ends or the connection breaks.
fn stream_events(writer: &mut TcpStream, state: &Mutex<State>, mut open: Open) -> Option<()> {
    let head = "HTTP/1.1 200 X\r\nContent-Type: application/vnd.amazon.eventstream\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    writer.write_all(head.as_bytes()).ok()?;
    chunk(writer, &frame("initial-response", b"{}"))?;
    let mut quiet = 0;
    loop {
        let (event, ended) = state.lock().unwrap().event(&mut open)?;
        let empty = event["Records"].as_array().unwrap().is_empty();
        quiet = if empty { quiet + 1 } else { 0 };
        if !empty || ended || quiet % 10 == 1 {
            chunk(writer, &frame("SubscribeToShardEvent", event.to_string().as_bytes()))?;
        }
        if ended {
            return writer.write_all(b"0\r\n\r\n").ok();
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn chunk(writer: &mut TcpStream, bytes: &[u8]) -> Option<()> {
    let size = format!("{:x}\r\n", bytes.len());
    writer.write_all(&[size.as_bytes(), bytes, b"\r\n"].concat()).ok()
}

/// A message of the event-stream encoding: lengths, headers, payload, with two checksums.
fn frame(event: &str, payload: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in
        [(":message-type", "event"), (":event-type", event), (":content-type", "application/json")]
    {
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        // 7 is a string.
        headers.extend_from_slice(&[7, 0, value.len() as u8]);
        headers.extend_from_slice(value.as_bytes());
    }
    let checksum = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_be_bytes()
    };
    let length = |count: usize| (count as u32).to_be_bytes();
    let mut frame = Vec::new();
    frame.extend(length(16 + headers.len() + payload.len()));
    frame.extend(length(headers.len()));
    frame.extend(checksum(&frame));
    frame.extend(headers);
    frame.extend_from_slice(payload);
    frame.extend(checksum(&frame));
    frame
}

fn reply(writer: &mut TcpStream, answer: Result<Value, &str>) -> Option<()> {
    let (status, text) = match answer {
        Ok(answer) => (200, answer.to_string()),
        Err(code) => (400, json!({ "__type": code, "message": "as told" }).to_string()),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.1\r\n\
         Content-Length: {}\r\n\r\n",
        text.len(),
    );
    writer.write_all(&[head.as_bytes(), text.as_bytes()].concat()).ok()
}

#[expect(clippy::disallowed_methods, reason = "limits are kept in real time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "records arrive in real time")]
fn wall_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as i64
}
