//! A request to its end: a token, a connection, perhaps again, and never beyond the deadline.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use iothub_sas::SasToken;
use tokio::time::{Instant, sleep, timeout_at};

use crate::credential::{Age, Tokens};
use crate::dial::{Dial, Sender};
use crate::error::{Interruption, NotSent, RegistryError, Step};
use crate::pool::Pool;
use crate::refusal::Refusal;
use crate::reply::{NotRead, Reply};
use crate::request::Call;
use crate::retry::{Ended, Retry};

/// What requests need.
pub(crate) struct Exchange {
    pub(crate) dial: Dial,
    pub(crate) tokens: Tokens,
    pub(crate) pool: Pool,
    pub(crate) deadline: Duration,
    pub(crate) largest_reply: usize,
}

/// How far a call has come, for the one who ends it.
pub(crate) struct Progress(AtomicU8);

impl Progress {
    pub(crate) fn at(&self, step: Step) {
        self.0.store(step as u8, Ordering::Relaxed);
    }

    fn sent(&self) {
        self.0.store(SENT, Ordering::Relaxed);
    }

    /// `None` once it was sent.
    fn step(&self) -> Option<Step> {
        let all = [
            Step::Token,
            Step::Connecting,
            Step::Proxy,
            Step::Tls,
            Step::Waiting,
        ];
        let at = self.0.load(Ordering::Relaxed);
        all.into_iter().find(|step| *step as u8 == at)
    }
}

impl Exchange {
    /// An answer of the hub's that is a success.
    pub(crate) async fn run(&self, call: &Call) -> Result<Reply, RegistryError> {
        let reply = self.run_any(call).await?;
        if reply.is_success() {
            return Ok(reply);
        }
        Err(refusal(&reply).into())
    }

    /// The hub's last answer.
    pub(crate) async fn run_any(&self, call: &Call) -> Result<Reply, RegistryError> {
        let limit = self.deadline + call.more_time;
        let end = Instant::now() + limit;
        let progress = Progress(AtomicU8::new(Step::Token as u8));
        let ended = timeout_at(end, Box::pin(self.attempts(call, end, &progress))).await;
        ended.unwrap_or_else(|_| {
            Err(match progress.step() {
                Some(step) => NotSent::TimedOut { step, after: limit }.into(),
                None => Interruption::TimedOut { after: limit }.into(),
            })
        })
    }

    async fn attempts(&self, call: &Call, end: Instant, progress: &Progress) -> Result<Reply, RegistryError> {
        let mut retry = Retry::new(call.safety);
        let mut refused = None;
        loop {
            progress.at(Step::Token);
            let token = self.tokens.get(refused).await;
            let (token, number, age) = token.map_err(RegistryError::Credential)?;
            let outcome = self.attempt(call, &token, progress).await;
            let ended = match &outcome {
                Ok(reply) if reply.is_success() => return outcome,
                // It holds no longer, or the key was changed: the hub has done nothing.
                Ok(reply)
                    if reply.status == 401
                        && refused.is_none()
                        && self.tokens.renews()
                        && age == Age::Kept =>
                {
                    refused = Some(number);
                    continue;
                }
                Ok(reply) => Ended::Status(reply.status, reply.retry_after()),
                Err(RegistryError::NotSent(
                    NotSent::Connect { .. } | NotSent::ProxyUnreachable { .. } | NotSent::Lost { .. },
                )) => Ended::NotSent,
                Err(RegistryError::Unknown(_)) => Ended::Lost,
                Err(_) => return outcome,
            };
            let dice = getrandom::u32().unwrap_or_default().to_le_bytes()[0];
            match retry.after(ended, dice) {
                // Who has to wait for longer than there is time learns it now.
                Some(wait) if Instant::now() + wait < end => {
                    tracing::debug!(?ended, ?wait, "asking again");
                    progress.at(Step::Waiting);
                    sleep(wait).await;
                }
                _ => return outcome,
            }
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        token: &SasToken,
        progress: &Progress,
    ) -> Result<Reply, RegistryError> {
        let mut idle = self.pool.take(call.safety);
        loop {
            let was_idle = idle.is_some();
            let mut sender = match idle.take() {
                Some(sender) => sender,
                None => self.dial.connect(progress).await?,
            };
            if let Err(error) = sender.ready().await {
                if was_idle {
                    continue;
                }
                return Err(self.dial.lost(&error).into());
            }
            return match self.send(&mut sender, call, token, progress).await {
                Ok(reply) => {
                    self.pool.put(sender);
                    Ok(reply)
                }
                // It ended while it waited.
                Err(RegistryError::NotSent(NotSent::Lost { .. })) if was_idle => continue,
                Err(error) => Err(error),
            };
        }
    }

    async fn send(
        &self,
        sender: &mut Sender,
        call: &Call,
        token: &SasToken,
        progress: &Progress,
    ) -> Result<Reply, RegistryError> {
        let request = self.request(call, token)?;
        progress.sent();
        let answer = sender.try_send_request(request).await;
        let response = answer.map_err(|mut failed| {
            let is_here = failed.take_message().is_some();
            let error = failed.into_error();
            if is_here {
                RegistryError::from(self.dial.lost(&error))
            } else {
                Interruption::Lost(crate::wire::chain(&error)).into()
            }
        })?;
        Reply::read(response, self.largest_reply)
            .await
            .map_err(|why| match why {
                NotRead::Lost(why) => why.into(),
                NotRead::TooLarge(why) => why.into(),
            })
    }

    fn request(&self, call: &Call, token: &SasToken) -> Result<Request<Full<Bytes>>, RegistryError> {
        let mut authorization = HeaderValue::from_str(token.expose())
            .map_err(|_| RegistryError::Unfit("a header can't hold this token"))?;
        authorization.set_sensitive(true);
        let host = if self.dial.port == crate::registry::HTTPS_PORT {
            self.dial.host.to_string()
        } else {
            self.dial.place()
        };
        let mut request = Request::builder()
            .method(&call.method)
            .uri(&call.target)
            .header(HOST, host)
            .header(USER_AGENT, AGENT)
            .header(AUTHORIZATION, authorization);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json; charset=utf-8");
        }
        let body = call.body.clone().map_or_else(Full::default, Full::new);
        request
            .body(body)
            .map_err(|_| RegistryError::Unfit("the request's path can't be written"))
    }
}

pub(crate) fn refusal(reply: &Reply) -> Refusal {
    Refusal::read(reply.status, &reply.headers, &reply.body, reply.retry_after())
}

const SENT: u8 = u8::MAX;
const AGENT: &str = concat!("iothub-registry/", env!("CARGO_PKG_VERSION"));
