//! The process that is killed: the emulator in a program of this package, or the command `iothub emulator run`.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex as AsyncMutex, oneshot};
use tokio::task::JoinHandle;

use super::truth::Truth;

/// A hub in a process.
pub(super) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

/// A hub that is ready: who may ask it what only a service may.
pub(super) struct Hub {
    child: Child,
    /// Reads what it prints, to the last that it printed before it was killed.
    reading: JoinHandle<()>,
    pub(super) port: u16,
    /// What it said of itself when it was ready.
    pub(super) ready: Value,
    pub(super) service: Service,
}

/// Asks the hub. Clones ask the same one.
#[derive(Clone)]
pub(super) struct Service {
    stdin: Arc<AsyncMutex<ChildStdin>>,
    waiting: Waiting,
    next: Arc<AtomicU64>,
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

impl Process {
    /// The program of this package, which does what a service asks.
    pub(super) fn library(program: &Path, directory: &Path) -> Self {
        Self::spawn(Command::new(program).arg(directory))
    }

    /// The command.
    pub(super) fn command(program: &Path, directory: &Path) -> Self {
        let ports = ["--amqps-port", "0", "--https-port", "0", "--amqp-port", "0"];
        Self::spawn(
            Command::new(program)
                .args(["emulator", "run", "-o", "json"])
                .args(ports)
                .arg("--state-dir")
                .arg(directory),
        )
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the hub's program starts");
        let stdin = child.stdin.take().expect("it was asked for");
        let stdout = child.stdout.take().expect("it was asked for");
        Self {
            child,
            stdin,
            stdout: BufReader::new(stdout).lines(),
        }
    }

    /// Kills it, ready or not.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
    }

    /// Waits until it says that it is ready. What becomes of messages is told to `truth` from then on.
    pub(super) async fn ready(mut self, truth: &Arc<Truth>) -> Hub {
        let first = self.stdout.next_line().await.expect("what it prints is text");
        let ready: Value = first
            .as_deref()
            .and_then(|line| serde_json::from_str(line).ok())
            .unwrap_or_else(|| panic!("the hub did not start: {first:?}"));
        let port = ready["amqp_port"].as_u64().and_then(|port| port.try_into().ok());
        let port = port.unwrap_or_else(|| panic!("the hub did not start: {ready}"));
        let waiting = Waiting::default();
        let (answers, truth) = (Arc::clone(&waiting), Arc::clone(truth));
        let mut stdout = self.stdout;
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = stdout.next_line().await {
                take_line(&line, &answers, &truth);
            }
            // Whoever still waits learns that no answer comes.
            answers.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        Hub {
            child: self.child,
            reading,
            port,
            ready,
            service: Service {
                stdin: Arc::new(AsyncMutex::new(self.stdin)),
                waiting,
                next: Arc::default(),
            },
        }
    }
}

fn take_line(line: &str, waiting: &Waiting, truth: &Truth) {
    // The kill may have cut the last one.
    let Ok(said) = serde_json::from_str::<Value>(line) else {
        return;
    };
    if let Some(id) = said["fate"][0].as_str() {
        truth.fate(id, said["fate"][1].as_str().unwrap_or_default());
    }
    if let Some(id) = said["id"].as_u64() {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(asker) = waiting.remove(&id) {
            // It may have stopped waiting.
            let _ = asker.send(said);
        }
    }
}

impl Hub {
    /// Kills it. Returns when all that it said has been heard.
    pub(super) async fn kill(mut self) {
        self.child.kill().await.expect("a child can be killed");
        self.reading.await.expect("reading does not panic");
    }
}

impl Service {
    /// What the hub answers; `None` when it is killed before it does, an error's text when it refuses.
    pub(super) async fn ask(&self, what: &str, identity: &str, more: Value) -> Option<Result<Value, String>> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (asker, answer) = oneshot::channel();
        let mut asked = json!({"id": id, "do": what, "identity": identity});
        if let (Value::Object(asked), Value::Object(more)) = (&mut asked, more) {
            asked.extend(more);
        }
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, asker);
        let line = format!("{asked}\n");
        self.stdin.lock().await.write_all(line.as_bytes()).await.ok()?;
        let said = answer.await.ok()?;
        Some(match said["refused"].as_str() {
            Some(why) => Err(why.to_owned()),
            None => Ok(said["done"].clone()),
        })
    }
}
