//! `[[function]]`: what is deployed.

use std::collections::BTreeSet;

use super::section::Section;
use crate::record::{Architecture, FunctionKey, FunctionRef, TriggerKind};
use crate::simulation::attack::{Attack, AttackError, AttackSpec, Victim};
use crate::simulation::duration::DurationModel;
use crate::simulation::load::Callers;
use crate::simulation::platform::{
    ApiSpec, AsyncSpec, FUNCTIONS_MAX, FunctionSpec, Origin, QueueSpec, StreamSpec, TIMEOUT_MS_MAX,
    Way,
};
use crate::simulation::wire::ApiKind;
use crate::units::{AccountId, EventTime, MemoryMb};

/// Where everything is deployed.
pub(super) const REGION: &str = "eu-west-1";
pub(super) const ACCOUNT: &str = "111122223333";

/// How events reach a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Api(ApiKind),
    Origin(TriggerKind),
    Direct,
}

const TRIGGERS: [(&str, Trigger); 10] = [
    ("rest", Trigger::Api(ApiKind::Rest)),
    ("http", Trigger::Api(ApiKind::Http)),
    ("s3", Trigger::Origin(TriggerKind::S3)),
    ("sns", Trigger::Origin(TriggerKind::Sns)),
    ("eventbridge", Trigger::Origin(TriggerKind::EventBridge)),
    ("schedule", Trigger::Origin(TriggerKind::Schedule)),
    ("sqs", Trigger::Origin(TriggerKind::Sqs)),
    ("kinesis", Trigger::Origin(TriggerKind::Kinesis)),
    ("dynamodb", Trigger::Origin(TriggerKind::DynamoDb)),
    ("direct", Trigger::Direct),
];

/// What is deployed, and whose callers are whose.
#[derive(Debug, Default)]
pub(super) struct Deployed {
    pub(super) specs: Vec<FunctionSpec>,
    names: BTreeSet<String>,
}

impl Deployed {
    /// Adds a function; false where its name is taken or there is no room.
    pub(super) fn add(&mut self, spec: FunctionSpec) -> bool {
        let fits = self.specs.len() < FUNCTIONS_MAX && self.names.insert(spec.key.name.to_string());
        if fits {
            self.specs.push(spec);
        }
        fits
    }

    /// Adds a recorded function, unless one of its name is declared: then it is that one. Recorded
    /// ones may share a name, in other regions or accounts. `None` where there is no room.
    pub(super) fn add_recorded(
        &mut self,
        key: &FunctionKey,
        spec: impl FnOnce() -> Option<FunctionSpec>,
    ) -> Option<usize> {
        let is_declared = self.names.contains(&*key.name);
        let same =
            |known: &FunctionSpec| known.key == *key || (is_declared && known.key.name == key.name);
        if let Some(place) = self.specs.iter().position(same) {
            return Some(place);
        }
        let spec = spec().filter(|_| self.specs.len() < FUNCTIONS_MAX)?;
        self.specs.push(spec);
        Some(self.specs.len() - 1)
    }

    /// The functions that `function` of this table means: a name, or the beginning of names and a
    /// star.
    pub(super) fn matching(&self, section: &Section<'_>) -> Vec<usize> {
        let given = section.needed("function");
        let (head, star) = match given.strip_suffix('*') {
            Some(head) => (head, true),
            None => (given, false),
        };
        let fits = |name: &str| if star { name.starts_with(head) } else { name == head };
        let specs = self.specs.iter().enumerate();
        let found: Vec<_> =
            specs.filter(|(_, spec)| fits(&spec.key.name)).map(|(index, _)| index).collect();
        if found.is_empty() && section.has("function") {
            let words =
                format!("{given:?}: no such function, give a name or its beginning and a *");
            section.problem("function", words);
        }
        found
    }

    /// The victims of an attack, which is over within the window.
    pub(super) fn check_attack(
        &self,
        spec: &AttackSpec,
        length_ms: u64,
    ) -> Result<Vec<usize>, AttackError> {
        let victims = self.specs.iter().enumerate().map(|(function, spec)| Victim {
            name: &spec.key.name,
            function,
            callers: spec.api.is_some().then(|| Callers::new(0, 0)),
            way: way(spec),
            mean_rps: 1.0,
        });
        let victims: Vec<_> = victims.collect();
        Attack::new(spec, 0, &victims, 0, EventTime::MIN, length_ms).map(|attack| attack.functions)
    }
}

/// In which way a function is asked.
pub(in crate::simulation) fn way(spec: &FunctionSpec) -> Way {
    match spec.origin.as_ref().map(|origin| origin.kind) {
        None => Way::Sync,
        Some(TriggerKind::Sqs) => Way::Queue,
        Some(TriggerKind::Kinesis | TriggerKind::DynamoDb) => Way::Stream { key: 0 },
        Some(_) => Way::Async,
    }
}

