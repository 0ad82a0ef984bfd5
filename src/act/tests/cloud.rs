//! Lambda's and the scheduler's control plane on a loopback port, as far as bursar calls it, with
//! faults on demand. Paths, codes and texts follow the services' API references.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// How a call goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Status, code, text and further headers; nothing is done.
    Says(u16, &'static str, &'static str, &'static str),
    /// It is done, and then the connection is cut off.
    CutOff,
    /// It is done, and the answer takes so long.
    Slow(Duration),
    /// It is done, and half of the answer comes.
    Partial,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    /// Reserved concurrency by function.
    pub(crate) reserved: BTreeMap<String, Option<u64>>,
    /// Event source mappings by id, as the service describes them.
    pub(crate) mappings: BTreeMap<String, Value>,
    /// Schedules by name.
    pub(crate) schedules: BTreeMap<String, Value>,
    /// Methods with paths, in order.
    pub(crate) calls: Vec<String>,
    /// What the next calls that begin so meet.
    faults: Vec<(&'static str, VecDeque<Fault>)>,
}

/// The account's limit and what must stay unreserved.
const CONCURRENCY: u64 = 1_000;
const UNRESERVED_MIN: u64 = 50;

#[derive(Debug, Clone)]
pub(crate) struct Cloud {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

impl Cloud {
    pub(crate) fn start(functions: &[(&str, Option<u64>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let reserved = functions.iter().map(|(name, value)| ((*name).to_owned(), *value));
        let state = State { reserved: reserved.collect(), ..State::default() };
        let cloud = Self { url, state: Arc::new(Mutex::new(state)) };
        let serving = cloud.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let cloud = serving.clone();
                thread::spawn(move || cloud.serve(&stream));
            }
        });
        cloud
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next calls whose method and path begin so meet these.
    pub(crate) fn fail(&self, call: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.push((call, faults.into_iter().collect()));
    }

    pub(crate) fn reserved(&self, function: &str) -> Option<u64> {
        self.state().reserved[function]
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((line, body)) = request(&mut reader) {
            let fault = self.fault(&line);
            if let Some(Fault::Says(status, code, text, headers)) = fault {
                let body = json!({ "message": text, "Message": text, "Type": "User" });
                answer(stream, status, code, headers, &body.to_string());
                continue;
            }
            let (status, code, body) = self.state().perform(&line, &body);
            match fault {
                Some(Fault::CutOff) => return,
                Some(Fault::Slow(time)) => thread::sleep(time),
                Some(Fault::Partial) => {
                    let half = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"Reserved";
                    drop((&*stream).write_all(half.as_bytes()));
                    return;
                }
                _ => {}
            }
            answer(stream, status, code, "", &body.to_string());
        }
    }

    fn fault(&self, line: &str) -> Option<Fault> {
        let mut state = self.state();
        let planned = state
            .faults
            .iter_mut()
            .find(|(call, faults)| !faults.is_empty() && line.starts_with(call))?;
        planned.1.pop_front()
    }
}

impl State {
    fn perform(&mut self, line: &str, body: &str) -> (u16, &'static str, Value) {
        self.calls.push(line.to_owned());
        let (method, path) = line.split_once(' ').unwrap_or_default();
        let given: Value = serde_json::from_str(body).unwrap_or_default();
        if let Some(name) = path.strip_prefix("/schedules/") {
            return self.schedule(method, name.split('?').next().unwrap_or_default(), given);
        }
        if path.contains("/account-settings") {
            let limit = json!({
                "ConcurrentExecutions": CONCURRENCY,
                "UnreservedConcurrentExecutions": CONCURRENCY - self.taken(""),
            });
            return (200, "", json!({ "AccountLimit": limit }));
        }
        if let Some(rest) = path.strip_prefix("/2015-03-31/event-source-mappings") {
            return self.mapping(method, rest.trim_start_matches('/'), &given);
        }
        let name = path.split('/').nth(3).unwrap_or_default().replace("%3A", ":");
        let name = name.rsplit(':').next().unwrap_or_default().to_owned();
        if !self.reserved.contains_key(&name) {
            return (404, "ResourceNotFoundException", json!({ "Message": "no such function" }));
        }
        match method {
            "GET" => match self.reserved[&name] {
                Some(value) => (200, "", json!({ "ReservedConcurrentExecutions": value })),
                None => (200, "", json!({})),
            },
            "DELETE" => {
                self.reserved.insert(name, None);
                (204, "", Value::Null)
            }
            _ => {
                let value = given["ReservedConcurrentExecutions"].as_u64().unwrap_or_default();
                if self.taken(&name) + value + UNRESERVED_MIN > CONCURRENCY {
                    let text = format!(
                        "Specified ReservedConcurrentExecutions for function decreases account's \
                         UnreservedConcurrentExecution below its minimum value of \
                         [{UNRESERVED_MIN}]."
                    );
                    let body = json!({ "message": text, "Type": "User" });
                    return (400, "InvalidParameterValueException", body);
                }
                self.reserved.insert(name, Some(value));
                (200, "", json!({ "ReservedConcurrentExecutions": value }))
            }
        }
    }

    /// Lets a function read a queue or a stream.
    pub(crate) fn map(&mut self, function: &str, id: &str, arn: &str, state: &str) {
        let function = format!("arn:aws:lambda:eu-west-1:111122223333:function:{function}");
        let mapping = json!({
            "UUID": id, "EventSourceArn": arn, "FunctionArn": function, "State": state,
        });
        self.mappings.insert(id.to_owned(), mapping);
    }

    /// A hundred mappings a page, marked by their number.
    fn mapping(&mut self, method: &str, rest: &str, given: &Value) -> (u16, &'static str, Value) {
        if let Some(query) = rest.strip_prefix('?') {
            let value = |name: &str| {
                let pair = query.split('&').find_map(|pair| pair.strip_prefix(name));
                pair.map(|value| value.replace("%3A", ":"))
            };
            let function = value("FunctionName=").unwrap_or_default();
            let from: usize = value("Marker=").map_or(0, |marker| marker.parse().unwrap());
            let mut page: Vec<_> = self.mappings.values().skip(from).take(100).collect();
            let next = (page.len() == 100).then(|| (from + 100).to_string());
            page.retain(|mapping| mapping["FunctionArn"] == function.as_str());
            return (200, "", json!({ "EventSourceMappings": page, "NextMarker": next }));
        }
        let Some(known) = self.mappings.get_mut(rest) else {
            return (404, "ResourceNotFoundException", json!({ "Message": "no such mapping" }));
        };
        if method == "PUT" {
            let scaling = given["ScalingConfig"].clone();
            if scaling["MaximumConcurrency"].as_u64().is_some_and(|it| !(2..=1_000).contains(&it)) {
                let text = json!({ "message": "MaximumConcurrency must be between 2 and 1000" });
                return (400, "InvalidParameterValueException", text);
            }
            known["ScalingConfig"] = scaling;
        }
        (if method == "PUT" { 202 } else { 200 }, "", known.clone())
    }

    fn taken(&self, but: &str) -> u64 {
        let others = self.reserved.iter().filter(|(name, _)| *name != but);
        others.filter_map(|(_, value)| *value).sum()
    }

    fn schedule(&mut self, method: &str, name: &str, given: Value) -> (u16, &'static str, Value) {
        let known = self.schedules.contains_key(name);
        match (method, known) {
            ("POST", true) => (409, "ConflictException", json!({ "Message": "it is there" })),
            ("PUT" | "DELETE", false) => {
                (404, "ResourceNotFoundException", json!({ "Message": "it is not there" }))
            }
            ("DELETE", true) => {
                self.schedules.remove(name);
                (200, "", json!({}))
            }
            _ => {
                self.schedules.insert(name.to_owned(), given);
                (200, "", json!({ "ScheduleArn": "arn:aws:scheduler:eu-west-1:1:schedule/a/b" }))
            }
        }
    }
}

/// The request line without its version, and the body.
fn request(reader: &mut BufReader<&TcpStream>) -> Option<(String, String)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let line = line.rsplit_once(' ')?.0.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((line, String::from_utf8(body).ok()?))
}

fn answer(mut stream: &TcpStream, status: u16, code: &str, headers: &str, body: &str) {
    let body = if status == 204 { "" } else { body };
    let kind =
        if code.is_empty() { String::new() } else { format!("x-amzn-errortype: {code}\r\n") };
    let text = format!(
        "HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         {kind}{headers}\r\n{body}",
        body.len()
    );
    drop(stream.write_all(text.as_bytes()));
}
