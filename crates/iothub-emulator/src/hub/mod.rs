//! The hub itself: who is known, who is there, what was said. It knows nothing of AMQP's frames, of sockets or
//! of tasks: it takes commands and the time, and gives effects.

mod activity;
mod admission;
mod agenda;
mod authentication;
mod batches;
mod cbs;
mod certificate;
mod cloud_to_device;
mod command;
mod configurations;
mod connection;
mod departure;
mod documents;
mod endpoint;
mod event;
mod export;
mod faults;
mod feedback;
mod identities;
mod import;
mod jobs;
mod limits;
mod links;
mod log;
mod mailbox;
mod message;
mod methods;
mod overview;
mod pairs;
mod polling;
mod presence;
mod queries;
mod receiver;
mod record;
mod refusal;
mod registry;
mod requests;
mod ring;
mod services;
mod telemetry;
mod text;
mod throttle;
mod thumbprint;
mod tokens;
mod traffic;
mod twin;
mod twins;
mod unique;
mod value;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use iothub_address::{DeviceId, HubName, Identity, PolicyName, Secret};

pub use activity::{Activity, What};
pub use authentication::AuthFailure;
pub(crate) use authentication::Names;
pub(crate) use cbs::{TokenRefusal, TokenRequest};
pub(crate) use certificate::{ClientCertificate, DeviceAuthorities};
pub(crate) use cloud_to_device::INPUT_NAME;
pub use cloud_to_device::MailboxError;
pub(crate) use command::{
    Answer, Batch, Claim, Command, ConnectionId, Credit, Delivery, Effect, Filter, Grant, LinkId, Parcel,
    Rejected, Reply, Side, Terms, Verdict,
};
pub(crate) use configurations::{
    Configuration, ConfigurationError, ConfigurationForm, Content, check_paths, target_of,
};
#[cfg(test)]
pub(crate) use endpoint::Bound;
pub(crate) use endpoint::{EventEndpoint, Heads, Position, Reached, Reader, entity_of};
pub use event::{AuthMethod, Event, Scope, Sender, Source};
pub use export::ExportKeys;
pub(crate) use export::export;
pub(crate) use faults::{Cut, Impairments};
pub use feedback::{Ack, Fate, Feedback};
pub(crate) use identities::{Given, IdentityError, IfMatch, Known, Made};
pub(crate) use import::{Import, ImportError, ImportMode, SectionGiven};
pub(crate) use jobs::{Job, JobError, JobState, JobStatus, Work};
pub use limits::Tier;
pub(crate) use limits::{Excess, Limits, Operation};
pub(crate) use log::Place;
pub use mailbox::CloudToDevice;
#[cfg(test)]
pub(crate) use mailbox::Mailbox;
pub(crate) use mailbox::Waiting;
pub(crate) use mailbox::{LockLost, LockToken, Outcome};
pub use message::{Body, Message, MessageId, Properties};
pub(crate) use methods::Call;
pub use methods::{MethodError, MethodResponse};
pub(crate) use polling::{HandedOut, NotTaken};
pub use presence::{ConnectionState, Presence};
pub(crate) use record::{Keeping, Kept, KeptMessage, Record};
pub(crate) use refusal::Refusal;
use refusal::Refusals;
pub use registry::{Authentication, Keys, RegistryError, Rights, Status};
pub(crate) use registry::{Details, Entry, Policy, Registry};
pub(crate) use requests::{NotAdmitted, Right, Who};
pub use ring::LogLimits;
pub(crate) use ring::{Read, Ring, SharedRing, Showing};
pub use thumbprint::{NoThumbprint, Thumbprint, Thumbprints};
pub use traffic::{Passed, Traffic};
pub(crate) use twin::Section;
pub use twin::{Twin, TwinError};
pub(crate) use twins::{How, TwinChange, Twins};
pub(crate) use unique::{guid_bytes, guid_text};
pub use value::Value;

use self::agenda::{Agenda, Due};
use self::cloud_to_device::Mailboxes;
use self::configurations::Configurations;
use self::connection::Connection;
use self::faults::Faults;
use self::feedback::Outbound;
use self::jobs::Jobs;
use self::log::Log;
use self::methods::Calls;
use self::pairs::Pairs;
use self::presence::Presences;
use self::record::{Changes, Part};
use crate::clock::Timestamp;

/// What a hub starts with.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) hub: HubName,
    pub(crate) names: Names,
    pub(crate) authorities: DeviceAuthorities,
    /// What each partition's next event gets.
    pub(crate) partitions: Vec<Place>,
    pub(crate) events: SharedRing<Event>,
    pub(crate) heads: Heads,
    pub(crate) endpoint: EventEndpoint,
    pub(crate) activities: SharedRing<Activity>,
    pub(crate) traffic: SharedRing<Traffic>,
    pub(crate) feedback: SharedRing<Feedback>,
    /// Services are done with what stands before this place of it.
    pub(crate) feedback_done: u64,
    pub(crate) now: Timestamp,
    pub(crate) cloud_to_device: CloudToDevice,
    /// How long what was opened with a token outlives it.
    pub(crate) token_grace: Duration,
    /// How long after its end a token is still taken, in whole seconds: clocks differ.
    pub(crate) clock_skew: Duration,
    pub(crate) limits: Limits,
    /// Random: it makes generation ids and tracking ids of two hubs differ.
    pub(crate) seed: u64,
    pub(crate) keeping: Keeping,
}

