//! One connection's way to the hub.

use std::sync::atomic::Ordering;

use iothub_address::{Identity, Secret};
use tokio::sync::{mpsc, oneshot};

use super::{Ask, HubHandle, HubStopped, LinkOrder, Request};
use crate::hub::{
    Answer, AuthFailure, Claim, ClientCertificate, ConnectionId, Credit, Delivery, Grant, LinkId, LockToken,
    Message, Outcome, Refusal, Side, Terms, TokenRefusal, TokenRequest, Verdict,
};

/// One connection's way to the hub. Clones speak for the same connection.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(super) hub: HubHandle,
    pub(super) connection: ConnectionId,
}

impl Client {
    pub(crate) const fn connection(&self) -> ConnectionId {
        self.connection
    }

    pub(crate) async fn authenticate(
        &self,
        claim: Claim,
        certificate: Option<ClientCertificate>,
    ) -> Result<Result<(), AuthFailure>, HubStopped> {
        match self.ask(Ask::Authenticate { claim, certificate }).await? {
            Answer::Admitted(outcome) => Ok(outcome),
            _ => Err(HubStopped),
        }
    }

    /// `None` is no answer: the client is not to be told.
    pub(crate) async fn put_token(
        &self,
        request: TokenRequest,
    ) -> Result<Option<Result<(), TokenRefusal>>, HubStopped> {
        match self.ask(Ask::PutToken(request)).await? {
            Answer::Token(outcome) => Ok(Some(outcome)),
            Answer::Silence => Ok(None),
            _ => Err(HubStopped),
        }
    }

    pub(crate) async fn open_link(
        &self,
        address: String,
        side: Side,
        terms: Terms,
    ) -> Result<Result<Opened, Refusal>, HubStopped> {
        let link = self.hub.links.fetch_add(1, Ordering::Relaxed) + 1;
        let (orders, ordered) = mpsc::channel(LINK_ORDERS);
        let ask = Ask::OpenLink {
            link,
            orders,
            address,
            side,
            terms,
        };
        match self.ask(ask).await? {
            Answer::Link(outcome) => Ok(outcome.map(|grant| Opened {
                link,
                grant,
                orders: ordered,
            })),
            _ => Err(HubStopped),
        }
    }

    /// How much the client takes over a link that it receives from.
    pub(crate) async fn credit(&self, link: LinkId, credit: Credit) -> Result<(), HubStopped> {
        let said = Request::Credit {
            connection: self.connection,
            link,
            credit,
        };
        self.hub.send(said).await
    }

    /// A message that came over a link that is half of a pair.
    pub(crate) async fn pair_message(
        &self,
        link: LinkId,
        message: Message,
    ) -> Result<Result<(), Refusal>, HubStopped> {
        match self
            .ask(Ask::Request {
                link,
                message: Box::new(message),
            })
            .await?
        {
            Answer::Taken(outcome) => Ok(outcome),
            _ => Err(HubStopped),
        }
    }

    /// A message of a service to a device.
    pub(crate) async fn send_to_device(
        &self,
        message: Message,
    ) -> Result<Result<Verdict, Refusal>, HubStopped> {
        let message = Box::new(message);
        match self.ask(Ask::Send { message }).await? {
            Answer::Took(outcome) => Ok(outcome),
            _ => Err(HubStopped),
        }
    }

    /// Whether it may ask the management node, with this token or with those that it has put.
    pub(crate) async fn may_manage(&self, token: Option<Secret>) -> Result<Result<(), Refusal>, HubStopped> {
        match self.ask(Ask::Manage { token }).await? {
            Answer::Taken(outcome) => Ok(outcome),
            _ => Err(HubStopped),
        }
    }

    /// What the device says of a delivery.
    pub(crate) async fn settle(
        &self,
        link: LinkId,
        tag: LockToken,
        outcome: Outcome,
    ) -> Result<Result<(), Refusal>, HubStopped> {
        match self.ask(Ask::Settle { link, tag, outcome }).await? {
            Answer::Settled(outcome) => Ok(outcome),
            _ => Err(HubStopped),
        }
    }

    /// Must be said of each link that was opened: until then the hub counts it.
    pub(crate) async fn link_gone(&self, link: LinkId) {
        let gone = Request::LinkGone {
            connection: self.connection,
            link,
        };
        // A hub that has stopped counts no links.
        let _ = self.hub.send(gone).await;
    }

    pub(crate) async fn telemetry(
        &self,
        sender: Identity,
        deliveries: Vec<Delivery>,
    ) -> Result<Took, HubStopped> {
        self.request(Ask::Telemetry { sender, deliveries })
            .await
            .map(Took)
    }

    pub(crate) async fn gone(&self, why: String) {
        let gone = Request::Gone {
            connection: self.connection,
            why,
        };
        // A hub that has stopped has nobody connected.
        let _ = self.hub.send(gone).await;
    }

    async fn ask(&self, ask: Ask) -> Result<Answer, HubStopped> {
        self.request(ask).await?.await.map_err(|_| HubStopped)
    }

    /// Returns when it is on its way to the hub.
    async fn request(&self, ask: Ask) -> Result<oneshot::Receiver<Answer>, HubStopped> {
        let (answer, answered) = oneshot::channel();
        self.hub
            .send(Request::Ask {
                connection: self.connection,
                ask,
                answer,
            })
            .await?;
        Ok(answered)
    }
}

/// The hub's answer to telemetry that it was sent.
pub(crate) struct Took(oneshot::Receiver<Answer>);

impl Took {
    pub(crate) async fn wait(self) -> Result<Result<Verdict, Refusal>, HubStopped> {
        match self.0.await {
            Ok(Answer::Took(outcome)) => Ok(outcome),
            _ => Err(HubStopped),
        }
    }
}

/// A link that the hub granted.
pub(crate) struct Opened {
    pub(crate) link: LinkId,
    pub(crate) grant: Grant,
    /// What the hub wants of it. When they end it must end.
    pub(crate) orders: mpsc::Receiver<LinkOrder>,
}

/// How many orders may wait for a link that has not come for them; one more ends it. A burst of method calls is as many.
const LINK_ORDERS: usize = 256;
