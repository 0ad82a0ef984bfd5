//! The list of everything that can be set, in the order of the documented file. A key that is not
//! here does not exist.

use super::kind::{Kind, Setting};
use super::names::{
    WINDOW, any_text, is_broker, is_consumer_or_empty, is_function_or_empty, is_pattern, is_region,
    is_region_or_empty, is_role_or_empty, is_stream_or_empty, is_time_or_empty, is_topic,
    is_topic_or_empty, is_url_or_empty, is_window, is_word, not_empty,
};
use super::settings::{
    InputKind, KafkaStart, KafkaToken, KinesisStart, LogFormat, LogLevel, Release, Settings,
};
use crate::control::settings::Mode;
use crate::cost::{Capacity, Gateway};
use crate::engine::watch::LATENESS_SECONDS_MAX;

/// One thing that can be set on a `T`.
pub(super) struct Key<T: 'static> {
    /// From the top of the file, or inside the entry of a list.
    pub(super) path: &'static str,
    /// The field it goes to.
    pub(super) field: fn(&mut T) -> &mut dyn Setting,
    /// What is accepted.
    pub(super) kind: Kind,
    /// What it means, for the documented file.
    pub(super) doc: &'static str,
}

pub(super) const fn key<T>(
    path: &'static str,
    field: fn(&mut T) -> &mut dyn Setting,
    kind: Kind,
    doc: &'static str,
) -> Key<T> {
    Key { path, field, kind, doc }
}

/// Most items in `never_touch`, `topics` and other short lists.
const LIST_MAX: usize = 1_000;
/// Most recorded files.
const FILES_MAX: usize = crate::source::file::INPUTS_MAX;
/// Most librdkafka properties; it knows fewer than 200.
const PROPERTIES_MAX: usize = 200;
/// Beyond any bill; keeps sums in nano-dollars far from their end.
pub(super) const USD_MAX: f64 = 1e9;
const DAY: u64 = 86_400;
/// TOML has signed 64-bit integers.
const SEED_MAX: u64 = (1 << 63) - 1;

/// What `names::is_pattern` accepts.
pub(super) const PATTERN: &str = "a name or * pattern without spaces, matched against the bare \
                                  name and against account:region:name";
const PATH_OR_NONE: Kind = Kind::Text("a path, or \"\" for none", any_text);

