//! A hub with a state directory, killed at random moments under load, over and over on the same directory. After each
//! kill, what was acknowledged must be there, and what was completed must not come back.

mod hub;
mod load;
mod truth;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;

use self::hub::{Hub, Process};
use self::load::IDENTITIES;
use self::truth::Truth;
use crate::sim::dice::Dice;

/// What is to be killed, and how often.
pub struct Plan {
    /// The program `kept-hub` of this package.
    pub library: PathBuf,
    /// The command `iothub`, whose `emulator run` is killed in turn with the program, if it is there.
    pub command: Option<PathBuf>,
    /// How many kills.
    pub times: u64,
    /// When they are.
    pub seed: u64,
}

/// How much went on.
#[derive(Debug, Default)]
pub struct Tally {
    /// Kills, those of `iothub emulator run` among them, and those before it was ready.
    pub kills: (u64, u64, u64),
    /// Telemetry that was accepted.
    pub events: usize,
    /// Messages that were put for devices, and how often one was delivered.
    pub messages: (usize, u64),
    /// Registrations and removals.
    pub identities: usize,
    /// Changes of twins.
    pub patches: u64,
}

/// Kills it so often, and checks after each kill.
///
/// # Panics
/// When something that was acknowledged is gone, or something that was completed comes back.
pub async fn run(plan: &Plan) -> Tally {
    let directory = tempfile::tempdir().expect("a directory");
    let truth = Arc::new(Truth::default());
    let mut dice = Dice::new(plan.seed);
    let mut tally = Tally::default();
    let hub = library(plan, directory.path()).ready(&truth).await;
    for identity in IDENTITIES {
        let registered = hub.service.ask("register", identity, Value::Null).await;
        registered.expect("the hub is there").expect("it is new");
    }
    hub.kill().await;
    for _ in 0..plan.times {
        kill_once(plan, directory.path(), &truth, &mut dice, &mut tally).await;
    }

    let hub = library(plan, directory.path()).ready(&truth).await;
    check(&hub, &truth).await;
    for identity in IDENTITIES {
        load::drain(identity, hub.port, &hub.service, &truth).await;
    }
    hub.kill().await;
    let hub = library(plan, directory.path()).ready(&truth).await;
    check(&hub, &truth).await;
    hub.kill().await;

    let known = truth.lock();
    known.check_end();
    tally.events = known.events.len();
    tally.messages = (known.messages.len(), known.deliveries);
    tally.identities = known.identities.len();
    tally.patches = known.sections.values().map(|section| section.acknowledged).sum();
    tally
}

fn library(plan: &Plan, directory: &Path) -> Process {
    Process::library(&plan.library, directory)
}

async fn kill_once(plan: &Plan, directory: &Path, truth: &Arc<Truth>, dice: &mut Dice, tally: &mut Tally) {
    tally.kills.0 += 1;
    let command = plan.command.as_ref().filter(|_| dice.below(3) == 0);
    let process = match command {
        Some(command) => Process::command(command, directory),
        None => library(plan, directory),
    };
    tally.kills.1 += u64::from(command.is_some());
    if dice.below(8) == 0 {
        tally.kills.2 += 1;
        tokio::time::sleep(dice.up_to(STARTING)).await;
        return process.kill().await;
    }
    let hub = process.ready(truth).await;
    let mut load = JoinSet::new();
    if command.is_none() {
        check(&hub, truth).await;
        load::service(&hub.service, truth, dice, &mut load);
    }
    for identity in IDENTITIES {
        let dice = Dice::new(dice.throw());
        load.spawn(load::device(identity, hub.port, Arc::clone(truth), dice));
    }
    // Not to wait for anything: it is the moment of the kill.
    tokio::time::sleep(SETTLING_IN + dice.up_to(RUNNING)).await;
    hub.kill().await;
    while let Some(ended) = load.join_next().await {
        ended.expect("no check fails under load");
    }
}

async fn check(hub: &Hub, truth: &Truth) {
    truth.lock().check_ready(&hub.ready);
    let service = &hub.service;
    for identity in IDENTITIES {
        let waiting = load::waiting(identity, service).await;
        truth.lock().check_waiting(identity, waiting);
        let twin = ask(hub, "twin", identity).await;
        let properties = &twin["properties"];
        for (name, section) in [
            ("reported", &properties["reported"]),
            ("desired", &properties["desired"]),
            ("tags", &twin["tags"]),
        ] {
            let number = section["n"].as_u64().unwrap_or(0);
            let version = section["$version"].as_u64();
            truth.lock().check_section(identity, name, number, version);
        }
    }
    // The newest: what was there once was looked at before.
    let identities: Vec<String> = truth.lock().identities.keys().cloned().collect();
    for identity in identities {
        let registered = ask(hub, "is registered", &identity).await;
        let is_registered = registered.as_bool().expect("yes or no");
        truth.lock().check_identity(&identity, is_registered);
    }
}

async fn ask(hub: &Hub, what: &str, identity: &str) -> Value {
    let answer = hub.service.ask(what, identity, Value::Null).await;
    answer.expect("the hub is there").expect("it answers")
}

/// Until when a hub is killed that is not ready yet.
const STARTING: Duration = Duration::from_millis(60);
/// So long the devices take to come, mostly.
const SETTLING_IN: Duration = Duration::from_millis(50);
/// How long the load runs at most.
const RUNNING: Duration = Duration::from_millis(500);
