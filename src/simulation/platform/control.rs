//! The control plane: what an operator can change, with the real platform's checks, its quota and
//! its delay.

use std::collections::BTreeSet;

use core::net::IpAddr;

use super::bucket::Bucket;
use super::model::AsyncSpec;
use super::{Event, Platform};
use crate::record::{FunctionKey, TriggerKind};
use crate::units::EventTime;

/// What the mapping of a queue accepts as its limit (Lambda API, `ScalingConfig`).
const QUEUE_CONCURRENCY: core::ops::RangeInclusive<u32> = 2..=1_000;

/// What the platform accepts for asynchronous events (Lambda API,
/// `PutFunctionEventInvokeConfig`).
const ASYNC_AGE_MS: core::ops::RangeInclusive<u32> = 60_000..=21_600_000;
const ASYNC_RETRIES_MAX: u8 = 2;

/// A change to the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Sets a function's reserved concurrency (`PutFunctionConcurrency`).
    SetReserved {
        /// Which function.
        function: FunctionKey,
        /// Invocations at once; zero stops it.
        value: u32,
    },
    /// Takes the reservation away (`DeleteFunctionConcurrency`); unset is not zero.
    ClearReserved {
        /// Which function.
        function: FunctionKey,
    },
    /// Limits how many batches of the queue run at once (`UpdateEventSourceMapping`,
    /// `MaximumConcurrency`); `None` takes the limit away.
    SetQueueConcurrency {
        /// Which function.
        function: FunctionKey,
        /// 2 to 1,000.
        value: Option<u32>,
    },
    /// Lets the function read its queue and stream, or pauses it (`UpdateEventSourceMapping`,
    /// `Enabled`).
    SetReading {
        /// Which function.
        function: FunctionKey,
        /// Whether it reads.
        is_reading: bool,
    },
    /// Says how asynchronous events are treated (`PutFunctionEventInvokeConfig`).
    SetAsync {
        /// Which function.
        function: FunctionKey,
        /// Age and retries.
        value: AsyncSpec,
    },
    /// Limits what a stage of an API lets in (`UpdateStage`); `None` takes the limit away.
    SetStageLimit {
        /// Any function behind that stage.
        function: FunctionKey,
        /// Rate and burst.
        value: Option<StageLimit>,
    },
    /// Replaces the set of addresses that REST APIs answer with 403 (WAF `UpdateIPSet`). HTTP APIs
    /// cannot have a firewall in front, so it does not hold there.
    SetBlocked {
        /// All of them.
        addresses: BTreeSet<IpAddr>,
    },
}

/// A limit of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageLimit {
    /// Requests per second.
    pub rps: u32,
    /// Requests at once.
    pub burst: u32,
}

/// What an operator can change about a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Controls {
    /// Reserved concurrency; unset is not a number.
    pub reserved: Option<u32>,
    /// Limit of the queue's mapping.
    pub queue_concurrency: Option<u32>,
    /// It reads its queue and stream.
    pub is_reading: bool,
    /// Age and retries of asynchronous events.
    pub asynchronous: AsyncSpec,
}

/// The control plane refused; the texts are the real platform's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The reservation leaves too little for the others.
    #[error(
        "InvalidParameterValueException: Specified ReservedConcurrentExecutions for function \
         decreases account's UnreservedConcurrentExecution below its minimum value of [{minimum}]."
    )]
    UnreservedMinimum {
        /// What must be left.
        minimum: u32,
    },
    /// No such function.
    #[error("ResourceNotFoundException: Function not found: {function}")]
    NotFound {
        /// The name asked for.
        function: FunctionKey,
    },
    /// More addresses than the set holds.
    #[error("WAFLimitsExceededException: {count} addresses, the set holds {limit}")]
    AddressLimit {
        /// How many were given.
        count: usize,
        /// How many fit.
        limit: usize,
    },
    /// A value that the platform does not accept.
    #[error("InvalidParameterValueException: {what} {value}, accepted: {accepted}")]
    OutOfRange {
        /// Which value.
        what: &'static str,
        /// As it came.
        value: u32,
        /// The accepted range.
        accepted: &'static str,
    },
    /// More calls per second than the account may make.
    #[error("TooManyRequestsException: Rate exceeded; try again in a second")]
    TooManyRequests,
}

