//! What a fault does to those who are connected, when it begins and, while it lasts, when they come.

use iothub_address::Identity;

use super::Impairments;
use crate::clock::Timestamp;
use crate::fault::{CloseReason, Fault, FaultKind};
use crate::hub::activity::What;
use crate::hub::command::{ConnectionId, Effect, Grant, LinkId};
use crate::hub::refusal::{Condition, Refusal, code};
use crate::hub::{Connection, Hub};

/// How a connection is broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The stream ends in its own way: TLS's, then TCP's.
    Finish,
    /// TCP ends, and TLS was told nothing.
    Abrupt,
    /// TCP is reset.
    Reset,
}

impl Hub {
    /// A fault begins.
    pub(super) fn strike_all(&mut self, fault: &Fault, now: Timestamp) {
        let connections: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| fault.reaches(connection))
            .map(|(id, _)| *id)
            .collect();
        for connection in connections {
            self.strike(connection, fault, now);
        }
    }

    /// A client has come, of whom nothing is known.
    pub(in crate::hub) fn strike_who_came(&mut self, from: ConnectionId, now: Timestamp) {
        let lasting = |fault: &&Fault| fault.whom.is_none() || fault.kind == FaultKind::ShutDownAmqp;
        self.strike_again(from, lasting, now);
    }

    /// A client has shown who it is, or has shown one more.
    pub(in crate::hub) fn strike_who_is_known(&mut self, from: ConnectionId, now: Timestamp) {
        self.strike_again(from, |fault| fault.whom.is_some(), now);
    }

    fn strike_again(&mut self, from: ConnectionId, which: impl Fn(&&Fault) -> bool, now: Timestamp) {
        let Some(connection) = self.connections.get(&from) else {
            return;
        };
        let lasting = self.faults.lasting.values().filter(which);
        let struck: Vec<_> = lasting
            .filter(|fault| fault.reaches(connection) && fault.ends_connections())
            .cloned()
            .collect();
        // The first one is the last that it feels.
        if let Some(fault) = struck.first() {
            self.strike(from, fault, now);
        }
        self.impair(from);
    }

    /// A link was granted.
    pub(in crate::hub) fn strike_link(
        &mut self,
        from: ConnectionId,
        link: LinkId,
        grant: &Grant,
        now: Timestamp,
    ) {
        let found = self.faults.lasting.values().find(|fault| {
            let for_it = grant.identity().is_none_or(|identity| fault.is_for(identity));
            let ends_it = grant.is_killed_by(fault.kind) || fault.kind == FaultKind::KillAmqpSession;
            let connection = self.connections.get(&from);
            for_it && ends_it && connection.is_some_and(|connection| fault.reaches(connection))
        });
        if let Some(fault) = found.cloned() {
            self.note_fault(from, &fault, now);
            match fault.kind {
                FaultKind::KillAmqpSession => self.end_session(link, &fault, now),
                _ => self.detach(link, &fault, now),
            }
        }
        self.impair(from);
    }

    fn strike(&mut self, at: ConnectionId, fault: &Fault, now: Timestamp) {
        self.note_fault(at, fault, now);
        let boom = fault.reason == CloseReason::Boom;
        match fault.kind {
            FaultKind::KillTcp => {
                let cut = if boom { Cut::Reset } else { Cut::Finish };
                self.effects.push_back(Effect::Blow(at, cut));
            }
            FaultKind::CutTls => self.effects.push_back(Effect::Blow(at, Cut::Abrupt)),
            FaultKind::KillAmqpConnection | FaultKind::ShutDownAmqp => {
                let effect = if boom || fault.kind == FaultKind::ShutDownAmqp {
                    Effect::Close(at, self.by_fault(fault, Condition::ConnectionForced, now))
                } else {
                    Effect::CloseGently(at)
                };
                self.effects.push_back(effect);
            }
            FaultKind::KillAmqpSession => {
                for link in self.links_of(at, fault, |_| true) {
                    self.end_session(link, fault, now);
                }
            }
            kind => {
                for link in self.links_of(at, fault, |grant| grant.is_killed_by(kind)) {
                    self.detach(link, fault, now);
                }
            }
        }
    }

    fn links_of(&self, at: ConnectionId, fault: &Fault, which: impl Fn(&Grant) -> bool) -> Vec<LinkId> {
        let links = self.connections.get(&at).into_iter().flat_map(Connection::links);
        links
            .filter(|(_, grant)| which(grant))
            .filter(|(_, grant)| grant.identity().is_none_or(|identity| fault.is_for(identity)))
            .map(|(link, _)| link)
            .collect()
    }

    fn detach(&mut self, link: LinkId, fault: &Fault, now: Timestamp) {
        let effect = match fault.reason {
            CloseReason::Boom => Effect::Detach(link, self.by_fault(fault, Condition::DetachForced, now)),
            CloseReason::Byebye => Effect::DetachGently(link),
        };
        self.effects.push_back(effect);
    }

    fn end_session(&mut self, link: LinkId, fault: &Fault, now: Timestamp) {
        let effect = match fault.reason {
            CloseReason::Boom => Effect::End(link, self.by_fault(fault, Condition::InternalError, now)),
            CloseReason::Byebye => Effect::EndGently(link),
        };
        self.effects.push_back(effect);
    }

    fn by_fault(&mut self, fault: &Fault, condition: Condition, now: Timestamp) -> Refusal {
        let text = format!("{}, a fault that was injected: {}.", fault.kind, fault.reason);
        let refusal = self.refusals.refuse(condition, code::FAULT_INJECTED, text, now);
        refusal.named(fault.condition.clone())
    }

    fn note_fault(&self, at: ConnectionId, fault: &Fault, now: Timestamp) {
        self.note(at, What::Struck { fault: fault.kind }, now);
    }

    pub(super) fn impair_all(&mut self) {
        let connections: Vec<_> = self.connections.keys().copied().collect();
        for connection in connections {
            self.impair(connection);
        }
    }

    /// Says what is wrong with the connection now, if that is something new.
    fn impair(&mut self, at: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&at) else {
            return;
        };
        let lasting = self.faults.lasting.values();
        let now = lasting
            .filter(|fault| fault.reaches(connection))
            .map(|fault| Impairments::of(fault.kind))
            .fold(Impairments::default(), Impairments::with);
        if connection.impairments != now {
            connection.impairments = now;
            self.effects.push_back(Effect::Impair(at, now));
        }
    }
}

