//! A hub that runs in another process: finding it, and what its administration is asked.

mod https;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hyper::{Method, StatusCode};
use serde_json::Value;

use self::https::Https;
use super::ready::{Announced, READY_FILE, Ready};
use super::runtime_folder::RuntimeFolder;
use crate::args::administration::Running;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;

/// A hub that runs, as far as its file tells.
pub(super) struct RunningHub {
    announced: Announced,
}

impl RunningHub {
    /// The one that the flags mean.
    pub(super) fn find(running: &Running, io: &Io) -> Result<Self, Failure> {
        match &running.state_dir {
            Some(directory) => Self::on(directory),
            None => Self::on(&the_one(io)?),
        }
    }

    fn on(directory: &Path) -> Result<Self, Failure> {
        if !directory.is_dir() {
            return Err(Failure::usage(format!("{} is no directory", directory.display())));
        }
        let file = directory.join(READY_FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let what = format!("no hub runs on {}", directory.display());
                return Err(Failure::new(Exit::Unreachable, what).hint(START_ONE));
            }
            Err(error) => {
                return Err(Failure::usage(format!("can't read {}", file.display())).because(&error));
            }
        };
        // Not what serde says of it: there are secrets in the file.
        let announced = serde_json::from_str(&text)
            .map_err(|_| Failure::usage(format!("{} is not as this version writes it", file.display())))?;
        Ok(Self { announced })
    }

    /// What it wrote down when it was ready.
    pub(super) const fn ready(&self) -> &Ready {
        &self.announced.ready
    }

    /// Asks its administration, and gives its answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let ready = &self.announced.ready;
        let port = ready
            .https_port
            .ok_or_else(|| Failure::new(Exit::Unreachable, "the hub has no HTTPS port"))?;
        let https = Https::new(&ready.host, port, Path::new(&ready.ca))?;
        let (status, answer) = https
            .request(method, path, &self.announced.admin_token, body)
            .await?;
        let answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| Failure::unexpected("the hub's answer is no JSON").because(&error))?;
        if status == StatusCode::OK {
            return Ok(answer);
        }
        Err(refused(status, &answer))
    }
}

/// The only one that runs without a state directory.
fn the_one(io: &Io) -> Result<PathBuf, Failure> {
    let living = RuntimeFolder::of(io).and_then(|folder| folder.living());
    let mut living = living.map_err(|error| Failure::unexpected("can't look for hubs").because(&error))?;
    match (living.pop(), living.len()) {
        (None, _) => Err(
            Failure::new(Exit::Unreachable, "no hub runs without a state directory")
                .hint(format!("{START_ONE}, or name its directory by --state-dir")),
        ),
        (Some(only), 0) => Ok(only),
        (Some(last), others) => Err(Failure::usage(format!("{} hubs run here", others + 1))
            .hint(format!("say which by --state-dir, such as {}", last.display()))),
    }
}

/// Why the hub did not do it, in its own words.
fn refused(status: StatusCode, answer: &Value) -> Failure {
    let exit = match (status, answer["error"].as_str()) {
        (StatusCode::UNAUTHORIZED, _) => Exit::Unauthorised,
        (_, Some("not-found")) => Exit::NotFound,
        (StatusCode::BAD_REQUEST, _) => Exit::Usage,
        (StatusCode::CONFLICT, _) => Exit::Rejected,
        _ => Exit::Unexpected,
    };
    let failure = Failure::new(exit, "the hub").and(answer["message"].as_str().unwrap_or(status.as_str()));
    match exit {
        Exit::Unauthorised => failure.and("another hub has this one's port, or was started in its directory"),
        _ => failure,
    }
}

const START_ONE: &str = "start one by 'iothub emulator run'";
