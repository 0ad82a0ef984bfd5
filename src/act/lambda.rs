//! The Lambda API, and the EventBridge Scheduler for releases: one attempt a call, within a rate
//! that leaves most of the account's fifteen a second to others.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use aws_config::{Region, SdkConfig};
use aws_sdk_lambda::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::types::{EventSourceMappingConfiguration, ScalingConfig};
use aws_sdk_scheduler::types::{
    ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode, RetryPolicy,
    Target as ScheduleTarget,
};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde_json::json;
use tokio::runtime::Runtime;

use super::plane::{ControlPlane, Fault, Feed, Release, Target};
use crate::aws::{self, Way};
use crate::control::action::{ActuatorKind, Room};
use crate::record::FunctionKey;
use crate::units::AccountId;

/// For one call.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Functions of more regions than there are would be invented.
const REGIONS_MAX: usize = 64;
/// The platform's release comes so long after the expiry, at which the daemon gives back itself.
const RELEASE_AFTER_MS: i64 = 5 * 60_000;
/// A release that fails is tried again so often and for so long, and not hours later.
const RELEASE_ATTEMPTS: i32 = 60;
const RELEASE_AGE_SECONDS: i32 = 1_800;
/// Lambda's own limit.
const NAME_BYTES_MAX: usize = 64;
const SCHEDULE_GROUP: &str = "default";
/// A function has no more event sources than fit in so many answers of a hundred.
const PAGES_MAX: usize = 10;

/// What Lambda wants to stay unreserved (Developer Guide, "Configuring reserved concurrency"), and
/// what it wants of new accounts, which have no more. Where it is something else it says so when it
/// refuses.
const UNRESERVED: u32 = 100;
const UNRESERVED_SMALL: u32 = 10;
/// In these words, with the number in brackets.
const UNRESERVED_WORDS: &str = "below its minimum value of [";

/// How the calls are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaSettings {
    /// Another service than the cloud's.
    pub endpoint: Option<String>,
    /// Calls a second, at most.
    pub requests_per_second: u32,
    /// The role by which the scheduler gives back; `None`: no release is left on the platform.
    pub release_role: Option<String>,
}

struct Clients {
    lambda: aws_sdk_lambda::Client,
    scheduler: aws_sdk_scheduler::Client,
}

/// Calls to Lambda, in every region that a function is in.
pub struct Lambda {
    runtime: Runtime,
    config: SdkConfig,
    clients: BTreeMap<Box<str>, Clients>,
    limiter: DefaultDirectRateLimiter,
    release_role: Option<String>,
    /// What must stay unreserved, by region, where the platform has said so.
    unreserved_min: BTreeMap<Box<str>, u32>,
}

impl std::fmt::Debug for Lambda {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lambda").finish_non_exhaustive()
    }
}

/// An account's concurrency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountLimits {
    /// Of all functions together.
    pub concurrency: u32,
    /// What no function has reserved.
    pub unreserved: u32,
}

