//! Pairs of links: over one the client sends, over the other it receives, and what ties the two is a text that the
//! client chose. Twin and methods are such.

use std::collections::BTreeMap;

use iothub_address::Identity;

use super::Hub;
use super::command::{ConnectionId, Effect, Grant, LinkId, Parcel};
use super::message::Message;
use super::refusal::{Condition, Refusal, code};
use crate::clock::Timestamp;

/// What names a pair. The client's text is opaque: SDKs put a prefix before it or not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PairKey {
    pub(super) identity: Identity,
    pub(super) kind: Kind,
    pub(super) connection: ConnectionId,
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Twin,
    Methods,
}

/// A pair, or one half of it while the other is not there.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    /// The link over which the client sends.
    inward: Option<LinkId>,
    /// The link over which it receives.
    outward: Option<LinkId>,
    /// It wants to hear of desired properties.
    pub(super) subscribed: bool,
    /// What was to be sent before it could receive.
    early: Vec<Parcel>,
}

/// All pairs.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pairs: BTreeMap<PairKey, Pair>,
    by_link: BTreeMap<LinkId, PairKey>,
    /// How many messages wait, on each connection that has any; at most [`MAX_EARLY`].
    early: BTreeMap<ConnectionId, usize>,
}

impl PairKey {
    /// The pair that a link of this grant is one half of.
    pub(super) fn of(grant: &Grant, connection: ConnectionId, text: &str) -> Option<(Self, Half)> {
        let (identity, kind, half) = match grant {
            Grant::TwinRequests(identity) => (identity, Kind::Twin, Half::Inward),
            Grant::TwinReplies(identity) => (identity, Kind::Twin, Half::Outward),
            Grant::MethodReplies(identity) => (identity, Kind::Methods, Half::Inward),
            Grant::MethodCalls(identity) => (identity, Kind::Methods, Half::Outward),
            _ => return None,
        };
        let key = Self {
            identity: identity.clone(),
            kind,
            connection,
            text: text.to_owned(),
        };
        Some((key, half))
    }
}

/// Which half of a pair a link is, as the hub sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Inward,
    Outward,
}

impl Pair {
    fn half(&mut self, half: Half) -> &mut Option<LinkId> {
        match half {
            Half::Inward => &mut self.inward,
            Half::Outward => &mut self.outward,
        }
    }
}

impl Pairs {
    /// Keeps a message until the pair can receive; gives whether it does.
    fn keep(&mut self, key: &PairKey, parcel: Parcel) -> bool {
        let Some(pair) = self.pairs.get_mut(key) else {
            return false;
        };
        let count = self.early.entry(key.connection).or_default();
        if *count >= MAX_EARLY {
            return false;
        }
        *count += 1;
        pair.early.push(parcel);
        true
    }

    /// So many are not kept any more.
    fn release(&mut self, connection: ConnectionId, released: usize) {
        if let Some(count) = self.early.get_mut(&connection) {
            *count = count.saturating_sub(released);
            if *count == 0 {
                self.early.remove(&connection);
            }
        }
    }

    pub(super) fn of_link(&self, link: LinkId) -> Option<&PairKey> {
        self.by_link.get(&link)
    }

    pub(super) fn get_mut(&mut self, key: &PairKey) -> Option<&mut Pair> {
        self.pairs.get_mut(key)
    }

    /// The identity's pairs of a kind that can receive, the oldest connection first.
    pub(super) fn receiving<'a>(
        &'a self,
        identity: &'a Identity,
        kind: Kind,
    ) -> impl Iterator<Item = (&'a PairKey, &'a Pair)> {
        let first = PairKey {
            identity: identity.clone(),
            kind,
            connection: 0,
            text: String::new(),
        };
        self.pairs
            .range(first..)
            .take_while(move |(key, _)| key.identity == *identity && key.kind == kind)
            .filter(|(_, pair)| pair.outward.is_some())
    }
}

impl Hub {
    /// Refuses a link whose half of the pair is there already.
    pub(super) fn check_pair(
        &mut self,
        grant: &Grant,
        from: ConnectionId,
        text: &str,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some((key, half)) = PairKey::of(grant, from, text) else {
            return Ok(());
        };
        let pair = self.pairs.get_mut(&key);
        if pair.is_none_or(|pair| pair.half(half).is_none()) {
            return Ok(());
        }
        let text = format!("A link of this kind with channel-correlation-id '{text}' is open already.");
        Err(self.refusals.refuse(
            Condition::LinkCreationConflict,
            code::LINK_CREATION_CONFLICT,
            text,
            now,
        ))
    }

    /// Gives the key of the pair if the link is half of one.
    pub(super) fn join_pair(
        &mut self,
        grant: &Grant,
        from: ConnectionId,
        link: LinkId,
        text: &str,
    ) -> Option<PairKey> {
        let (key, half) = PairKey::of(grant, from, text)?;
        let pair = self.pairs.pairs.entry(key.clone()).or_default();
        *pair.half(half) = Some(link);
        if half == Half::Outward {
            let early = std::mem::take(&mut pair.early);
            self.pairs.release(from, early.len());
            for parcel in early {
                self.effects.push_back(Effect::Send(link, Box::new(parcel)));
            }
        }
        self.pairs.by_link.insert(link, key.clone());
        Some(key)
    }

    /// Gives the key of the pair that has lost a half.
    pub(super) fn leave_pair(&mut self, link: LinkId) -> Option<PairKey> {
        let key = self.pairs.by_link.remove(&link)?;
        if let Some(pair) = self.pairs.get_mut(&key) {
            for half in [Half::Inward, Half::Outward] {
                if *pair.half(half) == Some(link) {
                    *pair.half(half) = None;
                }
            }
            if pair.inward.is_none() && pair.outward.is_none() {
                let early = self.pairs.pairs.remove(&key).map_or(0, |pair| pair.early.len());
                self.pairs.release(key.connection, early);
            }
        }
        Some(key)
    }

    /// Sends a message to the client, once it can receive.
    pub(super) fn send_to_pair(&mut self, key: &PairKey, message: Message, now: Timestamp) {
        self.send_to_pair_or(key, message, None, now);
    }

    /// The same, with what goes out in its place if the disk does not take what it tells of.
    pub(super) fn send_to_pair_or(
        &mut self,
        key: &PairKey,
        message: Message,
        if_unsaved: Option<Message>,
        now: Timestamp,
    ) {
        let Some(pair) = self.pairs.get_mut(key) else {
            return;
        };
        let parcel = Parcel {
            tag: None,
            awaits_outcome: false,
            message,
            if_unsaved: if_unsaved.map(Box::new),
        };
        match (pair.outward, pair.inward) {
            (Some(link), _) => self.effects.push_back(Effect::Send(link, Box::new(parcel))),
            (None, inward) => {
                if self.pairs.keep(key, parcel) {
                    return;
                }
                let Some(link) = inward else { return };
                let text = format!("{MAX_EARLY} answers wait for a link to be sent over.");
                let refusal = self.refusals.refuse(
                    Condition::ResourceLimitExceeded,
                    code::INVALID_OPERATION,
                    text,
                    now,
                );
                self.effects.push_back(Effect::Detach(link, refusal));
            }
        }
    }
}

/// The most messages of one connection that wait for the links that they are to be sent over; one more ends the link that
/// asked for it.
const MAX_EARLY: usize = 64;

#[cfg(test)]
#[path = "pairs_tests.rs"]
mod tests;
