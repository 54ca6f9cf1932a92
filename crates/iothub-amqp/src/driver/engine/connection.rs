//! Opening a connection, its session and its one sending link; and ending them.

use std::time::Duration;

use fe2o3_amqp::connection::{ConnectionHandle, OpenError};
use fe2o3_amqp::link::SenderAttachError;
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::{BeginError, SessionHandle};
use fe2o3_amqp::transport;
use fe2o3_amqp::{Connection, Sender, Session};
use fe2o3_amqp_types::definitions::{Fields, SenderSettleMode};
use fe2o3_amqp_types::messaging::Target;
use fe2o3_amqp_types::primitives::{Binary, Symbol, Value};
use fe2o3_amqp_types::sasl::{SaslCode, SaslInit};
use iothub_frame::{Blown, Fuse, Guarded, Limits, MIN_MAX_FRAME_SIZE};
use iothub_sas::SasToken;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::conditions::{condition, connection_ended, connection_stopped, lost, session_stopped};
use super::sender::Link;
use crate::error::{CloseError, ConnectError, Interruption, Lost, Phase};

/// What SASL PLAIN sends: a user name as it stands (no escapes) and the whole token.
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) token: SasToken,
}

impl Login {
    /// Refuses what does not fit into one SASL frame; the engine would fail on it with no word of why.
    pub(crate) fn check_size(&self) -> Result<(), ConnectError> {
        let init = SaslInit {
            mechanism: Symbol::from("PLAIN"),
            initial_response: Some(Binary::from(
                ["", &self.user, self.token.expose()].join("\0").into_bytes(),
            )),
            hostname: None,
        };
        let limit = MIN_MAX_FRAME_SIZE as usize;
        let size = FRAME_HEADER + serde_amqp::serialized_size(&init).unwrap_or(usize::MAX - FRAME_HEADER);
        if size > limit {
            return Err(ConnectError::TokenTooLong { size, limit });
        }
        Ok(())
    }

    fn profile(&self) -> SaslProfile {
        SaslProfile::Plain {
            username: self.user.clone(),
            password: self.token.expose().to_owned(),
        }
    }
}

/// What a connection is opened with, and what its link is attached to.
pub(crate) struct Opening<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) container_id: String,
    pub(crate) login: &'a Login,
    pub(crate) link_name: String,
    /// The address of the node to send to.
    pub(crate) target: String,
    /// Bounds each step.
    pub(crate) limit: Duration,
    pub(crate) idle_timeout: Duration,
}

/// An open connection: what keeps it alive, and the link to send on.
pub(crate) struct Wire {
    pub(crate) life: Life,
    pub(crate) link: Link,
}

/// Opens all of it over `stream`. Every step is bounded; what was opened of a failed attempt is gone with its fuse.
pub(crate) async fn open<S>(stream: S, opening: Opening<'_>) -> Result<Wire, ConnectError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (stream, fuse) = Guarded::new(
        stream,
        Limits {
            stall: opening.limit,
            ..Limits::default()
        },
    );
    let blow = BlowOnDrop(fuse.clone());
    let wire = open_guarded(stream, fuse, opening).await?;
    blow.disarm();
    Ok(wire)
}

