//! The task that owns a connection: it hands messages over, keeps who waits for which outcome, and ends it all.
//!
//! The truth about a message is in the ledger here. A future of the engine is a rumour: it may bring news, its silence
//! means nothing, since the engine forgets to answer when a connection dies.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::engine::{Encoded, HandError, Life, Link, Wire};
use crate::config::{WINDOW, WINDOW_BYTES};
use crate::error::{Accepted, CloseError, Interruption, Phase, SendError};

pub(crate) type SendResult = Result<Accepted, SendError>;

/// What a handle asks of the owner.
pub(crate) enum Command {
    /// Hand this over by then, and tell the outcome.
    Send {
        message: Encoded,
        weight: usize,
        deadline: Instant,
        reply: oneshot::Sender<SendResult>,
    },
    /// Wait for what flies, then close.
    Close {
        reply: oneshot::Sender<Result<(), CloseError>>,
    },
}

/// Why the owner has ended; set before its command channel closes.
pub(crate) type Ended = Arc<OnceLock<Interruption>>;

/// Runs until the connection ends, a handle closes it, or no handle is left.
pub(crate) async fn run(wire: Wire, mut commands: mpsc::Receiver<Command>, ended: Ended, limit: Duration) {
    let Wire { life, link } = wire;
    let mut owner = Owner {
        link,
        life,
        limit,
        ledger: Ledger::default(),
        flying: FuturesUnordered::new(),
    };
    let end = owner.serve(&mut commands).await;
    match end {
        End::Asked(reply) => {
            let _ = ended.set(Interruption::Stopped);
            refuse(&mut commands, &Interruption::Stopped);
            owner.drain().await;
            let closed = owner.life.close(owner.link, limit).await;
            tracing::debug!(?closed, "closed");
            if let Some(reply) = reply {
                let _ = reply.send(closed);
            }
        }
        End::Interrupted(why) => {
            tracing::debug!(%why, "connection ended");
            let _ = ended.set(why.clone());
            owner.sweep();
            owner.ledger.fail(&why);
            refuse(&mut commands, &why);
            owner.life.abandon(owner.link);
        }
    }
}

enum End {
    /// A handle asked for it, or the last handle is gone.
    Asked(Option<oneshot::Sender<Result<(), CloseError>>>),
    Interrupted(Interruption),
}

struct Owner {
    link: Link,
    life: Life,
    limit: Duration,
    ledger: Ledger,
    /// Outcomes on their way. Each ends by its deadline.
    flying: FuturesUnordered<BoxFuture<'static, Landing>>,
}

type Landing = (u64, SendResult);

impl Owner {
    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> End {
        loop {
            let room = self.ledger.waiting.len() < WINDOW && self.ledger.bytes < WINDOW_BYTES;
            tokio::select! {
                biased;
                Some((ticket, result)) = self.flying.next() => self.ledger.complete(ticket, result),
                why = self.life.ended() => return End::Interrupted(why),
                why = self.link.detached() => return End::Interrupted(why),
                command = commands.recv(), if room => match command {
                    None => return End::Asked(None),
                    Some(Command::Close { reply }) => return End::Asked(Some(reply)),
                    Some(Command::Send { message, weight, deadline, reply }) => {
                        if let Some(why) = self.send(&message, weight, deadline, reply).await {
                            return End::Interrupted(why);
                        }
                    }
                },
            }
        }
    }

    /// Hands one message over while outcomes go on landing. Gives the reason if the connection ended meanwhile.
    async fn send(
        &mut self,
        message: &Encoded,
        weight: usize,
        deadline: Instant,
        reply: oneshot::Sender<SendResult>,
    ) -> Option<Interruption> {
        let mut handing = pin!(timeout_at(deadline, self.link.hand(message)));
        let handed = loop {
            tokio::select! {
                biased;
                Some((ticket, result)) = self.flying.next() => self.ledger.complete(ticket, result),
                why = self.life.ended() => {
                    let _ = reply.send(Err(SendError::NotSent(why.clone())));
                    return Some(why);
                }
                handed = &mut handing => break handed,
            }
        };
        match handed {
            Ok(Ok(outcome)) => {
                let ticket = self.ledger.enter(weight, reply);
                let (until, after) = (Instant::now() + self.limit, self.limit);
                self.flying.push(Box::pin(async move {
                    let late = SendError::Unknown(Interruption::TimedOut {
                        phase: Phase::Settle,
                        after,
                    });
                    let result = timeout_at(until, outcome).await.unwrap_or(Err(late));
                    (ticket, result)
                }));
                None
            }
            Ok(Err(HandError::TooLarge { size, limit })) => {
                let _ = reply.send(Err(SendError::TooLarge { size, limit }));
                None
            }
            Ok(Err(HandError::Interrupted(why))) => {
                let _ = reply.send(Err(SendError::NotSent(why.clone())));
                Some(why)
            }
            Err(_) => {
                let why = Interruption::TimedOut {
                    phase: Phase::Credit,
                    after: self.limit,
                };
                let _ = reply.send(Err(SendError::NotSent(why)));
                None
            }
        }
    }

    /// Waits for everything that flies, or for the connection's end.
    async fn drain(&mut self) {
        while !self.ledger.waiting.is_empty() {
            tokio::select! {
                biased;
                Some((ticket, result)) = self.flying.next() => self.ledger.complete(ticket, result),
                why = self.life.ended() => {
                    self.sweep();
                    return self.ledger.fail(&why);
                }
            }
        }
    }

    /// Takes the outcomes that had come before the end: they are true.
    fn sweep(&mut self) {
        while let Some(Some((ticket, result))) = self.flying.next().now_or_never() {
            self.ledger.complete(ticket, result);
        }
    }
}

/// Who waits for which message's outcome.
#[derive(Default)]
struct Ledger {
    next: u64,
    bytes: usize,
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    weight: usize,
    reply: oneshot::Sender<SendResult>,
}

impl Ledger {
    fn enter(&mut self, weight: usize, reply: oneshot::Sender<SendResult>) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.bytes += weight;
        self.waiting.insert(ticket, Waiting { weight, reply });
        ticket
    }

    fn complete(&mut self, ticket: u64, result: SendResult) {
        if let Some(waiting) = self.waiting.remove(&ticket) {
            self.bytes -= waiting.weight;
            let _ = waiting.reply.send(result); // whoever asked may have gone
        }
    }

    /// All that still waits was handed over and will never be heard of.
    fn fail(&mut self, why: &Interruption) {
        self.bytes = 0;
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            let _ = waiting.reply.send(Err(SendError::Unknown(why.clone())));
        }
    }
}

/// Answers what still stands in the queue: it never left.
fn refuse(commands: &mut mpsc::Receiver<Command>, why: &Interruption) {
    commands.close();
    while let Ok(command) = commands.try_recv() {
        match command {
            Command::Send { reply, .. } => drop(reply.send(Err(SendError::NotSent(why.clone())))),
            Command::Close { reply } => drop(reply.send(Err(CloseError::Ended(why.clone())))),
        }
    }
}
