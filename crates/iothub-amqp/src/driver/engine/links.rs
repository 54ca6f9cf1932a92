//! Attaching the links of a device or module.

use std::time::Duration;

use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::{Receiver, Sender};
use fe2o3_amqp_types::definitions::{Fields, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::{Source, Target};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use iothub_address::Node;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;

use super::conditions::{End, receiver_not_attached, sender_not_attached};
use super::connection::Channel;
use super::receiver::Inlet;
use super::rumour::made;
use super::sender::Link;
use crate::error::{ConnectError, Interruption, Phase};
use crate::recovery::Operation;

/// What a link is to be.
pub(crate) struct LinkPlan<'a> {
    /// What its name begins with.
    pub(crate) name: String,
    pub(crate) node: Node,
    /// What ties the two links of a pair together.
    pub(crate) correlation: Option<String>,
    /// Where the answers to requests come, by this side's name for it.
    pub(crate) reply_to: Option<&'a str>,
    pub(crate) reading: Option<Reading>,
    pub(crate) model: Option<&'a str>,
    /// Whether its transfers wait for outcomes.
    pub(crate) settled: bool,
}

/// From where a partition is read, and beside whom.
pub(crate) struct Reading {
    /// The selector that the events pass.
    pub(crate) selector: String,
    /// The owner level of a reader that reads alone.
    pub(crate) epoch: Option<i64>,
}

impl LinkPlan<'_> {
    /// A link to the node of which nothing more is to be said.
    pub(crate) fn to(name: &str, node: Node) -> Self {
        Self {
            name: name.to_owned(),
            node,
            correlation: None,
            reply_to: None,
            reading: None,
            model: None,
            settled: false,
        }
    }

    fn source(&self) -> Source {
        let source = Source::builder().address(self.node.to_string());
        let Some(reading) = &self.reading else {
            return source.build();
        };
        let described = Described {
            descriptor: Descriptor::Name(Symbol::from(SELECTOR)),
            value: Value::String(reading.selector.clone()),
        };
        source.add_to_filter(Symbol::from(SELECTOR), described).build()
    }

    fn properties(&self) -> Fields {
        let text = |text: &str| Value::String(text.to_owned());
        let all = [
            ("com.microsoft:client-version", Some(CLIENT_VERSION)),
            ("com.microsoft:api-version", Some(API_VERSION)),
            (
                "com.microsoft:channel-correlation-id",
                self.correlation.as_deref(),
            ),
            ("com.microsoft:model-id", self.model),
        ];
        let mut fields = Fields::new();
        for (key, value) in all {
            if let Some(value) = value {
                fields.insert(Symbol::from(key), text(value));
            }
        }
        if let Some(epoch) = self.reading.as_ref().and_then(|reading| reading.epoch) {
            fields.insert(Symbol::from(EPOCH), Value::Long(epoch));
        }
        fields
    }

    fn snd_settle_mode(&self) -> SenderSettleMode {
        if self.settled {
            SenderSettleMode::Settled
        } else {
            SenderSettleMode::Unsettled
        }
    }
}

impl Channel {
    /// Attaches a link that sends to the node, within `limit`.
    pub(crate) async fn sender(
        &mut self,
        plan: &LinkPlan<'_>,
        limit: Duration,
    ) -> Result<Link, ConnectError> {
        let name = self.names.unique(&plan.name);
        let load = self.manifest.load(&name, &self.held_back);
        let attaching = Sender::builder()
            .name(name)
            .target(Target::builder().address(plan.node.to_string()).build())
            .sender_settle_mode(plan.snd_settle_mode())
            .properties(plan.properties())
            // A hub may write the address back in its own spelling.
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut self.session);
        let sender = made(attaching, (Phase::Attach, limit), &self.fuse)
            .await?
            .map_err(|error| self.not_attached(sender_not_attached(error, &self.fuse)))?;
        self.check_handle()?;
        tracing::debug!(node = %plan.node, max_message_size = sender.max_message_size(), "link attached");
        Ok(Link::new(sender, load, self.fuse.clone()))
    }

    /// Attaches a link that receives from the node, within `limit`. Nothing comes before credit is granted.
    pub(crate) async fn receiver(
        &mut self,
        plan: &LinkPlan<'_>,
        limit: Duration,
    ) -> Result<Inlet, ConnectError> {
        let mut builder = Receiver::builder()
            .name(self.names.unique(&plan.name))
            .source(plan.source())
            .sender_settle_mode(plan.snd_settle_mode())
            .receiver_settle_mode(ReceiverSettleMode::First)
            .credit_mode(CreditMode::Manual)
            .properties(plan.properties())
            .verify_incoming_source(false)
            .verify_incoming_target(false);
        if let Some(address) = plan.reply_to {
            builder = builder.target(Target::builder().address(address).build());
        }
        if plan.reading.is_some() {
            builder = builder.add_desired_capabilities(RUNTIME_METRIC);
        }
        let attaching = builder.attach(&mut self.session);
        let receiver = made(attaching, (Phase::Attach, limit), &self.fuse)
            .await?
            .map_err(|error| self.not_attached(receiver_not_attached(error, &self.fuse)))?;
        self.check_handle()?;
        tracing::debug!(node = %plan.node, "link attached");
        Ok(Inlet::new(receiver, self.fuse.clone()))
    }
}

impl Channel {
    fn not_attached(&mut self, End { why, of }: End) -> ConnectError {
        if of != Operation::Link {
            self.ended = Some(of);
        }
        ConnectError::interrupted(Phase::Attach, why)
    }

    /// A link that was detached while this one was attached may have left something behind, and this one has its handle.
    fn check_handle(&self) -> Result<(), ConnectError> {
        if self.holds_back() {
            return Err(ConnectError::interrupted(Phase::Attach, Interruption::Closed));
        }
        Ok(())
    }
}

const CLIENT_VERSION: &str = concat!("iothub-amqp/", env!("CARGO_PKG_VERSION"), " (Rust)");

/// As the Node SDK says it, the newest of the SDKs'.
const API_VERSION: &str = "2021-04-12";

/// This side's end of the links to `$management`.
pub(crate) const REPLY_TO: &str = "management-replies";

/// As Event Hubs calls the filter of a reader, its owner level, and the wish to be told with each event how far its
/// partition has come.
const SELECTOR: &str = "apache.org:selector-filter:string";
const EPOCH: &str = "com.microsoft:epoch";
const RUNTIME_METRIC: &str = "com.microsoft:enable-receiver-runtime-metric";