async fn open_guarded<S>(stream: Guarded<S>, fuse: Fuse, opening: Opening<'_>) -> Result<Wire, ConnectError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let limit = opening.limit;
    let timed_out = |phase| move |_| ConnectError::TimedOut { phase, after: limit };

    let idle = u32::try_from(opening.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let connecting = Connection::builder()
        .container_id(opening.container_id)
        .hostname(opening.hostname)
        .max_frame_size(Limits::default().frames.max_frame)
        .idle_time_out(idle)
        .sasl_profile(opening.login.profile())
        .open_with_stream(stream);
    let mut connection = timeout(limit, connecting)
        .await
        .map_err(timed_out(Phase::Open))?
        .map_err(|error| open_failed(error, &fuse))?;
    tracing::debug!("connection open");

    let mut session = timeout(limit, Session::begin(&mut connection))
        .await
        .map_err(timed_out(Phase::Begin))?
        .map_err(|error| begin_failed(error, &fuse))?;

    let mut properties = Fields::new();
    properties.insert(
        Symbol::from("com.microsoft:client-version"),
        Value::String(CLIENT_VERSION.to_owned()),
    );
    let attaching = Sender::builder()
        .name(opening.link_name)
        .target(Target::builder().address(opening.target).build())
        .sender_settle_mode(SenderSettleMode::Unsettled)
        .properties(properties)
        // A hub may write the address back in its own spelling.
        .verify_incoming_source(false)
        .verify_incoming_target(false)
        .attach(&mut session);
    let sender = timeout(limit, attaching)
        .await
        .map_err(timed_out(Phase::Attach))?
        .map_err(|error| attach_failed(error, &fuse))?;
    tracing::debug!(max_message_size = sender.max_message_size(), "link attached");

    let link = Link::new(sender, fuse.clone());
    Ok(Wire {
        life: Life {
            connection,
            session,
            fuse,
        },
        link,
    })
}

/// The parts of an open connection that are not its links.
pub(crate) struct Life {
    connection: ConnectionHandle<()>,
    session: SessionHandle<()>,
    fuse: Fuse,
}

impl Life {
    /// Waits for the connection's end. Cancel safe; not to be called again once it has answered.
    pub(crate) async fn ended(&mut self) -> Interruption {
        let error = self.connection.on_close().await.err();
        connection_ended(error, &self.fuse)
    }

    /// Detaches, ends and closes, all within `limit`; whatever the peer does, nothing is left of it afterwards.
    pub(crate) async fn close(mut self, link: Link, limit: Duration) -> Result<(), CloseError> {
        let _blow = BlowOnDrop(self.fuse.clone());
        let farewell = async {
            // A link or session that the peer ended first is no reason not to close the connection.
            let _ = link.close().await;
            let _ = self.session.end().await;
            // Towards a peer that does not answer, the engine spins in here until the fuse blows.
            let closed = self.connection.close().await;
            drop((self.session, self.connection));
            self.fuse.drained().await;
            closed
        };
        match timeout(limit, farewell).await {
            Err(_) => Err(CloseError::TimedOut { after: limit }),
            Ok(Err(error)) => Err(CloseError::Ended(connection_ended(Some(error), &self.fuse))),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// Ends at once, without a word to the peer.
    pub(crate) fn abandon(self, link: Link) {
        self.fuse.blow(Blown::Stopped);
        // In this order: a link that outlives its connection keeps its deliveries waiting.
        drop(link);
        drop(self.session);
        drop(self.connection);
    }
}

/// Ends the stream if an attempt fails or its future is dropped: nothing else ends an engine that waits.
struct BlowOnDrop(Fuse);

impl BlowOnDrop {
    fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for BlowOnDrop {
    fn drop(&mut self) {
        self.0.blow(Blown::Stopped);
    }
}

fn open_failed(error: OpenError, fuse: &Fuse) -> ConnectError {
    match error {
        OpenError::SaslError { code, .. } => ConnectError::Refused {
            code: sasl_code(&code),
        },
        OpenError::NotImplemented(_) if fuse.why().is_none() => ConnectError::PlainNotOffered,
        OpenError::ProtocolHeaderMismatch(header) => ConnectError::WrongHeader(header.to_vec()),
        OpenError::RemoteClosedWithError(error) => ConnectError::RefusedWith {
            phase: Phase::Open,
            condition: condition(error),
        },
        OpenError::RemoteClosed => interrupted(Phase::Open, Interruption::Closed),
        OpenError::TransportError(transport::Error::IdleTimeoutElapsed) => {
            interrupted(Phase::Open, Interruption::Lost(Lost::Idle))
        }
        _ => interrupted(Phase::Open, lost(fuse)),
    }
}

fn begin_failed(error: BeginError, fuse: &Fuse) -> ConnectError {
    let why = match error {
        BeginError::RemoteEndedWithError(error) => Interruption::Refused(condition(error)),
        BeginError::RemoteEnded => Interruption::Closed,
        BeginError::ConnectionStopped(reason) => connection_stopped(reason, fuse),
        _ => lost(fuse),
    };
    interrupted(Phase::Begin, why)
}

fn attach_failed(error: SenderAttachError, fuse: &Fuse) -> ConnectError {
    let why = match error {
        SenderAttachError::RemoteClosedWithError(error) => Interruption::Refused(condition(error)),
        SenderAttachError::SessionStopped(reason) => session_stopped(reason, fuse),
        SenderAttachError::IncomingTargetIsNone | SenderAttachError::ExpectImmediateDetach => {
            Interruption::Closed
        }
        _ => lost(fuse),
    };
    interrupted(Phase::Attach, why)
}

fn interrupted(phase: Phase, why: Interruption) -> ConnectError {
    match why {
        Interruption::Refused(condition) => ConnectError::RefusedWith { phase, condition },
        Interruption::Lost(Lost::Stream(Blown::Misbehaved(violation))) => {
            ConnectError::PeerMisbehaved(violation)
        }
        Interruption::Lost(why) => ConnectError::Lost { phase, why },
        Interruption::TimedOut { phase, after } => ConnectError::TimedOut { phase, after },
        _ => ConnectError::Lost {
            phase,
            why: Lost::Stream(Blown::PeerClosed),
        },
    }
}

/// The numbers of AMQP 1.0 §5.3.3.6.
fn sasl_code(code: &SaslCode) -> u8 {
    match code {
        SaslCode::Ok => 0,
        SaslCode::Auth => 1,
        SaslCode::Sys => 2,
        SaslCode::SysPerm => 3,
        SaslCode::SysTemp => 4,
    }
}

const FRAME_HEADER: usize = 8;
const CLIENT_VERSION: &str = concat!("iothub-amqp/", env!("CARGO_PKG_VERSION"), " (Rust)");