/// Keys outside of lists.
pub(super) static KEYS: &[Key<Settings>] = &[
    key(
        "mode",
        |s| &mut s.control.mode,
        Kind::Choice(Mode::NAMES),
        "\"observe\" says what it would do and changes nothing; \"approve\" does it once a person \
         says yes; \"enforce\" does it. Both need an actuator: the embedded platform brings its \
         own, for all else there is lambda.",
    ),
    key(
        "input.kind",
        |s| &mut s.input.kind,
        Kind::Choice(InputKind::NAMES),
        "Where messages come from: a virtual platform inside the process, Kafka topics, a \
         Kinesis stream, or recorded files.",
    ),
    key(
        "input.account",
        |s| &mut s.input.account,
        Kind::Text("an account number of 1 to 12 digits", any_text),
        "The account of records that name none.",
    ),
    key(
        "input.region",
        |s| &mut s.input.region,
        Kind::Text("1 to 32 lower-case letters, digits and dashes", is_region),
        "The region of records that name none.",
    ),
    key(
        "input.function",
        |s| &mut s.input.function,
        Kind::Text("a function name, or \"\" to reject such records", is_function_or_empty),
        "The function of records that name none.",
    ),
    key(
        "input.exclude",
        |s| &mut s.input.exclude,
        Kind::List(
            LIST_MAX,
            "a name or * pattern without spaces, matched against the bare name, \
             account:region:name and the log group",
            is_pattern,
        ),
        "Functions and log groups whose records are counted as ignored and nothing else: those \
         that bursar itself, or what taps the stream for it, runs in.",
    ),
    key(
        "input.kafka.brokers",
        |s| &mut s.input.kafka.brokers,
        Kind::List(LIST_MAX, "host:port", is_broker),
        "The brokers to ask first.",
    ),
    key(
        "input.kafka.topics",
        |s| &mut s.input.kafka.topics,
        Kind::List(
            LIST_MAX,
            "topic names of 1 to 249 letters, digits, \".\", \"_\" and \"-\"",
            is_topic,
        ),
        "The topics to read.",
    ),
    key(
        "input.kafka.group",
        |s| &mut s.input.kafka.group,
        Kind::Text("1 to 255 characters without spaces", is_word),
        "The consumer group.",
    ),
    key(
        "input.kafka.start",
        |s| &mut s.input.kafka.start,
        Kind::Choice(KafkaStart::NAMES),
        "Where to begin when the group has no position yet.",
    ),
    key(
        "input.kafka.start_time",
        |s| &mut s.input.kafka.start_time,
        Kind::Text("\"\", or a time such as 2026-01-05T00:00:00Z", is_time_or_empty),
        "The time of start = \"timestamp\", as the brokers date the messages.",
    ),
    key(
        "input.kafka.token",
        |s| &mut s.input.kafka.token,
        Kind::Choice(KafkaToken::NAMES),
        "Which token is shown to the brokers (OAUTHBEARER), if one is: that of IAM for Amazon MSK, \
         signed by the credentials of the environment, a profile or a role; or that in a file.",
    ),
    key(
        "input.kafka.token_file",
        |s| &mut s.input.kafka.token_file,
        PATH_OR_NONE,
        "The file of token = \"file\": a JSON Web Token, read anew every minute, or sooner when it \
         expires.",
    ),
    key(
        "input.kafka.token_region",
        |s| &mut s.input.kafka.token_region,
        Kind::Text("a region, or \"\" for that of the environment", is_region_or_empty),
        "Where the cluster of token = \"aws_msk_iam\" is.",
    ),
    key(
        "input.kafka.properties",
        |s| &mut s.input.kafka.properties,
        Kind::Properties(PROPERTIES_MAX),
        "librdkafka properties, passed on as they are, for example \"security.protocol\" = \
         \"sasl_ssl\". Passwords are best given in the environment: \
         BURSAR__INPUT__KAFKA__PROPERTIES__SASL__PASSWORD is sasl.password.",
    ),
    key(
        "input.kinesis.stream",
        |s| &mut s.input.kinesis.stream,
        Kind::Text("a stream's name or ARN", is_stream_or_empty),
        "The stream to read.",
    ),
    key(
        "input.kinesis.region",
        |s| &mut s.input.kinesis.region,
        Kind::Text("a region, or \"\" for that of the ARN or the environment", is_region_or_empty),
        "Where the stream is. Credentials come from the environment, a profile or a role.",
    ),
    key(
        "input.kinesis.endpoint",
        |s| &mut s.input.kinesis.endpoint,
        Kind::Text("http:// or https:// and an address, or \"\"", is_url_or_empty),
        "Another address than the region's own, for example of a private endpoint.",
    ),
    key(
        "input.kinesis.consumer_arn",
        |s| &mut s.input.kinesis.consumer_arn,
        Kind::Text("the ARN of a registered consumer, or \"\" to poll", is_consumer_or_empty),
        "Enhanced fan-out: records are brought within 70 ms or so and other readers are not \
         slowed down, for a price of its own.",
    ),
    key(
        "input.kinesis.start",
        |s| &mut s.input.kinesis.start,
        Kind::Choice(KinesisStart::NAMES),
        "Where to begin when there is no checkpoint.",
    ),
    key(
        "input.kinesis.start_time",
        |s| &mut s.input.kinesis.start_time,
        Kind::Text("an RFC 3339 date and time, or \"\" for none", any_text),
        "The time of start = \"at_timestamp\": that of a record's arrival in the stream.",
    ),
    key(
        "input.kinesis.checkpoint_file",
        |s| &mut s.input.kinesis.checkpoint_file,
        PATH_OR_NONE,
        "Where it is kept how far the stream is read, on storage that outlives the process. \
         Without it every start is a first one.",
    ),
    key(
        "input.kinesis.polls_per_second",
        |s| &mut s.input.kinesis.polls_per_second,
        Kind::Real(0.1, 5.0),
        "Calls for records, a second and shard. A shard answers five, for all its readers \
         together.",
    ),
    key(
        "input.kinesis.capacity",
        |s| &mut s.input.kinesis.capacity,
        Kind::Choice(Capacity::NAMES),
        "How the stream is paid for, for the estimate of what the telemetry itself costs.",
    ),
    key(
        "input.files.paths",
        |s| &mut s.input.files,
        Kind::List(FILES_MAX, "paths, or \"-\" for standard input", not_empty),
        "Recorded files, merged by time; gzip and zstd are recognised and unpacked.",
    ),
    key(
        "input.embedded.seed",
        |s| &mut s.input.embedded_seed,
        Kind::Count(0, SEED_MAX),
        "Seed of the virtual platform: the same seed gives the same traffic.",
    ),
    key(
        "engine.shards",
        |s| &mut s.shards,
        Kind::Count(0, 64),
        "Worker threads; 0 is one for each core. Results do not depend on it.",
    ),
    key(
        "engine.batch_records",
        |s| &mut s.batch_records,
        Kind::Count(1, 1_000_000),
        "The most records that a worker takes at once.",
    ),
    key(
        "engine.queue_chunks",
        |s| &mut s.queue_chunks,
        Kind::Count(1, 10_000),
        "The most chunks of messages (up to 1 MiB each) that wait for the engine; beyond it the \
         source waits.",
    ),
    key(
        "engine.lateness",
        |s| &mut s.engine.lateness_seconds,
        Kind::Duration(1, LATENESS_SECONDS_MAX.unsigned_abs()),
        "How far behind the newest event time a record may be and still count in the detector's \
         one-second buckets. Later ones count in totals and spend only.",
    ),
    key(
        "engine.functions_max",
        |s| &mut s.engine.functions_max,
        Kind::Count(256, 10_000_000),
        "The most functions that are tracked; beyond it the idlest make room, else their usage \
         goes to the overflow totals.",
    ),
    key(
        "engine.deliveries_max",
        |s| &mut s.engine.deliveries_max,
        Kind::Count(0, 1_048_576),
        "The most delivery identities remembered in each of the 256 partitions, to recognise \
         duplicates.",
    ),
    key(
        "engine.baselines_file",
        |s| &mut s.baselines_file,
        PATH_OR_NONE,
        "What is normal for each function, as \"bursar learn\" wrote it from history; without it \
         everything is learned anew after the start.",
    ),
    key(
        "detection.pages_per_day",
        |s| &mut s.detection.pages_per_day,
        Kind::Real(0.001, 100.0),
        "False pages a day, over the whole estate, that the thresholds stand for.",
    ),
    key(
        "detection.estate_functions",
        |s| &mut s.detection.estate_functions,
        Kind::Count(1, 10_000_000),
        "How many functions the estate has; they share the promise.",
    ),
    key(
        "detection.envelope",
        |s| &mut s.detection.envelope,
        Kind::Real(1.0, 100.0),
        "Rates up to this many times the learned baseline are normal.",
    ),
    key(
        "detection.notice_floor_usd_per_hour",
        |s| &mut s.detection.notice_floor_usd_per_hour,
        Kind::Real(0.0, USD_MAX),
        "Excess spend below this, in dollars an hour, is tolerated: nothing is even noticed. An \
         excess above it that few sources carry is a page.",
    ),
    key(
        "detection.page_floor_usd_per_hour",
        |s| &mut s.detection.page_floor_usd_per_hour,
        Kind::Real(0.0, USD_MAX),
        "An excess that nobody in particular carries is a notice, and a page only above this, in \
         dollars an hour.",
    ),
    key(
        "detection.page_after_usd",
        |s| &mut s.detection.page_after_usd,
        Kind::Real(0.0, USD_MAX),
        "And only once it has cost this much, in dollars.",
    ),
    key(
        "cost.prices_file",
        |s| &mut s.cost.prices_file,
        PATH_OR_NONE,
        "Prices that replace the built-in list prices, for negotiated ones.",
    ),
    key(
        "cost.gateway",
        |s| &mut s.cost.gateway,
        Kind::Choice(Gateway::NAMES),
        "What stands in front of the functions and is billed for each request; observed: an HTTP \
         API for the functions whose access logs are seen.",
    ),
    key(
        "cost.log_bytes_per_invocation",
        |s| &mut s.cost.log_bytes_per_invocation,
        Kind::Size(0, 1 << 30),
        "Log bytes that an invocation writes. The default is the START, END and REPORT lines of \
         the platform itself.",
    ),
    key(
        "cost.response_bytes",
        |s| &mut s.cost.response_bytes,
        Kind::Size(0, 1 << 30),
        "Response bytes that leave the platform, where the record does not say.",
    ),
    key(
        "cost.extra_usd_per_million_requests",
        |s| &mut s.cost.extra_usd_per_million_requests,
        Kind::Real(0.0, USD_MAX),
        "Everything else that a request causes (queues, tables, calls to others), in dollars for \
         a million requests.",
    ),
    key(
        "cost.free_tier",
        |s| &mut s.cost.free_tier,
        Kind::Flag,
        "Whether the monthly free tier of the account is taken off.",
    ),
    key(
        "control.action_floor_usd_per_hour",
        |s| &mut s.control.action_floor_usd_per_hour,
        Kind::Real(0.0, USD_MAX),
        "Excess spend below this, in dollars an hour, is not acted on, unless the attacks on an \
         account together reach it.",
    ),
    key(
        "control.never_touch",
        |s| &mut s.control.never_touch,
        Kind::List(LIST_MAX, PATTERN, is_pattern),
        "Functions that are never restricted.",
    ),
    key(
        "control.maintenance",
        |s| &mut s.control.maintenance,
        Kind::List(LIST_MAX, WINDOW, is_window),
        "Times (UTC) at which nothing new is restricted; what is in force stays.",
    ),
    key(
        "control.lossy",
        |s| &mut s.control.lossy,
        Kind::List(LIST_MAX, PATTERN, is_pattern),
        "Functions that are capped although a queue feeds them: of its messages a cap sends good \
         ones to the dead letters.",
    ),
    key(
        "control.cap_floor",
        |s| &mut s.control.cap_floor,
        Kind::Count(0, 100_000),
        "No cap goes below this concurrency.",
    ),
    key(
        "control.settle",
        |s| &mut s.control.settle_seconds,
        Kind::Duration(1, 3_600),
        "How long a new restriction is given to show its effect before the next rung.",
    ),
    key(
        "control.quiet",
        |s| &mut s.control.quiet_seconds,
        Kind::Duration(1, DAY),
        "How long demand must have been normal before the first step of a restore.",
    ),
    key(
        "control.canary",
        |s| &mut s.control.canary_seconds,
        Kind::Duration(1, DAY),
        "Length of each step of a restore (25 %, 50 %, 100 %).",
    ),
    key(
        "control.hold_down",
        |s| &mut s.control.hold_down_seconds,
        Kind::Duration(1, DAY),
        "Hold-down after a first restore; doubles at every re-trip.",
    ),
    key(
        "control.expiry",
        |s| &mut s.control.expiry_seconds,
        Kind::Duration(10, 7 * DAY),
        "Every restriction lapses after this long unless it is renewed.",
    ),
    key(
        "control.functions_per_minute_max",
        |s| &mut s.control.functions_per_minute_max,
        Kind::Count(0, 10_000),
        "At most this many functions are newly restricted in a minute.",
    ),
    key(
        "control.account_share",
        |s| &mut s.control.account_share,
        Kind::Real(0.0, 1.0),
        "Caps together reserve at most this share of an account's concurrency in a region.",
    ),
    key(
        "control.veto",
        |s| &mut s.control.veto_seconds,
        Kind::Duration(0, 30 * DAY),
        "What somebody else has changed or lifted is left alone for this long.",
    ),
    key(
        "server.enabled",
        |s| &mut s.server.enabled,
        Kind::Flag,
        "Whether metrics and the API are served.",
    ),
    key(
        "server.listen",
        |s| &mut s.server.listen,
        Kind::Text("address:port, for example 127.0.0.1:9477 or [::1]:9477", any_text),
        "Where they are served. Whoever reaches it may read, unless server.read_needs_key says \
         otherwise; orders need a key of server.access_file, and TLS where this is not a loopback \
         address.",
    ),
    key(
        "server.hosts",
        |s| &mut s.server.hosts,
        Kind::List(LIST_MAX, "names of hosts, without a port", is_word),
        "Names with a dot that the server is asked for by. Addresses and names without a dot need \
         not be here; other names are refused, because a web page can have its own point here.",
    ),
    key(
        "server.access_file",
        |s| &mut s.server.access_file,
        PATH_OR_NONE,
        "Who may read and give orders: lines as `bursar token` prints them, with digests and no \
         secrets, read anew whenever a key is shown. Without it the API is read-only.",
    ),
    key(
        "server.read_needs_key",
        |s| &mut s.server.read_needs_key,
        Kind::Flag,
        "Whether reading, metrics too, needs a key of that file; /healthz and /readyz never do.",
    ),
    key(
        "server.tls_certificate",
        |s| &mut s.server.tls_certificate,
        PATH_OR_NONE,
        "The server's chain of certificates, PEM, by which it speaks TLS and nothing else.",
    ),
    key(
        "server.tls_key",
        |s| &mut s.server.tls_key,
        PATH_OR_NONE,
        "The key of that certificate, PEM.",
    ),
    key(
        "server.tls_client_ca",
        |s| &mut s.server.tls_client_ca,
        PATH_OR_NONE,
        "Authorities, PEM: whoever connects must show a certificate of one of them. What it \
         allows stands in server.access_file, as with tokens.",
    ),
    key(
        "log.format",
        |s| &mut s.log.format,
        Kind::Choice(LogFormat::NAMES),
        "Log lines for people or for machines, on standard error.",
    ),
    key(
        "log.level",
        |s| &mut s.log.level,
        Kind::Choice(LogLevel::NAMES),
        "The least important level that is written.",
    ),
    key(
        "lambda.enabled",
        |s| &mut s.lambda.enabled,
        Kind::Flag,
        "Whether mode enforce caps functions by their reserved concurrency through the Lambda \
         API. Credentials come from the environment, a profile or a role.",
    ),
    key(
        "lambda.endpoint",
        |s| &mut s.lambda.endpoint,
        Kind::Text("\"\" for the cloud's own, or an http:// or https:// address", is_url_or_empty),
        "Another service than the cloud's own, for tests.",
    ),
    key(
        "lambda.requests_per_second",
        |s| &mut s.lambda.requests_per_second,
        Kind::Count(1, 15),
        "Calls a second, at most. The account has 15 for all its tools together.",
    ),
    key(
        "lambda.release",
        |s| &mut s.lambda.release,
        Kind::Choice(Release::NAMES),
        "Who gives back when bursar no longer can, since reserved concurrency has no time-out: \
         \"schedule\" leaves a one-time EventBridge schedule with each restriction, \"timer\" \
         relies on a timer of yours that runs `bursar restore --expired` every few minutes.",
    ),
    key(
        "lambda.release_role",
        |s| &mut s.lambda.release_role,
        Kind::Text("a role's ARN, or \"\"", is_role_or_empty),
        "The role by which such a schedule writes the prior state back.",
    ),
    key(
        "state.directory",
        |s| &mut s.state_directory,
        PATH_OR_NONE,
        "Where everything that was learned and is going on is written, with the input positions \
         that it includes, to go on from after a restart. For one process alone; kafka and files.",
    ),
    key(
        "state.interval",
        |s| &mut s.state_interval_seconds,
        Kind::Duration(1, DAY),
        "How often it is written. After a crash the records since then are read again.",
    ),
    key(
        "state.journal",
        |s| &mut s.journal,
        Kind::Text("a path", not_empty),
        "Directory of the restrictions in force and of what stood there before. Keep it on storage \
         that outlives the container.",
    ),
    key(
        "output.decisions",
        |s| &mut s.output.decisions,
        PATH_OR_NONE,
        "Where alarms and actions are written, as JSON lines.",
    ),
    key(
        "output.ledger",
        |s| &mut s.output.ledger,
        PATH_OR_NONE,
        "Where usage and money of each minute and function are written, as JSON lines.",
    ),
    key(
        "output.dead_letters",
        |s| &mut s.output.dead_letters,
        PATH_OR_NONE,
        "Where records that could not be read are kept, with the reason, as JSON lines.",
    ),
    key(
        "output.dead_letter_bytes_max",
        |s| &mut s.output.dead_letter_bytes_max,
        Kind::Size(0, 1 << 40),
        "That file stops growing here; what comes later is only counted.",
    ),
    key(
        "output.dead_letter_topic",
        |s| &mut s.output.dead_letter_topic,
        Kind::Text("a topic of input.kafka.brokers, or \"\" for none", is_topic_or_empty),
        "A Kafka topic where they are sent as they came, with reason and position as headers; in \
         one run no more bytes than that file may have.",
    ),
    key(
        "output.dead_letters_per_reason_max",
        |s| &mut s.output.dead_letters_per_reason_max,
        Kind::Count(0, 1_000_000_000),
        "At most this many are kept for each reason.",
    ),
    key(
        "metrics.top_functions",
        |s| &mut s.metrics.top_functions,
        Kind::Count(0, 200),
        "How many functions have series of their own: those with the most money at risk.",
    ),
];
