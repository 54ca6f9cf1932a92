//! What the commands of a device that stays have in common.

use iothub_amqp::{DeviceClient, DeviceClientBuilder, Interruption, Status};

use super::emulator_run::stop::StopSignals;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::io::Io;

/// A device that is connected, until it is told to stop.
pub(super) struct Live {
    pub(super) client: DeviceClient,
    stop: StopSignals,
    status: tokio::sync::watch::Receiver<Status>,
}

/// What ends a command that would go on.
pub(super) enum Ended {
    /// Ctrl-C, or its work is done.
    Stopped,
    /// The client has ended.
    Client(Interruption),
}

impl Live {
    pub(super) async fn connect(builder: DeviceClientBuilder) -> Result<Self, Failure> {
        let mut stop = StopSignals::new()?;
        let client = tokio::select! {
            biased;
            () = stop.received() => return Err(Failure::interrupted()),
            client = builder.connect() => client?,
        };
        let mut status = client.status();
        status.mark_unchanged();
        Ok(Self { client, stop, status })
    }

    /// Does this, unless it is told to stop before.
    pub(super) async fn unless_stopped<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            () = self.stop.received() => Err(Failure::interrupted()),
            done = work => Ok(done),
        }
    }

    /// Waits for what ends the command; meanwhile it says on standard error how the connection fares. Cancel safe.
    pub(super) async fn ended(&mut self, io: &mut Io) -> Ended {
        loop {
            tokio::select! {
                biased;
                () = self.stop.received() => return Ended::Stopped,
                changed = self.status.changed() => {
                    let status = self.status.borrow_and_update().clone();
                    match status {
                        Status::Ended { why } => return Ended::Client(why),
                        _ if changed.is_err() => return Ended::Client(Interruption::Stopped),
                        Status::Recovering { why, .. } => io.note(&format!("connection lost: {why}: trying again")),
                        Status::Throttled { why, .. } => io.note(&format!("throttled: {why}: waiting")),
                        Status::Connected => io.note("connected again"),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Closes, and says how the command ends.
    pub(super) async fn close(self, ended: Ended) -> Result<Exit, Failure> {
        match ended {
            Ended::Stopped => {
                // What was asked for is done: the farewell is no part of it.
                if let Err(error) = self.client.close().await {
                    tracing::debug!("closing: {}", chain(&error));
                }
                Ok(Exit::Done)
            }
            Ended::Client(why) => {
                Err(Failure::new(Exit::from(&why), "the connection has ended").and(why.to_string()))
            }
        }
    }
}

/// Why a stream has ended by itself.
pub(super) fn stream_ended(why: Option<Interruption>) -> Ended {
    Ended::Client(why.unwrap_or(Interruption::Stopped))
}
