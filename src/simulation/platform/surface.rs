//! The control plane: what an operator can change, with the real platform's checks and its delay.

use std::collections::BTreeSet;

use core::net::IpAddr;

use crate::record::FunctionKey;
use crate::simulation::platform::{Event, Platform};
use crate::units::EventTime;

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
    /// Replaces the set of addresses that REST APIs answer with 403 (WAF `UpdateIPSet`). HTTP APIs
    /// cannot have a firewall in front, so it does not hold there.
    SetBlocked {
        /// All of them.
        addresses: BTreeSet<IpAddr>,
    },
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
}

impl Platform {
    /// Carries out a command; the answer is when it takes effect. Commands that were accepted take
    /// effect in their order.
    ///
    /// # Errors
    /// As the real platform; nothing has changed then.
    pub fn command(&mut self, command: Command, now: EventTime) -> Result<EventTime, ControlError> {
        let event = match command {
            Command::SetReserved { function, value } => {
                let index = self.find(&function)?;
                self.check_reservation(index, value)?;
                self.functions[index].reserved = Some(value);
                Event::Reserve { function: index, value: Some(value) }
            }
            Command::ClearReserved { function } => {
                let index = self.find(&function)?;
                self.functions[index].reserved = None;
                Event::Reserve { function: index, value: None }
            }
            Command::SetBlocked { addresses } => {
                let (count, limit) = (addresses.len(), self.settings.blocked_addresses_max);
                if count > limit {
                    return Err(ControlError::AddressLimit { count, limit });
                }
                self.blocked.clone_from(&addresses);
                Event::Block(addresses)
            }
        };
        let effective = now.max(self.now).plus_ms(i64::from(self.settings.propagation_ms));
        let effective = effective.max(self.effective);
        self.effective = effective;
        self.schedule(effective, event);
        Ok(effective)
    }

    /// A function's reserved concurrency as the control plane tells it: a change shows here at
    /// once, before it takes effect.
    ///
    /// # Errors
    /// No such function.
    pub fn reserved(&self, function: &FunctionKey) -> Result<Option<u32>, ControlError> {
        Ok(self.functions[self.find(function)?].reserved)
    }

    /// The blocked addresses as the control plane tells them.
    pub fn blocked(&self) -> &BTreeSet<IpAddr> {
        &self.blocked
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
        let account = self.functions[function].account;
        let others = self.functions.iter().enumerate();
        let others = others.filter(|(index, other)| *index != function && other.account == account);
        let others: u64 = others.filter_map(|(_, other)| other.reserved).map(u64::from).sum();
        let minimum = self.settings.unreserved_minimum;
        if others + u64::from(value) + u64::from(minimum) > u64::from(self.settings.concurrency) {
            return Err(ControlError::UnreservedMinimum { minimum });
        }
        Ok(())
    }

    /// A reservation takes effect.
    pub(super) fn reserve(&mut self, function: usize, value: Option<u32>) {
        let function = &mut self.functions[function];
        let busy = function.pool.busy();
        self.accounts[function.account].moved(function.reserved_in_force, value, busy);
        function.reserved_in_force = value;
    }
}
