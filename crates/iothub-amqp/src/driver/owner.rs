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
use tokio::time::{Instant, timeout, timeout_at};

use super::engine::{Encoded, HandError, Life, Link, Wire};
use crate::config::{WINDOW, WINDOW_BYTES};
use crate::error::{Accepted, CloseError, Interruption, Lost, Phase, SendError};

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
    match owner.serve(&mut commands).await {
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
        End::Interrupted { why, unsent } => {
            let why = owner.reason(why).await;
            tracing::debug!(%why, "connection ended");
            let _ = ended.set(why.clone());
            owner.sweep();
            owner.ledger.fail(&why);
            if let Some(reply) = unsent {
                let _ = reply.send(Err(SendError::NotSent(why.clone())));
            }
            refuse(&mut commands, &why);
            owner.life.abandon(owner.link);
        }
    }
}

enum End {
    /// A handle asked for it, or the last handle is gone.
    Asked(Option<oneshot::Sender<Result<(), CloseError>>>),
    /// It came of itself; `unsent` waits for a message that was being handed over.
    Interrupted {
        why: Interruption,
        unsent: Option<oneshot::Sender<SendResult>>,
    },
}

impl From<Interruption> for End {
    fn from(why: Interruption) -> Self {
        Self::Interrupted { why, unsent: None }
    }
}

struct Owner {
    link: Link,
    life: Life,
    limit: Duration,
    ledger: Ledger,
    /// Outcomes on their way. Each ends by its deadline.
    flying: FuturesUnordered<BoxFuture<'static, Landing>>,
}

/// What came of a message that was handed over.
struct Landing {
    ticket: u64,
    outcome: Result<SendResult, Interruption>,
}

impl Owner {
    async fn serve(&mut self, commands: &mut mpsc::Receiver<Command>) -> End {
        loop {
            let room = self.ledger.waiting.len() < WINDOW && self.ledger.bytes < WINDOW_BYTES;
            tokio::select! {
                biased;
                Some(landing) = self.flying.next() => if let Err(why) = self.ledger.land(landing) {
                    return why.into();
                },
                why = self.life.ended() => return why.into(),
                why = self.link.detached() => return why.into(),
                command = commands.recv(), if room => match command {
                    None => return End::Asked(None),
                    Some(Command::Close { reply }) => return End::Asked(Some(reply)),
                    Some(Command::Send { message, weight, deadline, reply }) => {
                        if let Err(end) = self.send(&message, weight, deadline, reply).await {
                            return end;
                        }
                    }
                },
            }
        }
    }

    /// Hands one message over while outcomes go on landing.
    async fn send(
        &mut self,
        message: &Encoded,
        weight: usize,
        deadline: Instant,
        reply: oneshot::Sender<SendResult>,
    ) -> Result<(), End> {
        let mut handing = pin!(timeout_at(deadline, self.link.hand(message)));
        let handed = loop {
            tokio::select! {
                biased;
                Some(landing) = self.flying.next() => if let Err(why) = self.ledger.land(landing) {
                    break Ok(Err(HandError::Interrupted(why)));
                },
                why = self.life.ended() => break Ok(Err(HandError::Interrupted(why))),
                handed = &mut handing => break handed,
            }
        };
        let refused = match handed {
            Ok(Ok(outcome)) => {
                let ticket = self.ledger.enter(weight, reply);
                self.flying.push(Box::pin(land(ticket, outcome, self.limit)));
                return Ok(());
            }
            Ok(Err(HandError::Interrupted(why))) => {
                return Err(End::Interrupted {
                    why,
                    unsent: Some(reply),
                });
            }
            Ok(Err(HandError::TooLarge { size, limit })) => SendError::TooLarge { size, limit },
            Err(_) => SendError::NotSent(Interruption::TimedOut {
                phase: Phase::Credit,
                after: self.limit,
            }),
        };
        let _ = reply.send(Err(refused));
        Ok(())
    }

    /// Waits for everything that flies, or for the connection's end.
    async fn drain(&mut self) {
        while !self.ledger.waiting.is_empty() {
            let landed = tokio::select! {
                biased;
                Some(landing) = self.flying.next() => self.ledger.land(landing),
                why = self.life.ended() => Err(why),
            };
            if let Err(why) = landed {
                let why = self.reason(why).await;
                self.sweep();
                self.ledger.fail(&why);
            }
        }
    }

    /// The reason as the connection knows it, where a link only knows that it stopped.
    async fn reason(&mut self, why: Interruption) -> Interruption {
        match why {
            Interruption::Lost(Lost::Protocol) => {
                timeout(REASON_TIMEOUT, self.life.ended()).await.unwrap_or(why)
            }
            known => known,
        }
    }

    /// Takes the outcomes that had come before the end: they are true.
    fn sweep(&mut self) {
        while let Some(Some(landing)) = self.flying.next().now_or_never() {
            let _ = self.ledger.land(landing); // that it was interrupted is known
        }
    }
}

/// Waits for an outcome until it is too late for one.
async fn land(
    ticket: u64,
    outcome: impl Future<Output = Result<SendResult, Interruption>>,
    limit: Duration,
) -> Landing {
    let late = SendError::Unknown(Interruption::TimedOut {
        phase: Phase::Settle,
        after: limit,
    });
    let outcome = timeout(limit, outcome).await.unwrap_or(Ok(Err(late)));
    Landing { ticket, outcome }
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

    /// Completes what has an outcome. An interruption completes nothing: it says that the connection ends, and
    /// that end completes all that is left, with one reason.
    fn land(&mut self, landing: Landing) -> Result<(), Interruption> {
        let result = landing.outcome?;
        if let Some(waiting) = self.waiting.remove(&landing.ticket) {
            self.bytes -= waiting.weight;
            let _ = waiting.reply.send(result); // whoever asked may have gone
        }
        Ok(())
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

/// How long the connection's own word on why it ended is waited for, once a link has stopped.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);
