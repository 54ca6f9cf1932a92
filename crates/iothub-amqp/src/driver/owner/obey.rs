//! From what a handle asks to what the supervisor is told.

use std::time::Duration;

use tokio::time::Instant;

use super::super::command::Command;
use super::super::member::{Ended, Member};
use super::Owner;
use crate::config::within_reason;
use crate::error::{ConnectError, SubscribeError};
use crate::supervisor::{Input, SignIn};

impl Owner {
    /// Tells the supervisor, which is to be asked then what follows.
    pub(super) fn obey(&mut self, command: Command, now: Instant) {
        let by = |limit| (now + within_reason(limit)).into_std();
        let input = match command {
            Command::Join {
                slot,
                settings,
                joining,
            } => {
                if !self.supervisor.has_room() {
                    let error = match self.plan.sign_in {
                        SignIn::Claims => ConnectError::ConnectionFull,
                        _ => ConnectError::OneDeviceOnly,
                    };
                    let _ = joining.first.send(Err(error));
                    return;
                }
                self.members.insert(slot, Member::new(*joining));
                Input::Join { slot, settings }
            }
            Command::Leave { slot, limit, reply } => {
                let Some(member) = self.members.get_mut(&slot) else {
                    return;
                };
                // Who drops the last handle shortens no closing that is under way; who closes it again may.
                if reply.is_none() && !member.close_limit.is_zero() {
                    return;
                }
                member.closers.extend(reply);
                shorten(&mut member.close_limit, limit);
                Input::Leave {
                    slot,
                    deadline: by(limit),
                }
            }
            Command::Send {
                slot,
                ticket,
                payload,
                deadline,
                limit,
            } => {
                let size = payload.message.size();
                self.payloads.insert(ticket, payload);
                let deadline = deadline.into_std();
                self.touched.touch(Some(slot));
                let input = Input::Enqueue {
                    slot,
                    ticket,
                    size,
                    deadline,
                    limit,
                };
                return self.supervisor.note(input, now.into_std());
            }
            Command::Withdraw { slot, ticket } => Input::Withdraw { slot, ticket },
            Command::Subscribe {
                lane,
                limit,
                subscription,
            } => {
                let Some(member) = self.members.get_mut(&lane.slot) else {
                    return;
                };
                if member.streams.contains_key(&lane.kind) {
                    if let Some(reply) = subscription.reply {
                        let _ = reply.send(Err(SubscribeError::AlreadyOpen));
                    }
                    return;
                }
                member.streams.insert(lane.kind, subscription);
                let deadline = by(limit);
                Input::Subscribe {
                    lane,
                    deadline,
                    limit,
                }
            }
            Command::Unsubscribe(lane, ended) => {
                let Some(member) = self.members.get_mut(&lane.slot) else {
                    return;
                };
                let stream = member.streams.get(&lane.kind);
                if !stream.is_some_and(|stream| Ended::ptr_eq(&stream.ended, &ended)) {
                    return; // it has ended, and there may be another
                }
                member.streams.remove(&lane.kind);
                Input::Unsubscribe(lane)
            }
            Command::Answer {
                lane,
                epoch,
                delivery,
                verdict,
                answering,
            } => {
                self.answering.insert((lane, epoch, delivery), answering);
                Input::Answer {
                    lane,
                    epoch,
                    delivery,
                    verdict,
                }
            }
            Command::Request {
                slot,
                request,
                question,
                limit,
                asking,
            } => {
                self.asking.insert(request, asking);
                let deadline = by(limit);
                Input::Request {
                    slot,
                    request,
                    question,
                    deadline,
                    limit,
                }
            }
            Command::Took(lane, events) => {
                if let Some(member) = self.members.get_mut(&lane.slot) {
                    member.took(lane, events);
                }
                return;
            }
            Command::Taken(slot) => Input::Taken(slot),
            Command::Close { limit, reply } => {
                self.closers.push(reply);
                return self.close(limit);
            }
        };
        self.tell(input);
    }

    /// Nobody has a handle any more. What is closing already keeps the time that it was given.
    pub(super) fn close_orphaned(&mut self) {
        if self.close_limit.is_zero() {
            let given = self.members.values().map(|member| member.close_limit);
            let limit = given.fold(self.plan.limit, Duration::max);
            self.close(limit);
        }
    }

    pub(super) fn close(&mut self, limit: Duration) {
        shorten(&mut self.close_limit, limit);
        let deadline = (Instant::now() + within_reason(limit)).into_std();
        self.tell(Input::Close { deadline });
    }
}

/// The shortest time that a closer gives is everybody's.
fn shorten(all: &mut Duration, limit: Duration) {
    if all.is_zero() || limit < *all {
        *all = limit;
    }
}
