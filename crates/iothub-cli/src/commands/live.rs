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
    /// Its last trouble was told, and its end was not yet.
    in_trouble: bool,
}

/// What ends a command that would go on.
pub(super) enum Ended {
    /// Ctrl-C, or its work is done.
    Stopped,
    /// The client has ended.
    Client(Interruption),
    /// What came can't be shown.
    Unwritten(Failure),
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
        Ok(Self {
            client,
            stop,
            status,
            in_trouble: false,
        })
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
                    if let Status::Ended { why } = self.tell_status(io) {
                        return Ended::Client(why);
                    }
                    if changed.is_err() {
                        return Ended::Client(Interruption::Stopped);
                    }
                }
            }
        }
    }

    /// Says on standard error what has happened to the connection up to now. What comes in on a new connection comes
    /// after it, and so does what is said of it.
    pub(super) fn catch_up(&mut self, io: &mut Io) {
        if self.status.has_changed().unwrap_or(false) {
            self.tell_status(io);
        }
    }

    fn tell_status(&mut self, io: &mut Io) -> Status {
        let status = self.status.borrow_and_update().clone();
        match &status {
            Status::Recovering { why, .. } => {
                io.note(&format!("connection lost: {why}: trying again"));
                self.in_trouble = true;
            }
            Status::Throttled { why, .. } => {
                io.note(&format!("throttled: {why}: waiting"));
                self.in_trouble = true;
            }
            Status::Connected { after } => {
                // It may have been over before anyone had a look.
                let unseen = after.as_ref().filter(|_| !self.in_trouble);
                if let Some(why) = unseen {
                    io.note(&format!("connection lost: {why}: trying again"));
                }
                if unseen.is_some() || std::mem::take(&mut self.in_trouble) {
                    io.note("connected again");
                }
            }
            _ => {}
        }
        status
    }

    /// Closes, and says how the command ends.
    pub(super) async fn close(self, ended: Ended) -> Result<Exit, Failure> {
        match ended {
            Ended::Stopped => {
                self.farewell().await;
                Ok(Exit::Done)
            }
            Ended::Unwritten(failure) => {
                self.farewell().await;
                Err(failure)
            }
            Ended::Client(why) => {
                Err(Failure::new(Exit::from(&why), "the connection has ended").and(why.to_string()))
            }
        }
    }

    /// What was asked for is done, or can't be: the farewell is no part of it.
    async fn farewell(self) {
        if let Err(error) = self.client.close().await {
            tracing::debug!("closing: {}", chain(&error));
        }
    }
}

/// Why a stream has ended by itself.
pub(super) fn stream_ended(why: Option<Interruption>) -> Ended {
    Ended::Client(why.unwrap_or(Interruption::Stopped))
}
