//! The server from outside, through sockets.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::JoinHandle;

use prometheus::Registry;
use serde_json::{Value, json};

use super::*;
use crate::observe::metrics::{Labels, Metrics};
use crate::observe::view::View;
use crate::observe::view::tests::function;

/// A server in a thread of its own, stopped and joined when it goes out of scope.
struct Server {
    address: SocketAddr,
    state: Arc<ApiState>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    fn start(limits: Limits) -> Self {
        let labels = Labels {
            rejected: &["not_json"],
            ignored: &[],
            channels: &[],
            severities: &["page"],
            verbs: &[],
            outcomes: &[],
            actuators: &[],
        };
        let metrics = Metrics::try_new(&Registry::new(), &labels, 10).unwrap();
        let state = ApiState::read_only(Arc::new(metrics), Arc::new(View::default()));
        let state = Arc::new(state);
        let (stop, stopped) = oneshot::channel::<()>();
        let (send, receive) = std::sync::mpsc::channel();
        let served = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            runtime().block_on(async move {
                let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
                send.send(listener.local_addr().unwrap()).unwrap();
                let shutdown = async move { drop(stopped.await) };
                let listener = LimitedListener::new(listener, limits, None);
                serve_limited(listener, served, shutdown).await
            })
        });
        Self { address: receive.recv().unwrap(), state, stop: Some(stop), thread: Some(thread) }
    }

    fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn ask(&self, method: &str, target: &str, headers: &str) -> Answer {
        let text = self.raw(&format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"
        ));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        Answer {
            status: head.split(' ').nth(1).unwrap().parse().unwrap(),
            head: head.to_lowercase(),
            body: body.to_owned(),
        }
    }

    fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, "")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || matches!(ended, Ok(Ok(()))), "{ended:?}");
        }
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        serde_json::from_str(&self.body).unwrap()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn metrics_are_text_in_the_exposition_format() {
    let server = Server::start(Limits::default());
    server.state.metrics.messages.inc_by(7);
    let answer = server.get("/metrics");
    assert_eq!(answer.status, 200);
    let expected = "content-type: text/plain; version=0.0.4; charset=utf-8";
    assert!(answer.head.contains(expected), "{}", answer.head);
    assert!(answer.body.contains("\nbursar_messages_total 7\n"));
}

#[test]
fn every_answer_carries_the_security_headers() {
    let server = Server::start(Limits::default());
    for (method, target) in [
        ("GET", "/metrics"),
        ("GET", "/healthz"),
        ("GET", "/nothing"),
        ("POST", "/healthz"),
        ("GET", "/api/v1/functions?limit=0"),
    ] {
        let head = server.ask(method, target, "").head;
        for header in
            ["x-content-type-options: nosniff", "cache-control: no-store", "x-frame-options: deny"]
        {
            assert!(head.contains(header), "{method} {target}: {head}");
        }
    }
}

#[test]
fn readiness_needs_every_component_and_says_which_is_missing() {
    let server = Server::start(Limits::default());
    assert_eq!(server.get("/healthz").status, 200);
    assert_eq!(server.get("/readyz").status, 503);
    server.state.view.set_ready("engine", true, "running");
    server.state.view.set_ready("source", false, "no broker answers");
    let answer = server.get("/readyz");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["components"][1]["why"], "no broker answers");
    server.state.view.set_ready("source", true, "reading");
    let answer = server.get("/readyz");
    assert_eq!((answer.status, &answer.json()["ready"]), (200, &json!(true)));
}

