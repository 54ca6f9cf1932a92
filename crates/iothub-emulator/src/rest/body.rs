//! Bodies of requests: how large each may be, how long it may take, and how much all of them hold together.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::code::Code;
use super::refusal::Refusal;

/// Where bodies are read. Clones share what they hold.
#[derive(Clone, Debug)]
pub(super) struct Bodies(Arc<Semaphore>);

/// A body that was read; it counts among all of them until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _permits: Option<OwnedSemaphorePermit>,
}

impl Bodies {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_ALL / UNIT)))
    }

    pub(super) async fn read(&self, request: &mut Request<Incoming>) -> Result<Body, Refusal> {
        match timeout(BODY_TIMEOUT, self.collect(request.body_mut())).await {
            Ok(read) => read,
            Err(_) => Err(Refusal::new(
                Code::RequestTimeout,
                "The body did not come in time.",
            )),
        }
    }

    async fn collect(&self, body: &mut Incoming) -> Result<Body, Refusal> {
        let too_large = || {
            let text = format!("A body has at most {MAX_BODY} bytes.");
            Refusal::new(Code::MessageTooLarge, text)
        };
        if body.size_hint().lower() > MAX_BODY as u64 {
            return Err(too_large());
        }
        let mut read = Vec::new();
        let mut permits: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::invalid("The body broke off."))?;
            let Ok(data) = frame.into_data() else { continue };
            if read.len() + data.len() > MAX_BODY {
                return Err(too_large());
            }
            if read.capacity() - read.len() < data.len() {
                // By doubling it would hold up to twice what counts.
                read.reserve_exact(data.len().max(STEP));
            }
            read.extend_from_slice(&data);
            let held = permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let more = read.len().div_ceil(UNIT).saturating_sub(held);
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            // Not waited for: who holds the others may be waiting for the same.
            let more = Arc::clone(&self.0)
                .try_acquire_many_owned(more)
                .map_err(|_| Refusal::busy("Too much is being asked of the hub at once."))?;
            match &mut permits {
                Some(permits) => permits.merge(more),
                None => permits = Some(more),
            }
        }
        Ok(Body {
            bytes: read.into(),
            _permits: permits,
        })
    }
}

/// The largest body, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// The most that all bodies hold together which are being read or worked on, in bytes.
const MAX_ALL: usize = 64 * 1024 * 1024;
/// In which steps that is counted, in bytes.
const UNIT: usize = 1024;
/// In which steps a body grows, in bytes.
const STEP: usize = 64 * 1024;
/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);