impl Lambda {
    /// Finds credentials.
    ///
    /// # Errors
    /// The system refuses what a runtime needs.
    pub fn new(settings: &LambdaSettings) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let way = Way { region: None, endpoint: settings.endpoint.clone(), attempt: ATTEMPT };
        let config = runtime.block_on(aws::load(&way));
        let rate = NonZeroU32::new(settings.requests_per_second).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(rate).allow_burst(NonZeroU32::MIN);
        Ok(Self {
            runtime,
            config,
            clients: BTreeMap::new(),
            limiter: RateLimiter::direct(quota),
            release_role: settings.release_role.clone(),
            unreserved_min: BTreeMap::new(),
        })
    }

    /// Concurrency of the account in a region.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn account(&mut self, region: &str) -> Result<AccountLimits, Fault> {
        self.wait_for_turn();
        let call = self.clients(region)?.lambda.get_account_settings();
        let answer = self.runtime.block_on(call.send());
        let limits = answer.map_err(|error| fault("GetAccountSettings", &error))?.account_limit;
        let number = |given: Option<i32>| u32::try_from(given.unwrap_or_default()).unwrap_or(0);
        Ok(AccountLimits {
            concurrency: limits
                .as_ref()
                .map_or(0, |limit| number(Some(limit.concurrent_executions))),
            unreserved: number(limits.and_then(|limit| limit.unreserved_concurrent_executions)),
        })
    }

    fn wait_for_turn(&self) {
        let clock = DefaultClock::default();
        while let Err(later) = self.limiter.check() {
            let wait = later.wait_time_from(clock.now());
            self.runtime.block_on(async { tokio::time::sleep(wait).await });
        }
    }

    fn clients(&mut self, region: &str) -> Result<&Clients, Fault> {
        if !self.clients.contains_key(region) {
            if self.clients.len() >= REGIONS_MAX {
                self.clients.clear();
            }
            let config = self.config.to_builder().region(Region::new(region.to_owned())).build();
            let clients = Clients {
                lambda: aws_sdk_lambda::Client::new(&config),
                scheduler: aws_sdk_scheduler::Client::new(&config),
            };
            self.clients.insert(region.into(), clients);
        }
        self.clients.get(region).ok_or_else(|| Fault::Refused("no client".to_owned()))
    }
}

impl Lambda {
    fn reserved(&mut self, function: &FunctionKey) -> Result<Option<u32>, Fault> {
        let name = arn(function)?;
        self.wait_for_turn();
        let call = self.clients(&function.region)?.lambda.get_function_concurrency();
        let answer = self.runtime.block_on(call.function_name(name).send());
        let answer = answer.map_err(|error| fault("GetFunctionConcurrency", &error))?;
        answer.reserved_concurrent_executions.map(concurrency).transpose()
    }

    fn reserve(&mut self, function: &FunctionKey, value: Option<u32>) -> Result<(), Fault> {
        let name = arn(function)?;
        self.wait_for_turn();
        let client = &self.clients(&function.region)?.lambda;
        if let Some(value) = value {
            let value = i32::try_from(value).unwrap_or(i32::MAX);
            let call = client.put_function_concurrency().function_name(name);
            let call = call.reserved_concurrent_executions(value).send();
            let answer = self.runtime.block_on(call);
            let fault = answer.err().map(|error| fault("PutFunctionConcurrency", &error));
            if let Some(least) = fault.as_ref().and_then(|fault| unreserved_min(fault.words()))
                && self.unreserved_min.len() < REGIONS_MAX
            {
                self.unreserved_min.insert(function.region.clone(), least);
            }
            fault.map_or(Ok(()), Err)
        } else {
            let call = client.delete_function_concurrency().function_name(name).send();
            let answer = self.runtime.block_on(call);
            answer.map(drop).map_err(|error| fault("DeleteFunctionConcurrency", &error))
        }
    }