/// A change on its way.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    Function(usize, Controls),
    Stage(usize, Option<StageLimit>),
    Blocked(BTreeSet<IpAddr>),
}

/// A stage of an API.
#[derive(Debug, Clone, Default)]
pub(super) struct Stage {
    /// As the control plane tells it.
    told: Option<StageLimit>,
    pub(super) bucket: Option<Bucket>,
}

impl Platform {
    /// Carries out a command; the answer is when it takes effect. Commands that were accepted take
    /// effect in their order.
    ///
    /// # Errors
    /// As the real platform; nothing has changed then.
    pub fn command(&mut self, command: Command, now: EventTime) -> Result<EventTime, ControlError> {
        let now = now.max(self.now);
        if !self.calls.take(now) {
            return Err(ControlError::TooManyRequests);
        }
        let effect = self.accept(command)?;
        let effective = now.plus_ms(i64::from(self.settings.propagation_ms)).max(self.effective);
        self.effective = effective;
        self.schedule(effective, Event::Effect(Box::new(effect)));
        Ok(effective)
    }

    /// A function's settings as the control plane tells them: a change shows here at once, before
    /// it takes effect.
    ///
    /// # Errors
    /// No such function.
    pub fn controls(&self, function: &FunctionKey) -> Result<Controls, ControlError> {
        Ok(self.functions[self.find(function)?].told)
    }

    /// A function's reserved concurrency as the control plane tells it.
    ///
    /// # Errors
    /// No such function.
    pub fn reserved(&self, function: &FunctionKey) -> Result<Option<u32>, ControlError> {
        Ok(self.controls(function)?.reserved)
    }

    /// What the events of a function come from, if they have a source of their own.
    ///
    /// # Errors
    /// No such function.
    pub fn source(&self, function: &FunctionKey) -> Result<Option<TriggerKind>, ControlError> {
        let origin = &self.functions[self.find(function)?].spec.origin;
        Ok(origin.as_ref().map(|origin| origin.kind))
    }

    /// The limit of the stage that a function is behind, as the control plane tells it.
    ///
    /// # Errors
    /// No such function.
    pub fn stage_limit(&self, function: &FunctionKey) -> Result<Option<StageLimit>, ControlError> {
        let stage = self.functions[self.find(function)?].stage;
        Ok(stage.and_then(|stage| self.stages[stage].told))
    }

    /// The blocked addresses as the control plane tells them.
    pub fn blocked(&self) -> &BTreeSet<IpAddr> {
        &self.blocked
    }

    fn accept(&mut self, command: Command) -> Result<Effect, ControlError> {
        match command {
            Command::SetReserved { function, value } => {
                let index = self.find(&function)?;
                self.check_reservation(index, value)?;
                Ok(self.tell_controls(index, |controls| controls.reserved = Some(value)))
            }
            Command::ClearReserved { function } => {
                let index = self.find(&function)?;
                Ok(self.tell_controls(index, |controls| controls.reserved = None))
            }
            Command::SetQueueConcurrency { function, value } => {
                let index = self.find(&function)?;
                if let Some(value) = value.filter(|value| !QUEUE_CONCURRENCY.contains(value)) {
                    return Err(ControlError::OutOfRange {
                        what: "MaximumConcurrency",
                        value,
                        accepted: "2 to 1000",
                    });
                }
                Ok(self.tell_controls(index, |controls| controls.queue_concurrency = value))
            }
            Command::SetReading { function, is_reading } => {
                let index = self.find(&function)?;
                Ok(self.tell_controls(index, |controls| controls.is_reading = is_reading))
            }
            Command::SetAsync { function, value } => {
                let index = self.find(&function)?;
                check_async(value)?;
                Ok(self.tell_controls(index, |controls| controls.asynchronous = value))
            }
            Command::SetStageLimit { function, value } => {
                let index = self.find(&function)?;
                let stage = self.functions[index].stage;
                let stage = stage.ok_or(ControlError::NotFound { function })?;
                self.stages[stage].told = value;
                Ok(Effect::Stage(stage, value))
            }
            Command::SetBlocked { addresses } => {
                let (count, limit) = (addresses.len(), self.settings.blocked_addresses_max);
                if count > limit {
                    return Err(ControlError::AddressLimit { count, limit });
                }
                self.blocked.clone_from(&addresses);
                Ok(Effect::Blocked(addresses))
            }
        }
    }