pub(super) fn functions(sections: Vec<Section<'_>>) -> Deployed {
    let mut deployed = Deployed::default();
    for section in sections {
        let name = section.needed("name");
        let count = section.whole("count", 1..=100_000);
        let Some(spec) = function(&section, name) else {
            section.finish();
            continue;
        };
        for number in 1..=count.unwrap_or(1) {
            let mut spec = spec.clone();
            if count.is_some() {
                spec.key.name = format!("{name}-{number}").into();
            }
            if let Some(api) = &mut spec.api {
                api.route = format!("/{}", spec.key.name);
            }
            if let Some(origin) = &mut spec.origin {
                origin.name = arn(origin.kind, &spec.key.name);
            }
            if !deployed.add(spec) {
                let words = format!("{name:?}: taken, or more than {FUNCTIONS_MAX} functions");
                section.problem("name", words);
                break;
            }
        }
        section.finish();
    }
    deployed
}

fn function(section: &Section<'_>, name: &str) -> Option<FunctionSpec> {
    let account: AccountId = ACCOUNT.parse().unwrap_or_default();
    let key = FunctionRef::try_new(account, REGION, name).map(|key| key.to_key());
    let key = key.map_err(|error| section.problem("name", error)).ok();
    let memory = section.whole("memory_mb", 128..=10_240).unwrap_or(256);
    let median = section.number("median_ms", 0.5..=900_000.0).unwrap_or(100.0);
    let p99 = section.number("p99_ms", 0.5..=900_000.0).unwrap_or(median * 4.0);
    let duration = DurationModel::log_normal(median, p99);
    let duration = duration.map_err(|error| section.problem("p99_ms", error)).ok();
    let trigger = section.choice("trigger", &TRIGGERS).unwrap_or(Trigger::Direct);
    let arm = section.choice("architecture", &[("x86_64", false), ("arm64", true)]);
    let timeout_ms = section.span("timeout", ("1ms", "15m")).unwrap_or(60_000);
    let init_ms = section.whole("init_ms", 0..=60_000).unwrap_or(250);
    let reserved = section.whole("reserved", 0..=1_000_000);
    let error_share = section.number("error_share", 0.0..=1.0).unwrap_or(0.0);
    let (asynchronous, queue, stream) = (asynchronous(section), queue(section), stream(section));
    let mut spec = FunctionSpec::new(key?, MemoryMb::try_new(u64::from(memory)).ok()?, duration?);
    if arm == Some(true) {
        spec.architecture = Architecture::Arm64;
    }
    spec.timeout_ms = u32::try_from(timeout_ms).unwrap_or(TIMEOUT_MS_MAX);
    spec.init_ms = init_ms;
    spec.reserved = reserved;
    spec.error_share = error_share;
    (spec.asynchronous, spec.queue, spec.stream) = (asynchronous, queue, stream);
    match trigger {
        Trigger::Api(kind) => {
            spec.api = Some(ApiSpec {
                api_id: "sc3nar10ap".to_owned(),
                stage: "prod".to_owned(),
                method: "GET".to_owned(),
                route: String::new(),
                kind,
            });
        }
        Trigger::Origin(kind) => spec.origin = Some(Origin { kind, name: String::new() }),
        Trigger::Direct => {}
    }
    Some(spec)
}

fn asynchronous(section: &Section<'_>) -> AsyncSpec {
    let usual = AsyncSpec::default();
    let age = section.span("event_age", ("1m", "6h"));
    let retries = section.whole("event_retries", 0..=2);
    AsyncSpec {
        age_ms_max: age.map_or(usual.age_ms_max, |ms| u32::try_from(ms).unwrap_or(u32::MAX)),
        retries: retries.map_or(usual.retries, |count| u8::try_from(count).unwrap_or(2)),
    }
}

fn queue(section: &Section<'_>) -> QueueSpec {
    let usual = QueueSpec::default();
    let visibility = section.span("visibility", ("1s", "12h"));
    let batch = section.whole("batch", 1..=10_000);
    let receives = section.whole("receives_max", 1..=1_000);
    QueueSpec {
        batch: batch.map_or(usual.batch, |count| u16::try_from(count).unwrap_or(10_000)),
        visibility_ms: visibility
            .map_or(usual.visibility_ms, |ms| u32::try_from(ms).unwrap_or(u32::MAX)),
        receives_max: receives.and_then(|count| u16::try_from(count).ok()).or(usual.receives_max),
        concurrency: section.whole("queue_concurrency", 2..=1_000).or(usual.concurrency),
        ..usual
    }
}

fn stream(section: &Section<'_>) -> StreamSpec {
    let usual = StreamSpec::default();
    let count = |key, most, usual: u16| {
        let count = section.whole(key, 1..=most);
        count.map_or(usual, |count| u16::try_from(count).unwrap_or(u16::MAX))
    };
    StreamSpec {
        shards: count("shards", 1_000, usual.shards),
        parallel: count("parallel", 10, usual.parallel),
        ..usual
    }
}

fn arn(kind: TriggerKind, name: &str) -> String {
    match kind {
        TriggerKind::S3 => format!("arn:aws:s3:::{name}-in"),
        TriggerKind::Sqs => format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}-in"),
        TriggerKind::Sns => format!("arn:aws:sns:{REGION}:{ACCOUNT}:{name}-in"),
        TriggerKind::Kinesis => format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}-in"),
        TriggerKind::DynamoDb => {
            format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}/stream/2026")
        }
        _ => format!("arn:aws:events:{REGION}:{ACCOUNT}:rule/{name}"),
    }
}