impl Fault {
    /// Whether the connection is of someone whom it is for.
    fn reaches(&self, connection: &Connection) -> bool {
        match &self.whom {
            _ if self.kind == FaultKind::ShutDownAmqp => true,
            None => true,
            Some(identity) => connection.is_of(identity),
        }
    }

    const fn ends_connections(&self) -> bool {
        matches!(
            self.kind,
            FaultKind::KillTcp | FaultKind::CutTls | FaultKind::KillAmqpConnection | FaultKind::ShutDownAmqp
        )
    }
}

impl Grant {
    /// Whether it is the link that a fault of this kind detaches.
    const fn is_killed_by(&self, kind: FaultKind) -> bool {
        matches!(
            (kind, self),
            (FaultKind::KillAmqpCbsLinkReq, Self::TokenRequests)
                | (FaultKind::KillAmqpCbsLinkResp, Self::TokenReplies)
                | (FaultKind::KillAmqpD2cLink, Self::Telemetry(_))
                | (FaultKind::KillAmqpC2dLink, Self::CloudToDevice(_))
                | (FaultKind::KillAmqpTwinLinkReq, Self::TwinRequests(_))
                | (FaultKind::KillAmqpTwinLinkResp, Self::TwinReplies(_))
                | (FaultKind::KillAmqpMethodReqLink, Self::MethodCalls(_))
                | (FaultKind::KillAmqpMethodRespLink, Self::MethodReplies(_))
        )
    }
}

impl Connection {
    /// Whether it speaks for `identity`: by a token, or by a link that it has.
    fn is_of(&self, identity: &Identity) -> bool {
        self.speaks_for(identity) || self.links().any(|(_, grant)| grant.identity() == Some(identity))
    }
}
