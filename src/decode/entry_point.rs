//! What all formats of events have in common: they name an entry point, mostly by an ARN, and not
//! the function behind it.

use xxhash_rust::xxh3::Xxh3;

use super::Place;
use super::outcome::Refused;
use crate::record::{FunctionRef, RouteRef, Target};
use crate::units::AccountId;

/// Who owns an entry point, and where it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) account: AccountId,
    pub(super) region: &'a str,
}

impl<'a> Owner<'a> {
    /// As `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE` says; the parts that it leaves empty (a
    /// bucket's ARN has neither) and a name that is no ARN are filled up from the place.
    pub(super) fn of_arn(arn: &'a str, place: &Place<'a>) -> Result<Self, Refused> {
        let mut owner = Self { account: place.account, region: place.region };
        let mut parts = arn.split(':');
        if parts.next() != Some("arn") {
            return Ok(owner);
        }
        let mut parts = parts.skip(2);
        if let Some(region) = parts.next().filter(|region| !region.is_empty()) {
            owner.region = region;
        }
        if let Some(account) = parts.next().filter(|account| !account.is_empty()) {
            owner.account = account.parse()?;
        }
        Ok(owner)
    }

    /// What an event at this entry point asks for: the function, where the source carries one
    /// only, else the route that `[[routes]]` leads to one.
    pub(super) fn target(
        self,
        place: &Place<'a>,
        api: &'a str,
        route: &'a str,
    ) -> Result<Target<'a>, Refused> {
        if let Some(function) = place.function {
            return Ok(Target::Function(function));
        }
        // A route has no constructor of its own; a function's checks the region.
        FunctionRef::try_new(self.account, self.region, "any")?;
        Ok(Target::Route(RouteRef {
            account: self.account,
            region: self.region,
            api,
            stage: "",
            route,
            lambda_request_id: None,
        }))
    }
}

/// The identity of a delivery from the parts that make it one.
pub(super) fn identity(parts: &[&str]) -> u64 {
    let mut hash = Xxh3::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    hash.digest()
}
