//! The connection itself, and the session that is being begun on it: one at a time, since whoever begins one has the line.

use std::pin::Pin;
use std::time::Duration;

use tokio::task::yield_now;

use super::engine::{Channel, Line};
use crate::error::{ConnectError, Interruption, Lost};

/// Dropping it ends the connection.
pub(super) struct Trunk {
    /// None while a session is being begun.
    line: Option<Line>,
    /// Not dropped before it is done, unless the connection is given up: nobody would know of a session begun half way.
    beginning: Option<Pin<Box<dyn Future<Output = Line> + Send>>>,
}

impl Trunk {
    pub(super) fn new(line: Line) -> Self {
        Self {
            line: Some(line),
            beginning: None,
        }
    }

    /// Whether a session can be begun now.
    pub(super) fn is_free(&self) -> bool {
        self.line.is_some()
    }

    /// Begins a session within `limit`, as far as [`ended`](Self::ended) is polled, and gives `done` what came of it.
    pub(super) fn begin(
        &mut self,
        limit: Duration,
        done: impl FnOnce(Result<Channel, ConnectError>) + Send + 'static,
    ) {
        if let Some(mut line) = self.line.take() {
            self.beginning = Some(Box::pin(async move {
                done(line.begin(limit).await);
                line
            }));
        }
    }

    /// Waits for the connection's end. Cancel safe.
    pub(super) async fn ended(&mut self) -> Interruption {
        match self.line().await {
            Some(line) => line.ended().await,
            None => Interruption::Lost(Lost::Protocol),
        }
    }

    /// Ends the stream at once, without a word to the peer.
    pub(super) fn blow(&mut self) {
        // With a session that is being begun goes the line, and the stream with that.
        self.beginning = None;
        if let Some(line) = &self.line {
            line.blow();
        }
    }

    /// Closes, within `limit`; whatever the peer does, nothing is left of it afterwards.
    pub(super) async fn close(mut self, limit: Duration) -> Result<(), Interruption> {
        self.line().await;
        match self.line {
            Some(line) => line.close(limit).await,
            None => Ok(()),
        }
    }

    async fn line(&mut self) -> Option<&mut Line> {
        if let Some(beginning) = &mut self.beginning {
            self.line = Some(beginning.await);
            self.beginning = None;
            // Of the session it is heard first, and then of the connection's end.
            yield_now().await;
        }
        self.line.as_mut()
    }
}