#[test]
fn functions_are_ordered_and_limited() {
    let server = Server::start(Limits::default());
    let mut busy = function("a-busy", 10);
    busy.evidence_log10 = 9.0;
    let all = [function("b-dear", 20), busy, function("c-calm", 0)];
    server.state.view.publish_functions(all.into_iter());
    let names = |query: &str| {
        let answer = server.get(&format!("/api/v1/functions{query}")).json();
        assert_eq!(answer["total"], 3);
        let functions = answer["functions"].as_array().unwrap().clone();
        let name =
            |f: &Value| f["function"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        functions.iter().map(name).collect::<Vec<String>>().join(" ")
    };
    assert_eq!(names(""), "b-dear a-busy c-calm");
    assert_eq!(names("?order=evidence&limit=2"), "a-busy b-dear");
    assert_eq!(names("?order=name&limit=1"), "a-busy");
    let first = &server.get("/api/v1/functions?limit=1").json()["functions"][0];
    assert_eq!(first["money_at_risk_nano_usd_per_hour"], 20);
    assert_eq!(first["last_event"], "2023-11-14T22:13:20.000Z");
    assert_eq!(first["restriction"], Value::Null);
}

#[test]
fn bad_queries_are_refused_with_what_is_accepted() {
    let server = Server::start(Limits::default());
    for query in ["limit=0", "limit=1001", "limit=x", "limit=-1", "order=colour", "page=2", "%ff"] {
        let answer = server.get(&format!("/api/v1/functions?{query}"));
        assert_eq!(answer.status, 400, "{query}");
        let accepted = &answer.json()["accepted"];
        assert_eq!(accepted["limit"], "a whole number from 1 to 1000");
        assert_eq!(accepted["order"][0], "at_risk");
    }
    assert_eq!(server.get("/api/v1/alarms?x=1").status, 400);
}

#[test]
fn alarms_restrictions_actions_and_the_run_are_served_as_they_were_put() {
    let server = Server::start(Limits::default());
    let view = &server.state.view;
    assert_eq!(server.get("/api/v1/run").json(), json!({ "run": null }));
    view.put_alarm("a1", json!({ "id": "a1", "region": "<b>" }));
    view.put_restriction("r1", json!({ "id": "r1" }));
    view.push_action(json!({ "id": "x1" }));
    view.put_budget("b1", json!({ "budget": "b1" }));
    view.set_run(json!({ "kind": "run", "seed": 7 }));
    for (name, expected) in [
        ("alarms", json!({ "alarms": [{ "id": "a1", "region": "<b>" }] })),
        ("restrictions", json!({ "restrictions": [{ "id": "r1" }] })),
        ("actions", json!({ "actions": [{ "id": "x1" }] })),
        ("budgets", json!({ "budgets": [{ "budget": "b1" }] })),
        ("run", json!({ "run": { "kind": "run", "seed": 7 } })),
    ] {
        let answer = server.get(&format!("/api/v1/{name}"));
        assert_eq!((answer.status, answer.json()), (200, expected));
    }
}

#[test]
fn only_reading_is_possible() {
    let server = Server::start(Limits::default());
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let answer = server.ask(method, "/api/v1/alarms", "");
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("allow: get, head"), "{}", answer.head);
    }
    let head = server.ask("HEAD", "/healthz", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(server.ask("GET", "/healthz", "content-length: 5\r\n").status, 413);
    assert_eq!(server.ask("GET", "/healthz", "transfer-encoding: chunked\r\n").status, 413);
    let missing = server.get("/api/v2/alarms");
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json()["error"], "no such resource");
}

#[test]
fn a_request_that_trickles_in_is_cut_off_and_makes_room_for_others() {
    let limits = Limits {
        connections: 1,
        request: Duration::from_millis(50),
        lifetime: Duration::from_secs(60),
        ..Limits::default()
    };
    let server = Server::start(limits);
    // Ends without the test closing it, or this would wait for ever.
    assert_eq!(server.raw("GET /healthz HTT"), "");
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn a_connection_ends_with_its_lifetime_even_when_nothing_is_asked() {
    let limits = Limits { lifetime: Duration::from_millis(50), ..Limits::default() };
    assert_eq!(Server::start(limits).raw(""), "");
}

#[test]
fn a_port_that_is_taken_is_told_with_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = runtime().block_on(bind(address)).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address}: ")), "{error}");
    assert!(error.contains("server.listen") && error.contains("server.enabled"), "{error}");
}