/// The hub. One task owns it.
#[derive(Debug)]
pub(crate) struct Hub {
    name: HubName,
    names: Names,
    authorities: DeviceAuthorities,
    registry: Registry,
    log: Log,
    endpoint: EventEndpoint,
    activities: SharedRing<Activity>,
    traffic: SharedRing<Traffic>,
    connections: BTreeMap<ConnectionId, Connection>,
    cloud_to_device: Mailboxes,
    feedback: Outbound,
    pairs: Pairs,
    twins: Twins,
    calls: Calls,
    presences: Presences,
    token_grace: Duration,
    clock_skew: Duration,
    agenda: Agenda,
    limits: Limits,
    faults: Faults,
    jobs: Jobs,
    configurations: Configurations,
    /// The answers that are held back, each for its entry on the agenda.
    held: BTreeMap<Reply, Answer>,
    changes: Changes,
    refusals: Refusals,
    effects: VecDeque<Effect>,
}

impl Hub {
    pub(crate) fn new(setup: Setup) -> Self {
        let mut hub = Self {
            name: setup.hub,
            names: setup.names,
            authorities: setup.authorities,
            registry: Registry::new(setup.seed),
            log: Log::new(setup.partitions, setup.events, setup.heads),
            endpoint: setup.endpoint,
            activities: setup.activities,
            traffic: setup.traffic,
            connections: BTreeMap::new(),
            cloud_to_device: Mailboxes::new(setup.cloud_to_device, setup.seed),
            feedback: Outbound::new(
                setup.feedback,
                setup.feedback_done,
                !setup.seed.rotate_left(32),
                setup.now,
            ),
            pairs: Pairs::default(),
            twins: Twins::new(),
            calls: Calls::new(!setup.seed),
            presences: Presences::default(),
            // From the token's own end, whatever the clocks may differ.
            token_grace: setup.token_grace.saturating_sub(setup.clock_skew),
            clock_skew: setup.clock_skew,
            agenda: Agenda::default(),
            limits: setup.limits,
            faults: Faults::default(),
            jobs: Jobs::default(),
            configurations: Configurations::default(),
            held: BTreeMap::new(),
            changes: Changes::new(setup.keeping),
            refusals: Refusals::new(setup.seed),
            effects: VecDeque::new(),
        };
        hub.agenda.set(Due::LogAge, hub.log.expires());
        hub.agenda.set(Due::Feedback, hub.feedback.batches.deadline());
        hub
    }

