//! The service's REST API: requests become what the hub is asked, and what it says becomes answers. What is allowed, and
//! what comes of it, is the hub's to say.
//!
//! A request is looked at in this order: its path, its credentials, its `api-version`, its body. A stranger so learns
//! nothing but which paths there are, and nobody reads what it sends.

mod asked;
mod blobs;
mod body;
mod bulk;
mod code;
mod configurations;
mod digital_twins;
mod identities;
mod jobs;
mod methods;
mod polling;
mod queries;
mod refusal;
mod reply;
mod route;
mod target;
mod twins;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{Method, Request, Response};

use self::asked::Asked;
use self::body::{Bodies, Body};
use self::code::Code;
use self::refusal::Refusal;
use self::reply::Reply;
use self::route::Operation;
use self::target::{Parameters, Path};
use crate::hub::ClientCertificate;
use crate::owner::HubHandle;

/// The REST API of a hub. Clones are of the same.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    hub: HubHandle,
    bodies: Bodies,
}

impl Rest {
    pub(crate) fn new(hub: HubHandle) -> Self {
        Self {
            hub,
            bodies: Bodies::new(),
        }
    }

    /// `certificate` is what the client showed in its TLS handshake.
    pub(crate) async fn answer(
        &self,
        request: &mut Request<Incoming>,
        certificate: Option<&ClientCertificate>,
    ) -> Response<Full<Bytes>> {
        match self.serve(request, certificate).await {
            Ok(reply) => reply.into_response(),
            Err(refusal) => {
                let traced = self.hub.run(|hub, now| (hub.tracking_id(now), now)).await;
                let (id, now) = traced.unwrap_or_default();
                refusal.into_response(&id, now)
            }
        }
    }

    async fn serve(
        &self,
        request: &mut Request<Incoming>,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Reply, Refusal> {
        let path = Path::parse(request.uri().path())?;
        let operation = Operation::of(request.method(), path.segments())?;
        let token = request.headers().get(AUTHORIZATION);
        // What is no text is no token, and shown all the same.
        let token = token.map(|token| token.to_str().unwrap_or_default().to_owned());
        let (who, text) = (operation.who(), path.text());
        let certificate = certificate.cloned();
        let admitted = self
            .hub
            .run(move |hub, now| hub.admit_request(token.as_deref(), certificate.as_ref(), &text, &who, now));
        let method = admitted.await??;
        let query = Parameters::parse(request.uri().query())?;
        if query.get("api-version").is_none() {
            return Err(Refusal::new(
                Code::InvalidProtocolVersion,
                "The query has no api-version.",
            ));
        }
        let body = match *request.method() {
            Method::GET | Method::DELETE => Body::default(),
            _ => self.bodies.read(request).await?,
        };
        let asked = Asked {
            hub: &self.hub,
            headers: request.headers(),
            query,
            body,
            method,
        };
        operation.perform(asked).await
    }
}

const JSON: &str = "application/json; charset=utf-8";
