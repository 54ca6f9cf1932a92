//! Direct methods: a service calls, the device answers, or does not in time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use iothub_address::Identity;

use super::Hub;
use super::agenda::Due;
use super::command::{Answer, Effect, Reply};
use super::limits::{Excess, Operation};
use super::message::{Body, Message, MessageId, Properties};
use super::pairs::{Kind, PairKey};
use super::traffic::Passed;
use super::unique::Unique;
use super::value::Value;
use crate::clock::Timestamp;

/// A call of a method, as a service makes it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) payload: Bytes,
    pub(crate) response_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

/// What a device answered to a method call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodResponse {
    /// The status that the device gave.
    pub status: i32,
    /// What else it said: JSON text, or nothing.
    pub payload: Bytes,
}

/// Why a method call has no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MethodError {
    /// There is no such device or module.
    #[error("{0} is not registered")]
    NotFound(Identity),
    /// It receives no method calls now, and did not come in time (404103 `DeviceNotOnline`).
    #[error("{0} is not online")]
    NotOnline(Identity),
    /// It went before it answered (404104 `DeviceConnectionClosedRemotely`). It may have done what was asked.
    #[error("{0} went before it answered")]
    Gone(Identity),
    /// It did not answer in time (504). It may have done what was asked; an answer that comes now is dropped.
    #[error("{0} did not answer in time")]
    Timeout(Identity),
    /// The payload is larger than 128 KB.
    #[error("the payload has {size} bytes; {MAX_PAYLOAD} are allowed")]
    TooLarge {
        /// How large it is, in bytes.
        size: usize,
    },
    /// As many calls wait for answers as the hub keeps track of.
    #[error("{MAX_CALLS} method calls wait for their answers, and no more may")]
    TooMany,
    /// More is called at once than the hub's tier lets through (429001 `ThrottlingException`).
    #[error("more methods are called at once than the hub's tier lets through")]
    Throttled,
    /// The day's messages are used up, of which a call is one (403002 `IotHubQuotaExceeded`).
    #[error("the hub's messages of the day are used up: its tier has {per_day}")]
    QuotaExceeded {
        /// How many its tier has.
        per_day: u64,
    },
}

impl MethodError {
    const fn of(excess: Excess) -> Self {
        match excess {
            Excess::Throttled(_) => Self::Throttled,
            Excess::Quota { per_day } => Self::QuotaExceeded { per_day },
        }
    }
}

/// The calls that wait for an answer.
#[derive(Debug)]
pub(crate) struct Calls {
    waiting: BTreeMap<Reply, Waiting>,
    /// Those of `waiting` for each identity that has any.
    by_identity: BTreeMap<Identity, BTreeSet<Reply>>,
    /// Those that were sent, by what the answer will carry.
    by_id: BTreeMap<CallId, Reply>,
    ids: Unique,
}

/// What ties an answer to its call: the correlation-id of both.
type CallId = [u8; 16];

#[derive(Debug)]
struct Waiting {
    identity: Identity,
    call: Call,
    /// To whom it was sent, and under which id; `None` while the device is awaited.
    sent: Option<(PairKey, CallId)>,
}

impl Calls {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            waiting: BTreeMap::new(),
            by_identity: BTreeMap::new(),
            by_id: BTreeMap::new(),
            ids: Unique::new(seed),
        }
    }

    fn put(&mut self, reply: Reply, identity: &Identity, call: Call) {
        let waiting = Waiting {
            identity: identity.clone(),
            call,
            sent: None,
        };
        self.waiting.insert(reply, waiting);
        self.by_identity
            .entry(identity.clone())
            .or_default()
            .insert(reply);
    }

    fn take(&mut self, reply: Reply) -> Option<Waiting> {
        let waiting = self.waiting.remove(&reply)?;
        if let Some((_, id)) = &waiting.sent {
            self.by_id.remove(id);
        }
        if let Some(replies) = self.by_identity.get_mut(&waiting.identity) {
            replies.remove(&reply);
            if replies.is_empty() {
                self.by_identity.remove(&waiting.identity);
            }
        }
        Some(waiting)
    }

    /// The identity's calls of which this holds.
    fn of(&self, identity: &Identity, which: impl Fn(&Waiting) -> bool) -> Vec<Reply> {
        let replies = self.by_identity.get(identity).into_iter().flatten();
        replies
            .filter(|reply| self.waiting.get(reply).is_some_and(&which))
            .copied()
            .collect()
    }

    /// The call that was sent over this pair and under this id.
    fn answered(&self, key: &PairKey, id: CallId) -> Option<Reply> {
        let reply = *self.by_id.get(&id)?;
        let (to, _) = self.waiting.get(&reply)?.sent.as_ref()?;
        (to == key).then_some(reply)
    }
}