    /// What Lambda reads for a function and hands to it.
    fn mappings(&mut self, function: &FunctionKey) -> Result<Vec<Mapping>, Fault> {
        let name = arn(function)?;
        let (mut found, mut marker) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            self.wait_for_turn();
            let call = self.clients(&function.region)?.lambda.list_event_source_mappings();
            let call = call.function_name(&name).set_marker(marker);
            let answer = self.runtime.block_on(call.send());
            let answer = answer.map_err(|error| fault("ListEventSourceMappings", &error))?;
            found.extend(answer.event_source_mappings.into_iter().flatten().map(Mapping::of));
            marker = answer.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                return Ok(found);
            }
        }
        Err(Fault::Refused(format!("{} has too many event sources", function.name)))
    }

    /// The mapping of a target, or of the one queue that feeds the function.
    fn mapping(&mut self, target: Target<'_>) -> Result<String, Fault> {
        if let Some(known) = target.mapping {
            return Ok(known.to_owned());
        }
        let name = &target.function.name;
        let mut queues = self.mappings(target.function)?;
        queues.retain(|mapping| mapping.is_queue);
        match queues.pop() {
            Some(queue) if queues.is_empty() => Ok(queue.id),
            Some(_) => Err(Fault::Refused(format!("several queues feed {name}"))),
            None => Err(Fault::Missing(format!("no queue feeds {name}"))),
        }
    }

    fn mapping_limit(&mut self, target: Target<'_>) -> Result<Option<u32>, Fault> {
        let id = self.mapping(target)?;
        self.wait_for_turn();
        let call = self.clients(&target.function.region)?.lambda.get_event_source_mapping();
        let answer = self.runtime.block_on(call.uuid(id).send());
        let answer = answer.map_err(|error| fault("GetEventSourceMapping", &error))?;
        let value = answer.scaling_config.and_then(|scaling| scaling.maximum_concurrency);
        value.map(concurrency).transpose()
    }

    fn limit_mapping(&mut self, region: &str, id: &str, value: Option<u32>) -> Result<(), Fault> {
        let value = value.map(|value| i32::try_from(value).unwrap_or(i32::MAX));
        let scaling = ScalingConfig::builder().set_maximum_concurrency(value).build();
        self.wait_for_turn();
        let call = self.clients(region)?.lambda.update_event_source_mapping();
        let answer = self.runtime.block_on(call.uuid(id).scaling_config(scaling).send());
        answer.map(drop).map_err(|error| fault("UpdateEventSourceMapping", &error))
    }
}

impl ControlPlane for Lambda {
    fn feed(&mut self, function: &FunctionKey) -> Result<Feed, Fault> {
        let mut mappings = self.mappings(function)?;
        mappings.retain(|mapping| mapping.is_on);
        if !mappings.iter().any(|mapping| mapping.is_queue) {
            return Ok(Feed::Calls);
        }
        let one = mappings.pop().filter(|_| mappings.is_empty());
        Ok(one.map_or(Feed::Several, |queue| Feed::Queue(queue.id)))
    }

    fn room(&mut self, function: &FunctionKey) -> Result<Option<Room>, Fault> {
        let AccountLimits { concurrency: limit, unreserved } = self.account(&function.region)?;
        let told = self.unreserved_min.get(&function.region).copied();
        let least = told.unwrap_or(if limit > UNRESERVED { UNRESERVED } else { UNRESERVED_SMALL });
        Ok(Some(Room { limit, free: unreserved.saturating_sub(least) }))
    }

    fn limit(&mut self, target: Target<'_>) -> Result<Option<u32>, Fault> {
        match target.actuator {
            ActuatorKind::ReservedConcurrency => self.reserved(target.function),
            ActuatorKind::SqsMaximumConcurrency => self.mapping_limit(target),
            ActuatorKind::WafIpSet => Err(no_limit(target)),
        }
    }

    fn set_limit(&mut self, target: Target<'_>, value: Option<u32>) -> Result<(), Fault> {
        match target.actuator {
            ActuatorKind::ReservedConcurrency => self.reserve(target.function, value),
            ActuatorKind::SqsMaximumConcurrency => {
                let id = self.mapping(target)?;
                self.limit_mapping(&target.function.region, &id, value)
            }
            ActuatorKind::WafIpSet => Err(no_limit(target)),
        }
    }

    fn leave_release(&mut self, release: &Release<'_>) -> Result<(), Fault> {
        let Some(role) = self.release_role.clone() else {
            return Ok(());
        };
        let mapping = match release.target.actuator {
            ActuatorKind::SqsMaximumConcurrency => Some(self.mapping(release.target)?),
            ActuatorKind::ReservedConcurrency | ActuatorKind::WafIpSet => None,
        };
        let schedule = Schedule::of(release, mapping, role)?;
        self.wait_for_turn();
        let client = self.clients(&release.target.function.region)?.scheduler.clone();
        match self.runtime.block_on(schedule.create(&client)) {
            Err(Fault::Busy(..)) => {
                self.wait_for_turn();
                self.runtime.block_on(schedule.update(&client))
            }
            done => done,
        }
    }