    fn tell_controls(&mut self, index: usize, change: impl FnOnce(&mut Controls)) -> Effect {
        let told = &mut self.functions[index].told;
        change(told);
        Effect::Function(index, *told)
    }

    fn find(&self, function: &FunctionKey) -> Result<usize, ControlError> {
        let index = self.index.get(function).copied();
        index.ok_or_else(|| ControlError::NotFound { function: function.clone() })
    }

    /// Whether the reservations leave the unreserved minimum when `function` gets `value`.
    pub(super) fn check_reservation(
        &self,
        function: usize,
        value: u32,
    ) -> Result<(), ControlError> {
        let minimum = self.settings.unreserved_minimum;
        if self.reserved_beside(self.functions[function].account, Some(function))
            + u64::from(value)
            + u64::from(minimum)
            > u64::from(self.settings.concurrency)
        {
            return Err(ControlError::UnreservedMinimum { minimum });
        }
        Ok(())
    }

    /// The concurrency of a function's account, and what of it can still be reserved.
    ///
    /// # Errors
    /// No such function.
    pub fn room(&self, function: &FunctionKey) -> Result<(u32, u32), ControlError> {
        let account = self.functions[self.find(function)?].account;
        let reserved = u32::try_from(self.reserved_beside(account, None)).unwrap_or(u32::MAX);
        let limit = self.settings.concurrency;
        let free = limit.saturating_sub(self.settings.unreserved_minimum);
        Ok((limit, free.saturating_sub(reserved)))
    }

    /// What the functions of an account have reserved, one of them left aside.
    fn reserved_beside(&self, account: usize, but: Option<usize>) -> u64 {
        let others = self.functions.iter().enumerate();
        let others = others.filter(|(index, it)| Some(*index) != but && it.account == account);
        others.filter_map(|(_, other)| other.told.reserved).map(u64::from).sum()
    }

    /// A change takes effect.
    pub(super) fn take_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Function(index, controls) => {
                let function = &mut self.functions[index];
                let from = std::mem::replace(&mut function.in_force, controls);
                let account = &mut self.accounts[function.account];
                account.moved(&mut function.pool, from.reserved, controls.reserved);
                self.poll(index);
                self.read_lanes(index);
            }
            Effect::Stage(stage, limit) => {
                let bucket = limit.map(|limit| Bucket::new(limit.rps, 1_000, limit.burst));
                self.stages[stage].bucket = bucket;
            }
            Effect::Blocked(addresses) => self.blocked_in_force = addresses,
        }
    }
}

/// Whether asynchronous events may be treated like that.
pub(super) fn check_async(value: AsyncSpec) -> Result<(), ControlError> {
    let refused = |what, value, accepted| ControlError::OutOfRange { what, value, accepted };
    if !ASYNC_AGE_MS.contains(&value.age_ms_max) {
        let seconds = value.age_ms_max / 1_000;
        return Err(refused("MaximumEventAgeInSeconds", seconds, "60 to 21600"));
    }
    if value.retries > ASYNC_RETRIES_MAX {
        return Err(refused("MaximumRetryAttempts", u32::from(value.retries), "0 to 2"));
    }
    Ok(())
}