impl Hub {
    /// Calls a method of a device or module. Answered by [`Answer::Method`], at the latest when both of its times are
    /// over.
    pub(crate) fn call_method(&mut self, identity: &Identity, call: Call, reply: Reply, now: Timestamp) {
        let size = call.payload.len();
        let refused = if self.registry.get(identity).is_none() {
            Some(MethodError::NotFound(identity.clone()))
        } else if size > MAX_PAYLOAD {
            Some(MethodError::TooLarge { size })
        } else if self.calls.waiting.len() >= MAX_CALLS {
            Some(MethodError::TooMany)
        } else {
            None
        };
        let refused = refused.or_else(|| {
            let admitted = self.limits.admit(Operation::Method, [size], now);
            admitted.err().map(MethodError::of)
        });
        if let Some(error) = refused {
            return self.end_call(reply, Err(error), now);
        }
        let connect_timeout = call.connect_timeout;
        let method = call.method.clone();
        self.passed(identity, Passed::Called { method }, now);
        self.calls.put(reply, identity, call);
        if self.send_call(reply, now) {
            return;
        }
        if connect_timeout.is_zero() {
            return self.end_call(reply, Err(MethodError::NotOnline(identity.clone())), now);
        }
        self.agenda.set(Due::Call(reply), Some(now + connect_timeout));
    }

    /// The device has come: what waits for it goes to it.
    pub(super) fn methods_opened(&mut self, identity: &Identity, now: Timestamp) {
        for reply in self.calls.of(identity, |waiting| waiting.sent.is_none()) {
            self.send_call(reply, now);
        }
    }

    /// One of the two links is gone: no answer can come any more.
    pub(super) fn methods_gone(&mut self, key: &PairKey, now: Timestamp) {
        let lost = |waiting: &Waiting| waiting.sent.as_ref().is_some_and(|(sent, _)| sent == key);
        for reply in self.calls.of(&key.identity, lost) {
            self.end_call(reply, Err(MethodError::Gone(key.identity.clone())), now);
        }
    }

    /// A device has answered. What nobody waits for is dropped.
    pub(super) fn method_response(&mut self, key: &PairKey, response: &Message, now: Timestamp) {
        let id = match &response.properties.correlation_id {
            Some(MessageId::Uuid(bytes)) => *bytes,
            Some(MessageId::Binary(bytes)) if bytes.len() == 16 => {
                let mut id = [0; 16];
                id.copy_from_slice(bytes);
                id
            }
            _ => return,
        };
        let Some(reply) = self.calls.answered(key, id) else {
            return;
        };
        let status = match response.property("IoThub-status") {
            Some(Value::Int(status)) => *status,
            Some(Value::Long(status)) => i32::try_from(*status).unwrap_or(0),
            // Without a status it is no answer; the call ends in its time.
            _ => return,
        };
        let payload = match &response.body {
            Body::Data(bytes) | Body::Value(Value::Binary(bytes)) => bytes.clone(),
            Body::Value(Value::String(text)) => Bytes::from(text.clone()),
            _ => Bytes::new(),
        };
        let answer = if payload.len() > MAX_PAYLOAD {
            let size = payload.len();
            Err(MethodError::TooLarge { size })
        } else {
            Ok(MethodResponse { status, payload })
        };
        self.end_call(reply, answer, now);
    }

    /// The device did not come, or did not answer, in time.
    pub(super) fn expire_call(&mut self, reply: Reply, now: Timestamp) {
        let Some(waiting) = self.calls.waiting.get(&reply) else {
            return;
        };
        let identity = waiting.identity.clone();
        let error = match waiting.sent {
            None => MethodError::NotOnline(identity),
            Some(_) => MethodError::Timeout(identity),
        };
        self.end_call(reply, Err(error), now);
    }

    /// Sends it if the device receives calls.
    fn send_call(&mut self, reply: Reply, now: Timestamp) -> bool {
        let Some(waiting) = self.calls.waiting.get_mut(&reply) else {
            return false;
        };
        let newest = self.pairs.receiving(&waiting.identity, Kind::Methods).last();
        let Some(key) = newest.map(|(key, _)| key.clone()) else {
            return false;
        };
        let id = self.calls.ids.next();
        waiting.sent = Some((key.clone(), id));
        self.calls.by_id.insert(id, reply);
        let due = now + waiting.call.response_timeout;
        let message = Message {
            properties: Properties {
                correlation_id: Some(MessageId::Uuid(id)),
                ..Properties::default()
            },
            application_properties: vec![(
                "IoThub-methodname".to_owned(),
                Value::String(waiting.call.method.clone()),
            )],
            body: Body::Data(waiting.call.payload.clone()),
            ..Message::default()
        };
        self.agenda.set(Due::Call(reply), Some(due));
        self.send_to_pair(&key, message, now);
        true
    }

    fn end_call(&mut self, reply: Reply, outcome: Result<MethodResponse, MethodError>, now: Timestamp) {
        if let Some(waiting) = self.calls.take(reply) {
            let method = waiting.call.method;
            let passed = match &outcome {
                Ok(MethodResponse { status, .. }) => Passed::Answered {
                    method,
                    status: *status,
                },
                Err(why) => Passed::Unanswered {
                    method,
                    why: why.clone(),
                },
            };
            self.passed(&waiting.identity, passed, now);
        }
        self.agenda.set(Due::Call(reply), None);
        if self.jobs.awaits(reply) {
            return self.answer_job(reply, outcome);
        }
        self.effects
            .push_back(Effect::Answer(reply, Answer::Method(outcome)));
    }
}

/// The largest payload of a call or an answer, in bytes (Azure docs, "Understand and invoke direct methods": 128 KB).
const MAX_PAYLOAD: usize = 128 * 1024;
/// The most calls that wait for an answer at once.
const MAX_CALLS: usize = 10_000;
