//! Attaching the links of a device or module.

use std::time::Duration;

use fe2o3_amqp::link::receiver::CreditMode;
use fe2o3_amqp::{Receiver, Sender};
use fe2o3_amqp_types::definitions::{Fields, ReceiverSettleMode, SenderSettleMode};
use fe2o3_amqp_types::messaging::{Source, Target};
use fe2o3_amqp_types::primitives::{Symbol, Value};
use iothub_address::Node;

use super::conditions::{receiver_not_attached, sender_not_attached};
use super::connection::Channel;
use super::receiver::Inlet;
use super::rumour::made;
use super::sender::Link;
use crate::error::{ConnectError, Phase};

/// What a link is to be.
pub(crate) struct LinkPlan<'a> {
    /// What its name begins with.
    pub(crate) name: &'a str,
    pub(crate) node: &'a Node,
    /// What ties the two links of a pair together.
    pub(crate) correlation: Option<&'a str>,
    pub(crate) model: Option<&'a str>,
    /// Whether its transfers wait for outcomes.
    pub(crate) settled: bool,
}

impl LinkPlan<'_> {
    fn properties(&self) -> Fields {
        let text = |text: &str| Value::String(text.to_owned());
        let all = [
            ("com.microsoft:client-version", Some(CLIENT_VERSION)),
            ("com.microsoft:api-version", Some(API_VERSION)),
            ("com.microsoft:channel-correlation-id", self.correlation),
            ("com.microsoft:model-id", self.model),
        ];
        let mut fields = Fields::new();
        for (key, value) in all {
            if let Some(value) = value {
                fields.insert(Symbol::from(key), text(value));
            }
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
        let attaching = Sender::builder()
            .name(self.names.unique(plan.name))
            .target(Target::builder().address(plan.node.to_string()).build())
            .sender_settle_mode(plan.snd_settle_mode())
            .properties(plan.properties())
            // A hub may write the address back in its own spelling.
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut self.session);
        let sender = made(attaching, (Phase::Attach, limit), &self.fuse)
            .await?
            .map_err(|error| {
                ConnectError::interrupted(Phase::Attach, sender_not_attached(error, &self.fuse))
            })?;
        tracing::debug!(node = %plan.node, max_message_size = sender.max_message_size(), "link attached");
        Ok(Link::new(sender, self.fuse.clone()))
    }

    /// Attaches a link that receives from the node, within `limit`. Nothing comes before credit is granted.
    pub(crate) async fn receiver(
        &mut self,
        plan: &LinkPlan<'_>,
        limit: Duration,
    ) -> Result<Inlet, ConnectError> {
        let attaching = Receiver::builder()
            .name(self.names.unique(plan.name))
            .source(Source::builder().address(plan.node.to_string()).build())
            .sender_settle_mode(plan.snd_settle_mode())
            .receiver_settle_mode(ReceiverSettleMode::First)
            .credit_mode(CreditMode::Manual)
            .properties(plan.properties())
            .verify_incoming_source(false)
            .verify_incoming_target(false)
            .attach(&mut self.session);
        let receiver = made(attaching, (Phase::Attach, limit), &self.fuse)
            .await?
            .map_err(|error| {
                ConnectError::interrupted(Phase::Attach, receiver_not_attached(error, &self.fuse))
            })?;
        tracing::debug!(node = %plan.node, "link attached");
        Ok(Inlet::new(receiver, self.fuse.clone()))
    }
}

const CLIENT_VERSION: &str = concat!("iothub-amqp/", env!("CARGO_PKG_VERSION"), " (Rust)");

/// As the Node SDK says it, the newest of the SDKs'.
const API_VERSION: &str = "2021-04-12";
