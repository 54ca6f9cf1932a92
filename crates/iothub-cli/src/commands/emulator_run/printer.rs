//! Standard output, written by a thread of its own: a reader that does not read must not hold up the hub.

use std::io::Write;

use tokio::sync::{mpsc, oneshot};

use crate::failure::Failure;
use crate::io::print_to;

/// Where lines are given to the printer, which takes a bounded number before it makes the giver wait.
pub(super) type Lines = mpsc::Sender<String>;

/// The thread that writes. It ends when the last giver is gone and all is written, or at a failure.
pub(super) struct Printer {
    ended: oneshot::Receiver<Result<(), Failure>>,
    result: Option<Result<(), ()>>,
}

impl Printer {
    pub(super) fn start(mut stdout: Box<dyn Write + Send>) -> Result<(Self, Lines), Failure> {
        let (lines, mut queue) = mpsc::channel::<String>(QUEUE);
        let (end, ended) = oneshot::channel();
        let write = move || {
            let mut result = Ok(());
            let mut lines = Vec::with_capacity(QUEUE);
            // As many as there are in one go: a busy hub has more lines than a terminal takes calls.
            while result.is_ok() && queue.blocking_recv_many(&mut lines, QUEUE) > 0 {
                result = print_to(&mut *stdout, &lines.join("\n"));
                lines.clear();
            }
            // Nobody may be waiting any more.
            let _ = end.send(result);
        };
        std::thread::Builder::new()
            .name("stdout".to_owned())
            .spawn(write)
            .map_err(|error| Failure::unexpected("can't start a thread").because(&error))?;
        Ok((Self { ended, result: None }, lines))
    }

    /// Waits until writing fails; as long as it does not, for ever. Cancel safe.
    pub(super) async fn failed(&mut self) -> Failure {
        if self.result.is_none() {
            match (&mut self.ended).await {
                Ok(Err(failure)) => {
                    self.result = Some(Err(()));
                    return failure;
                }
                _ => self.result = Some(Ok(())),
            }
        }
        std::future::pending().await
    }

    /// Waits until all is written, or writing has failed.
    pub(super) async fn finished(&mut self) {
        if self.result.is_none() {
            let _ = (&mut self.ended).await;
        }
    }
}

/// How many lines wait for the reader.
const QUEUE: usize = 256;
