//! The administration of a running hub, on its HTTPS port: JSON over requests that show the hub's own token.
//!
//! A route is a line of [`Admin::serve`] and a function that takes the hub and the body, and gives a [`Reply`] or a
//! [`Refusal`].

mod clock;
mod connecting;
mod export;
mod faults;
mod refusal;
mod token;

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use self::refusal::Refusal;
pub(crate) use self::token::AdminToken;
use crate::emulator::Way;
use crate::owner::HubHandle;

/// What its owner may ask of a hub.
pub(crate) struct Admin {
    hub: HubHandle,
    token: AdminToken,
    way: Way,
}

impl Admin {
    pub(crate) const fn new(hub: HubHandle, token: AdminToken, way: Way) -> Self {
        Self { hub, token, way }
    }

    /// Whether a path is of the administration, be there something or not.
    pub(crate) fn owns(path: &str) -> bool {
        path.strip_prefix(PREFIX)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    pub(crate) async fn answer(&self, request: &mut Request<Incoming>) -> Response<Full<Bytes>> {
        match self.serve(request).await {
            Ok(reply) => reply.into_response(),
            Err(refusal) => refusal.into_response(),
        }
    }

    /// The token first: who has none does not learn what there is.
    async fn serve(&self, request: &mut Request<Incoming>) -> Result<Reply, Refusal> {
        if !self.token.is_shown_in(request.headers()) {
            return Err(Refusal::Unauthorized);
        }
        let path = request.uri().path();
        let path = path.strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let hub = &self.hub;
        match (path.as_str(), request.method().clone()) {
            ("/connection-string", Method::POST) => {
                connecting::string(hub, self.way, read(request).await?).await
            }
            ("/connection-string", _) => Err(Refusal::Method("POST")),
            ("/clock", Method::GET) => clock::show(hub).await,
            ("/clock", Method::POST) => clock::turn(hub, read(request).await?).await,
            ("/clock", _) => Err(Refusal::Method("GET, POST")),
            ("/export", Method::GET) => export::all(hub, request.uri().query()).await,
            ("/export", _) => Err(Refusal::Method("GET")),
            ("/faults", Method::GET) => faults::list(hub).await,
            ("/faults", Method::POST) => faults::inject(hub, read(request).await?).await,
            ("/faults", Method::DELETE) => faults::clear(hub).await,
            ("/faults", _) => Err(Refusal::Method("GET, POST, DELETE")),
            _ => Err(Refusal::NoSuchPath),
        }
    }
}

/// What a request is answered with that was served.
pub(crate) struct Reply {
    content_type: &'static str,
    body: Bytes,
}

impl Reply {
    fn json(value: &serde_json::Value) -> Self {
        Self {
            content_type: JSON,
            body: value.to_string().into(),
        }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        let content_type = HeaderValue::from_static(self.content_type);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}

/// The body of a request, as JSON.
async fn read<T: DeserializeOwned>(request: &mut Request<Incoming>) -> Result<T, Refusal> {
    let body = Limited::new(request.body_mut(), MAX_BODY).collect();
    let body = match timeout(BODY_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return Err(Refusal::TooLarge),
        Ok(Err(_)) => return Err(Refusal::Broken),
        Err(_) => return Err(Refusal::Slow),
    };
    serde_json::from_slice(&body).map_err(Refusal::Form)
}

/// Where the administration begins. The real hub's REST API has nothing of that name.
const PREFIX: &str = "/admin";
const JSON: &str = "application/json; charset=utf-8";
/// The most bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;
/// How long a request's body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
