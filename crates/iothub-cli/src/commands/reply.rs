//! What method calls are answered with: always the same, or what a command of the shell writes.

use std::process::Stdio;
use std::time::Duration;

use iothub_amqp::{METHOD_LIMIT, MethodCall, SettleError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use crate::args::Format;
use crate::args::device_live::Reply as Flags;
use crate::failure::Failure;
use crate::output::incoming;
use crate::plan::contexts::Role;

#[derive(Clone)]
pub(super) struct Reply {
    what: What,
    status: i32,
    limit: Duration,
}

#[derive(Clone)]
enum What {
    Json(String),
    Exec(String),
}

impl Reply {
    /// What the flags say; without any, `null`.
    pub(super) fn of(flags: &Flags, limit: Duration) -> Result<Self, Failure> {
        let what = match (&flags.reply, &flags.exec) {
            (_, Some(command)) => What::Exec(command.clone()),
            (Some(json), None) => {
                serde_json::from_str::<serde::de::IgnoredAny>(json)
                    .map_err(|error| Failure::usage("--reply is no JSON").because(&error))?;
                What::Json(json.clone())
            }
            (None, None) => What::Json("null".to_owned()),
        };
        Ok(Self {
            what,
            status: flags.status,
            limit,
        })
    }

    /// Answers a call, and gives the line that tells of it.
    pub(super) async fn answer(self, call: MethodCall, format: Format) -> String {
        let (name, payload) = (call.name().to_owned(), call.payload().to_vec());
        let (status, reply) = match &self.what {
            What::Json(json) => (self.status, json.clone().into_bytes()),
            What::Exec(command) => match self.execute(command, &name, &payload).await {
                Ok(reply) => (self.status, reply),
                Err(why) => (
                    FAILED,
                    serde_json::json!({ "error": why }).to_string().into_bytes(),
                ),
            },
        };
        let outcome = match call.respond(status, reply.clone()).await {
            Ok(()) => "answered",
            Err(SettleError::TooLarge { .. }) => "too-large",
            Err(_) => "lost",
        };
        incoming::method(&name, &payload, status, &reply, outcome, format)
    }

    async fn execute(&self, command: &str, name: &str, payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut child = Command::new(SHELL[0])
            .arg(SHELL[1])
            .arg(command)
            .env("IOTHUB_METHOD", name)
            // The hub's secrets are none of its business.
            .env_remove(Role::Device.variable())
            .env_remove(Role::Service.variable())
            .env_remove(Role::Events.variable())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("the command can't be started: {error}"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let work = async {
            let mut reply = Vec::new();
            let writing = async {
                if let Some(mut stdin) = stdin {
                    // It need not read it.
                    let _ = stdin.write_all(payload).await;
                }
            };
            let reading = async {
                match stdout {
                    Some(stdout) => stdout.take(METHOD_LIMIT as u64 + 1).read_to_end(&mut reply).await,
                    None => Ok(0),
                }
            };
            let ((), read) = tokio::join!(writing, reading);
            read.map_err(|error| format!("the command's output can't be read: {error}"))?;
            let status = child.wait().await.map_err(|error| error.to_string())?;
            if !status.success() {
                return Err(format!("the command failed: {status}"));
            }
            Ok(reply)
        };
        let reply = timeout(self.limit, work)
            .await
            .map_err(|_| format!("the command takes longer than {} s", self.limit.as_secs_f64()))??;
        let text = reply.trim_ascii();
        let text = if text.is_empty() { b"null" } else { text };
        serde_json::from_slice::<serde::de::IgnoredAny>(text)
            .map_err(|error| format!("the command's output is no JSON: {error}"))?;
        Ok(text.to_vec())
    }
}

/// The status of a call that could not be answered as it should.
const FAILED: i32 = 500;

#[cfg(unix)]
const SHELL: [&str; 2] = ["sh", "-c"];
#[cfg(windows)]
const SHELL: [&str; 2] = ["cmd", "/C"];
