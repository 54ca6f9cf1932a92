//! Moves a paused clock that stands still beside a spin.
//!
//! The engine spins while it waits for the answers to `end` and `close`. A paused clock moves only when nothing is left to
//! do, so beside a spin it stands, and the answer that is on its way never comes.

#[cfg(tokio_unstable)]
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::Notify;
#[cfg(tokio_unstable)]
use tokio::task::Id;
use tokio::time::{Instant, advance};

use super::wire::{Wires, lock};

/// Of one world.
#[derive(Clone, Default)]
pub(super) struct Impatience(Arc<Inner>);

#[derive(Default)]
struct Inner {
    #[cfg(tokio_unstable)]
    polls: Mutex<Polls>,
    too_long: Arc<Notify>,
    /// How long the clock was moved by hand alone.
    longest: Mutex<Duration>,
}

/// What was counted.
#[cfg(tokio_unstable)]
#[derive(Default)]
struct Polls {
    /// At this instant, by task.
    at: Option<Instant>,
    of: HashMap<Id, u32>,
    /// In the second that began then.
    second: Option<(Instant, u64)>,
    busiest: u64,
}

#[cfg(tokio_unstable)]
impl Polls {
    /// How often this task was polled at this instant.
    fn count(&mut self, task: Id, now: Instant) -> u32 {
        if self.at != Some(now) {
            self.at = Some(now);
            self.of.clear();
        }
        let second = match self.second {
            Some((began, count)) if now - began < Duration::from_secs(1) => (began, count + 1),
            _ => (now, 1),
        };
        self.second = Some(second);
        self.busiest = self.busiest.max(second.1);
        let count = self.of.entry(task).or_default();
        *count += 1;
        *count
    }
}

impl Impatience {
    /// Counts what the runtime does at one instant, where it says so.
    #[cfg(tokio_unstable)]
    pub(super) fn watch(&self, builder: &mut Builder) {
        let inner = Arc::clone(&self.0);
        builder.on_before_task_poll(move |task| {
            let count = lock(&inner.polls).count(task.id(), Instant::now());
            if count.is_multiple_of(MAX_POLLS) {
                inner.too_long.notify_one();
            }
        });
    }

    /// Otherwise a thread looks whether the time goes on.
    #[cfg(not(tokio_unstable))]
    pub(super) fn watch(&self, _: &mut Builder) {
        let inner = Arc::downgrade(&self.0);
        std::thread::spawn(move || {
            while let Some(inner) = inner.upgrade() {
                inner.too_long.notify_one();
                drop(inner);
                std::thread::park_timeout(LOOK_AGAIN);
            }
        });
    }

    /// To be rung for a spin that is found elsewhere.
    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.0.too_long)
    }

    /// The most polls in a second, where they are counted.
    #[cfg(tokio_unstable)]
    pub(super) fn busiest(&self) -> u64 {
        lock(&self.0.polls).busiest
    }

    #[cfg(not(tokio_unstable))]
    pub(super) fn busiest(&self) -> u64 {
        0
    }

    /// What the runtime did that nothing asks for.
    pub(super) fn wrong(&self) -> Option<String> {
        let (spin, polls) = (*lock(&self.0.longest), self.busiest());
        if spin > LONGEST_SPIN {
            return Some(format!("something spins for {spin:?}"));
        }
        (polls > BUSIEST).then(|| format!("{polls} polls in a second"))
    }

    /// Moves the clock when it has stood for too long: to when the next byte comes, if that is soon, as that may be what a
    /// spin waits for. Runs until it is dropped.
    pub(super) async fn run(self, wires: Wires) {
        let mut before = None;
        let (mut moved_to, mut spin) = (None, Duration::ZERO);
        loop {
            self.0.too_long.notified().await;
            let now = Instant::now();
            let stands = cfg!(tokio_unstable) || before == Some(now);
            before = Some(now);
            if stands {
                let due = wires.next_due(now);
                let step = due.map_or(STEP, |due| (due - now + TICK).min(STEP));
                // A clock that has moved by itself since the last time has found all at rest.
                spin = if moved_to == Some(now) { spin + step } else { step };
                moved_to = Some(now + step);
                advance(step).await;
                let mut longest = lock(&self.0.longest);
                *longest = spin.max(*longest);
            }
        }
    }
}

/// No task does so much at one instant in vain.
#[cfg(tokio_unstable)]
const MAX_POLLS: u32 = 32;

#[cfg(not(tokio_unstable))]
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A session's farewell and its connection's may each take an operation time-out, and others' may begin meanwhile.
const LONGEST_SPIN: Duration = Duration::from_secs(120);

/// In a second of virtual time. A spin that the clock is moved beside makes some hundred, a flood of messages some thousand.
const BUSIEST: u64 = 50_000;

/// Timers go by it.
const TICK: Duration = Duration::from_millis(1);

/// How far it is moved at the most: by so much may something be late that was begun in time.
pub(super) const STEP: Duration = Duration::from_millis(250);