    pub(crate) fn handle(&mut self, from: ConnectionId, command: Command, now: Timestamp) {
        match command {
            Command::Came { peer } => {
                self.connections.insert(from, Connection::default());
                self.note(from, What::Came { peer }, now);
                self.strike_who_came(from, now);
            }
            Command::Authenticate {
                claim,
                certificate,
                reply,
            } => {
                let shows_nothing = matches!(claim, Claim::Nothing) && certificate.is_none();
                let outcome = self.authenticate(from, claim, certificate, now);
                let at = match outcome {
                    Ok(()) if !shows_nothing => self.count_connection(from, now),
                    _ => now,
                };
                self.answer_at(at, reply, Answer::Admitted(outcome), now);
                self.strike_who_is_known(from, now);
            }
            Command::PutToken { request, reply } => {
                let outcome = self.put_token(from, request, now);
                let at = *outcome.as_ref().unwrap_or(&now);
                let answer = match outcome {
                    Err(AuthFailure::Swallowed) => Answer::Silence,
                    outcome => Answer::Token(
                        outcome
                            .map(drop)
                            .map_err(|failure| TokenRefusal::new(&failure, self.name.as_str())),
                    ),
                };
                self.answer_at(at, reply, answer, now);
                self.strike_who_is_known(from, now);
            }
            Command::OpenLink {
                link,
                address,
                side,
                terms,
                reply,
            } => {
                let granted = self.grant(from, &address, side, &terms, now);
                let granted = granted.and_then(|grant| self.unless_refused_by_fault(grant, now));
                if let Err(refusal) = &granted {
                    let what = match &refusal.redirect {
                        Some(to) => What::Redirected {
                            to: to.address.clone(),
                        },
                        None => What::LinkRefused {
                            address,
                            condition: refusal.condition.as_str(),
                        },
                    };
                    self.note(from, what, now);
                }
                let grant = granted.as_ref().ok().cloned();
                self.effects
                    .push_back(Effect::Answer(reply, Answer::Link(granted)));
                // Behind the answer: a link takes orders once it knows that it is one.
                if let Some(grant) = grant {
                    self.open_link(from, link, &grant, &terms, now);
                    self.strike_link(from, link, &grant, now);
                }
            }
            Command::Telemetry {
                sender,
                deliveries,
                reply,
            } => {
                let told = self.telemetry(from, &sender, deliveries, now);
                self.answer_at(told.at, reply, Answer::Took(told.outcome), now);
                for fault in told.faults {
                    // A hub that has too many takes no notice of one more.
                    let _ = self.inject(fault.after(told.at, now), now);
                }
            }
            Command::Request { link, message, reply } => {
                let taken = self.request(from, link, &message, now);
                // What comes of it stands before: it is done when it is settled.
                self.effects
                    .push_back(Effect::Answer(reply, Answer::Taken(taken)));
            }
            Command::Send { message, reply } => {
                let outcome = self.send_from_service(from, *message, now);
                self.effects
                    .push_back(Effect::Answer(reply, Answer::Took(outcome)));
            }
            Command::Manage { token, reply } => {
                let may = self.may_manage(from, token.as_ref().map(Secret::expose), now);
                self.effects.push_back(Effect::Answer(reply, Answer::Taken(may)));
            }
            Command::Credit { link, credit } => self.credit(from, link, credit, now),
            Command::Settle {
                link,
                tag,
                outcome,
                reply,
            } => {
                let settled = self.settle(from, link, &tag, outcome, now);
                self.effects
                    .push_back(Effect::Answer(reply, Answer::Settled(settled)));
            }
            Command::LinkGone { link } => self.link_gone(from, link, now),
            Command::Gone { why } => {
                self.agenda.set(Due::Tokens(from), None);
                self.links_gone(from, now);
                self.connections.remove(&from);
                self.note(from, What::Gone { why }, now);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.agenda.first()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(due) = self.agenda.take(now) {
            match due {
                Due::Tokens(connection) => self.expire(connection, now),
                Due::Fault(fault) => self.turn_fault(fault, now),
                Due::Answer(reply) => self.effects.extend(
                    self.held
                        .remove(&reply)
                        .map(|answer| Effect::Answer(reply, answer)),
                ),
                Due::Call(reply) => self.expire_call(reply, now),
                Due::Mailbox(identity) => self.expire_mailbox(&identity, now),
                Due::LogAge => self.expire_events(now),
                Due::Job(id) => self.run_job(&id, now),
                Due::JobEnd(id) => self.expire_job(&id, now),
                Due::JobAnswers => self.take_job_answers(now),
                Due::Configurations => self.configure(now),
                Due::Feedback => self.expire_feedback(now),
            }
        }
    }

    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    pub(crate) fn register(
        &mut self,
        identity: &Identity,
        authentication: Authentication,
    ) -> Result<(), RegistryError> {
        self.registry.register(identity, authentication)?;
        self.changes.touch(|| Part::Identity(identity.clone()));
        self.twin_is_stale(identity);
        Ok(())
    }

    pub(crate) fn knows(&self, identity: &Identity) -> bool {
        self.registry.get(identity).is_some()
    }

    pub(crate) fn set_policy(&mut self, name: PolicyName, policy: Policy) {
        self.changes.touch(|| Part::Policy(name.clone()));
        self.registry.set_policy(name, policy);
    }

    /// Another authentication for an identity. Connections that the former one let in stay.
    pub(crate) fn set_authentication(
        &mut self,
        identity: &Identity,
        authentication: Authentication,
    ) -> Result<(), RegistryError> {
        self.registry.set_authentication(identity, authentication)?;
        self.changes.touch(|| Part::Identity(identity.clone()));
        Ok(())
    }

    pub(crate) fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.registry.devices()
    }

    pub(crate) fn policy(&self, name: &PolicyName) -> Option<&Policy> {
        self.registry.policy(name.as_str()).map(|(_, policy)| policy)
    }

    pub(crate) fn authentication(&self, identity: &Identity) -> Option<&Authentication> {
        self.registry.get(identity).map(|entry| &entry.authentication)
    }

    /// A tracking id for an answer that is made outside of the hub.
    pub(crate) fn tracking_id(&mut self, now: Timestamp) -> String {
        self.refusals.tracking_id(now)
    }

    /// Gives the answer at `at`, or now if that is not later. Who waits for it asks nothing meanwhile, so that no more
    /// are held than there are links and connections.
    fn answer_at(&mut self, at: Timestamp, reply: Reply, answer: Answer, now: Timestamp) {
        if at <= now {
            self.effects.push_back(Effect::Answer(reply, answer));
        } else {
            self.held.insert(reply, answer);
            self.agenda.set(Due::Answer(reply), Some(at));
        }
    }

    fn note(&self, connection: ConnectionId, what: What, now: Timestamp) {
        let weight = match &what {
            What::LinkRefused { address, .. } => address.len(),
            What::Redirected { to } => to.len(),
            What::Gone { why } => why.len(),
            _ => 0,
        };
        tracing::debug!(connection, "{what}");
        self.activities
            .lock()
            .push(Activity::new(now, connection, what).into(), weight, now);
    }
}

#[cfg(test)]
mod certificate_tests;
#[cfg(test)]
mod cloud_to_device_tests;
#[cfg(test)]
mod services_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod throttle_tests;
#[cfg(test)]
mod tokens_tests;
