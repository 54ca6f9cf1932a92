//! Faults: those to come, those that last, and what they do.

mod impairments;
mod request;
mod strike;

use std::collections::BTreeMap;
use std::time::Duration;

use iothub_address::Identity;

pub(crate) use self::impairments::Impairments;
pub(super) use self::request::{NotAFault, asked_for};
pub(crate) use self::strike::Cut;
use super::Hub;
use super::agenda::Due;
use super::command::Grant;
use super::refusal::{Condition, Refusal, code};
use crate::clock::Timestamp;
use crate::fault::{Fault, FaultError, FaultKind, FaultTime, InjectedFault, MAX_FAULTS};

/// A fault's number, never used twice.
pub(super) type FaultId = u64;

/// What is wrong on purpose, or will be.
#[derive(Debug, Default)]
pub(super) struct Faults {
    next: FaultId,
    to_come: BTreeMap<FaultId, Fault>,
    lasting: BTreeMap<FaultId, Fault>,
}

impl Faults {
    /// The kinds of those that last and are for `identity`, the oldest first.
    fn of<'a>(&'a self, identity: &'a Identity) -> impl Iterator<Item = &'a Fault> {
        self.lasting.values().filter(|fault| fault.is_for(identity))
    }
}

impl Fault {
    /// Delayed by what there is between the two.
    pub(super) fn after(self, at: Timestamp, now: Timestamp) -> Self {
        let millis = u64::try_from(at.as_millis().saturating_sub(now.as_millis())).unwrap_or(0);
        let delay = self.delay + Duration::from_millis(millis);
        self.delay(delay)
    }

    /// Whether `identity` is among those that it is for.
    fn is_for(&self, identity: &Identity) -> bool {
        self.whom.as_ref().is_none_or(|whom| whom == identity)
    }
}

/// How the outcome of a message is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    Withheld,
    DelayedBy(Duration),
}

/// What becomes of a token that is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenFault {
    Refused(i32),
    Swallowed,
}

impl Hub {
    /// Lets something go wrong: now, or when its time comes.
    pub(crate) fn inject(&mut self, fault: Fault, now: Timestamp) -> Result<(), FaultError> {
        fault.check()?;
        if self.faults.to_come.len() + self.faults.lasting.len() >= MAX_FAULTS {
            return Err(FaultError::TooMany);
        }
        self.faults.next += 1;
        let id = self.faults.next;
        if fault.delay.is_zero() {
            self.begin_fault(id, fault, now);
        } else {
            self.agenda.set(Due::Fault(id), Some(now + fault.delay));
            self.faults.to_come.insert(id, fault);
        }
        Ok(())
    }

    /// Those that last and those that are to come, each the oldest first.
    pub(crate) fn faults(&self) -> Vec<InjectedFault> {
        let of = |faults: &BTreeMap<FaultId, Fault>, when: fn(Timestamp) -> FaultTime| {
            let timed = |(id, fault): (&FaultId, &Fault)| {
                Some(InjectedFault {
                    fault: fault.clone(),
                    when: when(self.agenda.at(&Due::Fault(*id))?),
                })
            };
            faults.iter().filter_map(timed).collect::<Vec<_>>()
        };
        let mut faults = of(&self.faults.lasting, FaultTime::Ends);
        faults.extend(of(&self.faults.to_come, FaultTime::Begins));
        faults
    }

    /// Ends those that last and forgets those that are to come. Gives how many there were.
    pub(crate) fn clear_faults(&mut self) -> usize {
        let lasting = std::mem::take(&mut self.faults.lasting);
        let to_come = std::mem::take(&mut self.faults.to_come);
        for id in lasting.keys().chain(to_come.keys()) {
            self.agenda.set(Due::Fault(*id), None);
        }
        self.impair_all();
        lasting.len() + to_come.len()
    }

    /// Its time has come, or its end.
    pub(super) fn turn_fault(&mut self, id: FaultId, now: Timestamp) {
        match self.faults.to_come.remove(&id) {
            Some(fault) => self.begin_fault(id, fault, now),
            None => {
                self.faults.lasting.remove(&id);
                self.impair_all();
            }
        }
    }

    fn begin_fault(&mut self, id: FaultId, fault: Fault, now: Timestamp) {
        let lasting = fault.lasting();
        if !lasting.is_zero() {
            self.agenda.set(Due::Fault(id), Some(now + lasting));
            self.faults.lasting.insert(id, fault.clone());
        }
        self.strike_all(&fault, now);
        self.impair_all();
    }

    /// Why nothing that `identity` sends is taken now, if a fault says so.
    pub(super) fn refused_by_fault(&mut self, identity: &Identity, now: Timestamp) -> Option<Refusal> {
        let invoked = self.faults.of(identity).find_map(|fault| {
            let (condition, code, text) = match fault.kind {
                FaultKind::InvokeThrottling => (
                    Condition::Throttled,
                    code::THROTTLING,
                    "Throttled, by a fault that was injected.",
                ),
                FaultKind::InvokeMaxMessageQuota => (
                    Condition::ResourceLimitExceeded,
                    code::QUOTA_EXCEEDED,
                    "Total number of messages exceeded the allocated quota, by a fault that was injected.",
                ),
                FaultKind::InvokeAuthError => (
                    Condition::UnauthorizedAccess,
                    code::UNAUTHORIZED_ACCESS,
                    "Not authorized, by a fault that was injected.",
                ),
                _ => return None,
            };
            Some((condition, code, text, fault.condition.clone()))
        });
        let (condition, code, text, named) = invoked?;
        let refusal = self.refusals.refuse(condition, code, text, now);
        Some(refusal.named(named))
    }

    /// The link's grant, unless a fault says that there is to be none.
    pub(super) fn unless_refused_by_fault(&mut self, grant: Grant, now: Timestamp) -> Result<Grant, Refusal> {
        let refusal = grant
            .identity()
            .and_then(|identity| self.link_refused_by_fault(identity, now));
        refusal.map_or(Ok(grant), Err)
    }

    fn link_refused_by_fault(&mut self, identity: &Identity, now: Timestamp) -> Option<Refusal> {
        let refused = self
            .faults
            .of(identity)
            .any(|fault| fault.kind == FaultKind::InvokeAuthError);
        let refusal = refused.then(|| self.refused_by_fault(identity, now))?;
        refusal.filter(|refusal| refusal.code == code::UNAUTHORIZED_ACCESS)
    }

    pub(super) fn token_fault(&self, identity: Option<&Identity>) -> Option<TokenFault> {
        let kind = |fault: &Fault| match fault.kind {
            FaultKind::RefusePutToken { status } => Some(TokenFault::Refused(status)),
            FaultKind::InvokeAuthError => Some(TokenFault::Refused(401)),
            FaultKind::SwallowPutToken => Some(TokenFault::Swallowed),
            _ => None,
        };
        let mut lasting = self.faults.lasting.values();
        lasting.find_map(|fault| match (&fault.whom, identity) {
            (Some(whom), Some(identity)) if whom == identity => kind(fault),
            (None, _) => kind(fault),
            _ => None,
        })
    }

    pub(super) fn settlement_fault(&self, identity: &Identity) -> Option<Settlement> {
        self.faults.of(identity).find_map(|fault| match fault.kind {
            FaultKind::WithholdSettlement => Some(Settlement::Withheld),
            FaultKind::DelaySettlement { by } => Some(Settlement::DelayedBy(by)),
            _ => None,
        })
    }
}