    fn withdraw_release(&mut self, release: &Release<'_>) -> Result<(), Fault> {
        if self.release_role.is_none() {
            return Ok(());
        }
        self.wait_for_turn();
        let client = &self.clients(&release.target.function.region)?.scheduler;
        let call = client.delete_schedule().name(schedule_name(release));
        match self.runtime.block_on(call.group_name(SCHEDULE_GROUP).send()) {
            Ok(_) => Ok(()),
            Err(error) => match fault("DeleteSchedule", &error) {
                Fault::Missing(_) => Ok(()),
                other => Err(other),
            },
        }
    }

    fn pause(&mut self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }
}

/// An event source of a function.
struct Mapping {
    id: String,
    is_queue: bool,
    is_on: bool,
}

impl Mapping {
    fn of(given: EventSourceMappingConfiguration) -> Self {
        let service = given.event_source_arn.as_deref().and_then(|arn| arn.split(':').nth(2));
        let state = given.state.unwrap_or_default();
        Self {
            is_queue: service == Some("sqs"),
            is_on: state != "Disabled" && state != "Disabling",
            id: given.uuid.unwrap_or_default(),
        }
    }
}

/// What must stay unreserved, where a refusal says it.
fn unreserved_min(said: &str) -> Option<u32> {
    let (_, rest) = said.split_once(UNRESERVED_WORDS)?;
    rest.split_once(']')?.0.trim().parse().ok()
}

fn concurrency(value: i32) -> Result<u32, Fault> {
    u32::try_from(value).map_err(|_| Fault::Unclear(format!("a concurrency of {value}")))
}

fn no_limit(target: Target<'_>) -> Fault {
    Fault::Refused(format!("{} is no limit on Lambda", target.actuator.as_str()))
}

/// A release: one call of Lambda's API at a given time, made by the platform itself.
struct Schedule {
    name: String,
    at: String,
    target: ScheduleTarget,
    window: FlexibleTimeWindow,
}

impl Schedule {
    fn of(release: &Release<'_>, mapping: Option<String>, role: String) -> Result<Self, Fault> {
        let refused = |error: &dyn std::fmt::Display| Fault::Refused(error.to_string());
        let at = release.expires_at.plus_ms(RELEASE_AFTER_MS).to_string();
        // Without fractions and zone, which is UTC.
        let at = at.split(['.', 'Z']).next().unwrap_or_default();
        let function = release.target.function;
        let (call, input) = match (mapping, release.prior) {
            (Some(mapping), Some(value)) => (
                "updateEventSourceMapping",
                json!({ "Uuid": mapping, "ScalingConfig": { "MaximumConcurrency": value } }),
            ),
            // An empty one takes the limit away.
            (Some(mapping), None) => {
                ("updateEventSourceMapping", json!({ "Uuid": mapping, "ScalingConfig": {} }))
            }
            (None, Some(value)) => (
                "putFunctionConcurrency",
                json!({ "FunctionName": arn(function)?, "ReservedConcurrentExecutions": value }),
            ),
            (None, None) => {
                ("deleteFunctionConcurrency", json!({ "FunctionName": arn(function)? }))
            }
        };
        let partition = partition(&function.region);
        let target = ScheduleTarget::builder()
            .arn(format!("arn:{partition}:scheduler:::aws-sdk:lambda:{call}"))
            .role_arn(role)
            .input(input.to_string())
            .retry_policy(
                RetryPolicy::builder()
                    .maximum_event_age_in_seconds(RELEASE_AGE_SECONDS)
                    .maximum_retry_attempts(RELEASE_ATTEMPTS)
                    .build(),
            )
            .build()
            .map_err(|error| refused(&error))?;
        let window = FlexibleTimeWindow::builder()
            .mode(FlexibleTimeWindowMode::Off)
            .build()
            .map_err(|error| refused(&error))?;
        Ok(Self { name: schedule_name(release), at: format!("at({at})"), target, window })
    }

