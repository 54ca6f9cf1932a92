//! What the hub has acknowledged, and what it therefore must have for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// All that was tried and all that was acknowledged, over all runs.
#[derive(Default)]
pub(super) struct Truth(Mutex<Known>);

/// See [`Truth`].
#[derive(Default)]
pub(super) struct Known {
    /// Bodies of telemetry that was sent, and of that which was accepted.
    pub(super) events_tried: BTreeSet<String>,
    pub(super) events: BTreeSet<String>,
    /// For whom each message is that a service tried to send; those that were put.
    pub(super) messages_tried: BTreeMap<String, String>,
    pub(super) messages: BTreeSet<String>,
    /// What became of messages, as feedback has told.
    pub(super) fates: BTreeMap<String, String>,
    /// How many deliveries there were.
    pub(super) deliveries: u64,
    /// Of each twin's sections: the last number that was written there, and the last that was tried.
    pub(super) sections: BTreeMap<(String, &'static str), Section>,
    /// Of each identity whether it is registered; `None` when the last try was not answered.
    pub(super) identities: BTreeMap<String, Option<bool>>,
    numbers: u64,
}

/// A section of a twin, in which one number is written over and over.
#[derive(Clone, Copy, Default)]
pub(super) struct Section {
    pub(super) acknowledged: u64,
    pub(super) tried: u64,
    /// The `$version` that was told with what is acknowledged.
    pub(super) version: u64,
}

impl Truth {
    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that was never given before.
    pub(super) fn number(&self) -> u64 {
        let mut known = self.lock();
        known.numbers += 1;
        known.numbers
    }

    /// Feedback has told what became of a message.
    pub(super) fn fate(&self, message: &str, fate: &str) {
        let mut known = self.lock();
        let before = known.fates.insert(message.to_owned(), fate.to_owned());
        assert!(
            before.is_none_or(|before| before == fate),
            "{message} has had two fates"
        );
    }

    /// A device has got a message.
    pub(super) fn delivered(&self, message: &str, identity: &str) {
        let mut known = self.lock();
        known.deliveries += 1;
        assert_eq!(
            known.messages_tried.get(message).map(String::as_str),
            Some(identity),
            "{message} came to the wrong device, or from nobody"
        );
        let fate = known.fates.get(message);
        assert_eq!(fate, None, "{message} came back");
    }

    /// A section of a twin is about to be written.
    pub(super) fn write(&self, identity: &str, section: &'static str) -> u64 {
        let mut known = self.lock();
        let section = known.sections.entry((identity.to_owned(), section)).or_default();
        section.tried += 1;
        section.tried
    }

    /// It was.
    pub(super) fn written(&self, identity: &str, section: &'static str, number: u64, version: u64) {
        let mut known = self.lock();
        let section = known.sections.entry((identity.to_owned(), section)).or_default();
        section.acknowledged = number;
        section.version = version;
    }
}

impl Known {
    /// Checks what a hub says of itself when it is ready.
    pub(super) fn check_ready(&mut self, ready: &Value) {
        self.check_events(&ready["events"]);
        let mut fates = BTreeMap::new();
        for told in ready["fates"].as_array().expect("a list") {
            let (message, fate) = (told[0].as_str(), told[1].as_str());
            let (message, fate) = message.zip(fate).expect("two texts");
            let before = fates.insert(message.to_owned(), fate.to_owned());
            assert_eq!(before, None, "{message} is told of twice");
        }
        for (message, fate) in &self.fates {
            assert_eq!(
                fates.get(message),
                Some(fate),
                "what became of {message} is forgotten"
            );
        }
        self.fates = fates;
    }

    fn check_events(&self, events: &Value) {
        let mut seen = BTreeSet::new();
        let mut next: BTreeMap<u64, u64> = BTreeMap::new();
        for event in events.as_array().expect("a list") {
            let numbers = event[0].as_u64().zip(event[1].as_u64());
            let (partition, number) = numbers.expect("two numbers");
            let expected = next.entry(partition).or_default();
            assert_eq!(number, *expected, "a gap in partition {partition}");
            *expected += 1;
            let body = event[2].as_str().expect("a text");
            assert!(self.events_tried.contains(body), "{body} was sent by nobody");
            assert!(seen.insert(body.to_owned()), "{body} is there twice");
        }
        let lost: Vec<_> = self.events.difference(&seen).collect();
        assert!(lost.is_empty(), "accepted and gone: {lost:?}");
    }

    /// Checks how many messages wait for an identity.
    pub(super) fn check_waiting(&self, identity: &str, waiting: u64) {
        let open = |message: &&String| {
            self.messages_tried.get(*message).map(String::as_str) == Some(identity)
                && !self.fates.contains_key(*message)
        };
        let put = self.messages.iter().filter(open).count() as u64;
        let tried = self.messages_tried.keys().filter(open).count() as u64;
        assert!(
            (put..=tried).contains(&waiting),
            "{waiting} messages wait for {identity}; {put} were put, {tried} were tried"
        );
    }

    /// Checks a section of a twin: the number in it, and its `$version`.
    pub(super) fn check_section(
        &mut self,
        identity: &str,
        name: &'static str,
        number: u64,
        version: Option<u64>,
    ) {
        let Some(section) = self.sections.get_mut(&(identity.to_owned(), name)) else {
            return;
        };
        assert!(
            (section.acknowledged..=section.tried).contains(&number),
            "{name} of {identity} has {number}; {} was acknowledged, {} was tried",
            section.acknowledged,
            section.tried
        );
        assert!(
            version.is_none_or(|version| version >= section.version),
            "{name} of {identity} has version {version:?}; {} was told",
            section.version
        );
        section.acknowledged = number;
    }

    /// Checks whether an identity is registered.
    pub(super) fn check_identity(&mut self, identity: &str, is_registered: bool) {
        if let Some(known @ Some(_)) = self.identities.get(identity) {
            assert_eq!(*known, Some(is_registered), "{identity} is registered, or not");
        }
        self.identities.insert(identity.to_owned(), Some(is_registered));
    }

    /// At the end, when nothing waits any more: each message that was put has come to its end.
    pub(super) fn check_end(&self) {
        let open: Vec<_> = self
            .messages
            .iter()
            .filter(|message| !self.fates.contains_key(*message))
            .collect();
        assert!(open.is_empty(), "put and never done: {open:?}");
    }
}
