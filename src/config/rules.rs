//! Rules between settings. Each names the key that is easiest to change.

use std::collections::BTreeMap;
use std::path::Path;

use super::problems::{Fault, Problem};
use super::raw::RawConfig;
use super::settings::{
    InputKind, KafkaSettings, KafkaStart, KafkaToken, KinesisStart, Release, Settings,
};
use crate::control::settings::Mode;
use crate::units::AccountId;

/// Expiries of a real platform are renewed by the minute.
const EXPIRY_SECONDS_MIN: u32 = 300;

/// Adds what contradicts itself. Rules about a key that was refused already keep quiet.
pub(super) fn check(settings: &Settings, raw: &RawConfig, problems: &mut Vec<Problem>) {
    let mut broken: Vec<(String, String)> = Vec::new();
    mode(settings, &mut broken);
    input(settings, &mut broken);
    tokens(&settings.input.kafka, &mut broken);
    times(settings, &mut broken);
    outputs(settings, &mut broken);
    state(settings, &mut broken);
    server(settings, &mut broken);
    for (key, words) in broken {
        if !problems.iter().any(|problem| problem.key == key) {
            let source = raw.source(&key);
            problems.push(Problem { key, given: None, fault: Fault::Other(words), source });
        }
    }
}

fn state(settings: &Settings, broken: &mut Vec<(String, String)>) {
    let supported = matches!(settings.input.kind, InputKind::Kafka | InputKind::Files);
    if settings.state_directory.is_some() && !supported {
        let words = "only for input.kind kafka and files, others cannot be gone on with; leave it \
                     empty";
        broken.push(("state.directory".to_owned(), words.to_owned()));
    }
}

fn server(settings: &Settings, broken: &mut Vec<(String, String)>) {
    let server = &settings.server;
    let tls = server.tls_certificate.is_some();
    let mut refuse = |key: &str, words: &str| broken.push((key.to_owned(), words.to_owned()));
    if tls != server.tls_key.is_some() {
        refuse("server.tls_key", "goes with server.tls_certificate, give both or neither");
    }
    if server.tls_client_ca.is_some() && !tls {
        refuse("server.tls_client_ca", "certificates are shown by TLS, set server.tls_certificate");
    }
    if server.read_needs_key && server.access_file.is_none() {
        refuse("server.read_needs_key", "keys stand in server.access_file, set that, too");
    }
    if server.access_file.is_none() {
        return;
    }
    if !tls && !server.listen.ip().is_loopback() {
        let words = "keys would cross the network for everybody to read; set \
                     server.tls_certificate and server.tls_key, or server.listen to a loopback \
                     address";
        refuse("server.access_file", words);
    }
    if settings.output.decisions.is_none() {
        let words = "who has ordered what is written to output.decisions, set that, too";
        refuse("server.access_file", words);
    }
}

fn mode(settings: &Settings, broken: &mut Vec<(String, String)>) {
    if settings.control.mode == Mode::Approve && settings.server.access_file.is_none() {
        let words = "\"approve\" needs somebody who may approve, set server.access_file";
        broken.push(("mode".to_owned(), words.to_owned()));
    }
    if !settings.control.mode.acts() || settings.input.kind == InputKind::Embedded {
        return;
    }
    let lambda = &settings.lambda;
    if !lambda.enabled {
        broken.push((
            "mode".to_owned(),
            "\"enforce\" needs an actuator, set lambda.enabled = true or mode = \"observe\""
                .to_owned(),
        ));
    } else if settings.input.kind == InputKind::Files {
        broken.push((
            "mode".to_owned(),
            "\"enforce\" acts on the present, and files are the past; set mode = \"observe\""
                .to_owned(),
        ));
    } else if settings.input.account == AccountId::default() {
        broken.push((
            "input.account".to_owned(),
            "\"enforce\" needs to know whose functions records without an account are about"
                .to_owned(),
        ));
    } else if !Path::new(&settings.journal).is_absolute() {
        broken.push((
            "state.journal".to_owned(),
            "\"enforce\" needs an absolute path, so that `bursar restore` finds the same journal \
             from everywhere"
                .to_owned(),
        ));
    } else if settings.control.cap_floor == 0 {
        broken.push((
            "control.cap_floor".to_owned(),
            "a reserved concurrency of 0 loses asynchronous events, give 1 or more".to_owned(),
        ));
    } else if settings.control.expiry_seconds < EXPIRY_SECONDS_MIN {
        broken.push((
            "control.expiry".to_owned(),
            "\"enforce\" needs 5m or more, since releases are put off by then".to_owned(),
        ));
    } else if lambda.release == Release::Nobody {
        broken.push((
            "lambda.release".to_owned(),
            "\"enforce\" needs somebody who gives back when bursar no longer can: \"schedule\" \
             with lambda.release_role, or \"timer\" and a timer that runs \
             `bursar restore --expired`"
                .to_owned(),
        ));
    } else if (lambda.release == Release::Schedule) == lambda.release_role.is_empty() {
        broken.push((
            "lambda.release_role".to_owned(),
            "goes with lambda.release = \"schedule\", give both or neither".to_owned(),
        ));
    }
}