    async fn create(&self, client: &aws_sdk_scheduler::Client) -> Result<(), Fault> {
        let call = client.create_schedule().name(&self.name).group_name(SCHEDULE_GROUP);
        let call = call.schedule_expression(&self.at).target(self.target.clone());
        let call = call.flexible_time_window(self.window.clone());
        let call = call.action_after_completion(ActionAfterCompletion::Delete);
        call.send().await.map(drop).map_err(|error| fault("CreateSchedule", &error))
    }

    async fn update(&self, client: &aws_sdk_scheduler::Client) -> Result<(), Fault> {
        let call = client.update_schedule().name(&self.name).group_name(SCHEDULE_GROUP);
        let call = call.schedule_expression(&self.at).target(self.target.clone());
        let call = call.flexible_time_window(self.window.clone());
        let call = call.action_after_completion(ActionAfterCompletion::Delete);
        call.send().await.map(drop).map_err(|error| fault("UpdateSchedule", &error))
    }
}

fn schedule_name(release: &Release<'_>) -> String {
    format!("bursar-{}", release.key)
}

fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

/// Names one function and no other. Records are written by strangers, so a name that is none, for
/// example one with a version, a path or a whole ARN in it, is never sent.
fn arn(function: &FunctionKey) -> Result<String, Fault> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let name = &function.name;
    if name.len() > NAME_BYTES_MAX || name.is_empty() || !name.bytes().all(allowed) {
        return Err(Fault::Refused(format!("{name} is no function name on Lambda")));
    }
    if function.account == AccountId::default() {
        // A bare name would be looked for in whatever account the credentials are of.
        return Err(Fault::Refused(format!("nobody knows whose {name} is; set input.account")));
    }
    let (account, region) = (function.account, &function.region);
    Ok(format!("arn:{}:lambda:{region}:{account}:function:{name}", partition(region)))
}

/// What went wrong, and what to do about it.
fn fault<E>(call: &str, error: &SdkError<E, aws_sdk_lambda::config::http::HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let service = error.as_service_error();
    let Some(code) = service.and_then(ProvideErrorMetadata::code) else {
        let cause = DisplayErrorContext(error).to_string();
        return match error {
            SdkError::ConstructionFailure(_) => Fault::Refused(format!("{call}: {cause}")),
            _ if cause.contains("redential") => Fault::Refused(format!(
                "{call}: no credentials ({cause}), set AWS_PROFILE or AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY, or run with a role"
            )),
            _ => Fault::Unclear(format!("{call} got no answer ({cause})")),
        };
    };
    let said = service.and_then(ProvideErrorMetadata::message).unwrap_or_default();
    let status = error.raw_response().map_or(0, |response| response.status().as_u16());
    match code {
        "ResourceNotFoundException" => Fault::Missing(format!("{call}: {said}")),
        "AccessDeniedException" => Fault::Refused(format!("{call} is not allowed ({said})")),
        "TooManyRequestsException" | "ThrottlingException" | "Throttling" => {
            Fault::Busy(format!("{call}: {said}"), retry_after(error))
        }
        "ResourceConflictException" | "ConflictException" | "ResourceInUseException" => {
            Fault::Busy(format!("{call}: {said}"), None)
        }
        _ if status == 429 => Fault::Busy(format!("{call}: {code}: {said}"), retry_after(error)),
        _ if status >= 500 || status == 408 => Fault::Unclear(format!("{call}: {code}: {said}")),
        _ => Fault::Refused(format!("{call}: {code}: {said}")),
    }
}

fn retry_after<E>(
    error: &SdkError<E, aws_sdk_lambda::config::http::HttpResponse>,
) -> Option<Duration> {
    let given = error.raw_response()?.headers().get("retry-after")?;
    given.parse().ok().map(Duration::from_secs)
}
