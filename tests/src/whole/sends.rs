//! What clients transfer, as it is seen on their connections: whatever they say of it themselves.
//!
//! The hub's word counts when the hub says it, which is before its client can know. So a client has always at least as many
//! transfers under way as are counted here.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::Plan;
use super::record::Id;
use crate::frames::{NULL, TRUE, data_sections, number};

/// A link: its connection, and the client's channel and handle there.
type LinkId = (u64, u16, u32);

/// Of all connections of a world.
pub(super) struct Sends {
    window: usize,
    most_twice: usize,
    links: BTreeMap<LinkId, Link>,
    /// What waits for the hub's word, by the connection, the client's channel and the delivery's number.
    flying: BTreeMap<(u64, u16, u32), (LinkId, Vec<Id>)>,
    /// What has left on a link and was not given back.
    left: BTreeSet<Id>,
    /// What has ever left.
    seen: BTreeSet<Id>,
    /// Of each device.
    links_of: BTreeMap<u64, u64>,
    /// Messages that have left again, on another link.
    again: u64,
    wrong: Vec<String>,
}

#[derive(Default)]
struct Link {
    /// The transfer whose frames come.
    coming: Vec<u8>,
    delivery: u32,
    batch: bool,
    /// What has left on it, and was not given back.
    carried: BTreeSet<Id>,
    /// How many of them had left on an earlier link.
    twice: usize,
}

impl Sends {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            window: plan.window,
            most_twice: usize::try_from(plan.most_in_window()).unwrap_or(usize::MAX),
            links: BTreeMap::new(),
            flying: BTreeMap::new(),
            left: BTreeSet::new(),
            seen: BTreeSet::new(),
            links_of: BTreeMap::new(),
            again: 0,
            wrong: Vec::new(),
        }
    }

    pub(super) fn wrong(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wrong)
    }

    /// How many links a device has had for its telemetry.
    pub(super) fn links_of(&self, device: u64) -> u64 {
        self.links_of.get(&device).copied().unwrap_or(0)
    }

    /// How often a message has left again, on another link than before.
    pub(super) fn again(&self) -> u64 {
        self.again
    }

    /// Whether a message was seen on its way.
    pub(super) fn has_seen(&self, message: Id) -> bool {
        self.seen.contains(&message)
    }

    /// A client attaches a link to send to `address`; only telemetry's is of interest.
    pub(super) fn attached(&mut self, link: LinkId, address: &str) {
        let device = address
            .strip_prefix("/devices/d")
            .and_then(|rest| rest.strip_suffix("/messages/events"))
            .and_then(|digits| digits.parse().ok());
        // The handle is another's now.
        self.links.remove(&link);
        self.flying.retain(|_, (of, _)| *of != link);
        if let Some(device) = device {
            *self.links_of.entry(device).or_default() += 1;
            self.links.insert(link, Link::default());
        }
    }

    /// A frame of a transfer: its fields, and what stands behind them.
    pub(super) fn transfer(&mut self, link: LinkId, list: &[&[u8]], payload: &[u8]) {
        let field = |at: usize| list.get(at).copied().unwrap_or(NULL);
        let Some(of) = self.links.get_mut(&link) else {
            return;
        };
        if of.coming.is_empty() {
            of.delivery = number(field(1));
            of.batch = number(field(3)) == BATCH;
        }
        of.coming.extend(payload);
        if field(4) == TRUE {
            self.wrong.push(format!("{link:?} transfers what is settled"));
        }
        if field(5) == TRUE {
            return;
        }
        let body = std::mem::take(&mut of.coming);
        let messages: Vec<Id> = if of.batch {
            let inner = data_sections(&body);
            inner.iter().filter_map(|message| id_in(message)).collect()
        } else {
            id_in(&body).into_iter().collect()
        };
        if messages.is_empty() {
            return self
                .wrong
                .push(format!("{link:?} transfers what nobody has sent"));
        }
        for message in &messages {
            self.seen.insert(*message);
            if !of.carried.insert(*message) {
                self.again += 1;
                self.wrong
                    .push(format!("{message:?} is sent again on the live link {link:?}"));
            } else if !self.left.insert(*message) {
                of.twice += 1;
                self.again += 1;
            }
        }
        if of.twice > self.most_twice {
            self.wrong.push(format!(
                "{} messages are sent again on {link:?}, and no more than {} may have been under way",
                of.twice, self.most_twice
            ));
        }
        self.flying
            .insert((link.0, link.1, of.delivery), (link, messages));
        let flying = self.flying.values().filter(|(of, _)| *of == link).count();
        if flying > self.window {
            self.wrong
                .push(format!("{flying} transfers fly on {link:?}, of {}", self.window));
        }
    }

    /// The hub says what became of some transfers of a session.
    pub(super) fn disposed(&mut self, connection: u64, channel: u16, list: &[&[u8]]) {
        let field = |at: usize| list.get(at).copied().unwrap_or(NULL);
        if field(0) != TRUE {
            return;
        }
        let first = number(field(1));
        let last = if field(2) == NULL { first } else { number(field(2)) };
        let is_accepted = field(4).get(2) == Some(&ACCEPTED);
        for delivery in first..=last {
            let Some((link, messages)) = self.flying.remove(&(connection, channel, delivery)) else {
                continue;
            };
            let Some(link) = self.links.get_mut(&link).filter(|_| !is_accepted) else {
                continue;
            };
            for message in messages {
                link.carried.remove(&message);
                self.left.remove(&message);
            }
        }
    }
}

/// The body says whose message it is, and which.
fn id_in(message: &[u8]) -> Option<Id> {
    let bodies = data_sections(message);
    let mut words = std::str::from_utf8(bodies.first()?).ok()?.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// IoT Hub's batches.
const BATCH: u32 = 0x8001_3700;

const ACCEPTED: u8 = 0x24;