fn input(settings: &Settings, broken: &mut Vec<(String, String)>) {
    let input = &settings.input;
    let needed: &[(&str, bool)] = match input.kind {
        InputKind::Embedded => &[],
        InputKind::Kafka => &[
            ("input.kafka.brokers", input.kafka.brokers.is_empty()),
            ("input.kafka.topics", input.kafka.topics.is_empty()),
        ],
        InputKind::Kinesis => &[("input.kinesis.stream", input.kinesis.stream.is_empty())],
        InputKind::Files => &[("input.files.paths", input.files.is_empty())],
    };
    for (key, _) in needed.iter().filter(|(_, empty)| *empty) {
        let words = "needed by this input.kind, give at least one".to_owned();
        broken.push(((*key).to_owned(), words));
    }
    let wants = input.kafka.start == KafkaStart::Timestamp;
    if input.kind == InputKind::Kafka && wants != input.kafka.start_time.is_some() {
        broken.push((
            "input.kafka.start_time".to_owned(),
            "goes with input.kafka.start = \"timestamp\", give both or neither".to_owned(),
        ));
    }
    let timed = input.kinesis.start == KinesisStart::AtTimestamp;
    if timed != input.kinesis.start_time.is_some() {
        let words = "goes with input.kinesis.start = \"at_timestamp\", give both or neither";
        broken.push(("input.kinesis.start_time".to_owned(), words.to_owned()));
    }
    // These are set from the keys above; a second value would silently win.
    for name in ["bootstrap.servers", "metadata.broker.list", "group.id"] {
        if input.kafka.properties.contains_key(name) {
            broken.push((
                format!("input.kafka.properties.{name}"),
                "set by input.kafka.brokers and input.kafka.group, remove it here".to_owned(),
            ));
        }
    }
}

fn tokens(kafka: &KafkaSettings, broken: &mut Vec<(String, String)>) {
    let shown = kafka.token != KafkaToken::None;
    if (kafka.token == KafkaToken::File) != kafka.token_file.is_some() {
        let words = "goes with input.kafka.token = \"file\", give both or neither";
        broken.push(("input.kafka.token_file".to_owned(), words.to_owned()));
    }
    if kafka.token != KafkaToken::AwsMskIam && !kafka.token_region.is_empty() {
        let words = "goes with input.kafka.token = \"aws_msk_iam\", set that or leave this out";
        broken.push(("input.kafka.token_region".to_owned(), words.to_owned()));
    }
    for (name, value) in &kafka.properties {
        let is = |other: &str| value.eq_ignore_ascii_case(other);
        let words = match name.as_str() {
            "sasl.mechanism" | "sasl.mechanisms" if shown && value != "OAUTHBEARER" => {
                "input.kafka.token goes with OAUTHBEARER alone, remove one of them"
            }
            "enable.sasl.oauthbearer.unsecure.jwt" if shown && !is("false") => {
                "would show tokens that nobody has signed in place of input.kafka.token, remove it"
            }
            "security.protocol"
                if kafka.token == KafkaToken::AwsMskIam && !is("sasl_ssl") && !is_local(kafka) =>
            {
                "a signed token must not be shown without TLS, give \"sasl_ssl\" or leave it out"
            }
            "sasl.mechanism" | "sasl.mechanisms" if !shown && is("OAUTHBEARER") => {
                "needs a token to show, set input.kafka.token = \"aws_msk_iam\" or \"file\""
            }
            "security.protocol" if shown && !is("sasl_ssl") && !is("sasl_plaintext") => {
                "input.kafka.token goes with \"sasl_ssl\", give that or leave it out"
            }
            "sasl.oauthbearer.method" if is("oidc") => {
                "the client is built without HTTP to fetch tokens by, remove it; set \
                 input.kafka.token = \"file\" and let another program write the token there"
            }
            _ => continue,
        };
        broken.push((format!("input.kafka.properties.{name}"), words.to_owned()));
    }
}

/// Whether all brokers are on this machine.
fn is_local(kafka: &KafkaSettings) -> bool {
    let local = ["localhost:", "127.0.0.1:", "[::1]:"];
    kafka.brokers.iter().all(|broker| local.iter().any(|host| broker.starts_with(host)))
}

fn times(settings: &Settings, broken: &mut Vec<(String, String)>) {
    let control = &settings.control;
    if control.settle_seconds >= control.expiry_seconds {
        broken.push((
            "control.settle".to_owned(),
            "must be less than control.expiry, or restrictions lapse before they are judged"
                .to_owned(),
        ));
    }
}

fn outputs(settings: &Settings, broken: &mut Vec<(String, String)>) {
    let (output, kafka) = (&settings.output, &settings.input.kafka);
    let topic = &output.dead_letter_topic;
    let words = if topic.is_empty() {
        None
    } else if kafka.topics.contains(topic) {
        Some("also in input.kafka.topics: what is refused would come in again, name another")
    } else if kafka.brokers.is_empty() {
        Some("sent to input.kafka.brokers, name at least one")
    } else {
        None
    };
    if let Some(words) = words {
        broken.push(("output.dead_letter_topic".to_owned(), words.to_owned()));
    }
    let mut taken: BTreeMap<&Path, &str> = BTreeMap::new();
    for (key, path) in [
        ("output.decisions", &output.decisions),
        ("output.ledger", &output.ledger),
        ("output.dead_letters", &output.dead_letters),
    ] {
        let Some(path) = path else { continue };
        if let Some(other) = taken.insert(path, key) {
            broken.push((
                key.to_owned(),
                format!("the same path as {other}, give each file its own"),
            ));
        }
    }
}
