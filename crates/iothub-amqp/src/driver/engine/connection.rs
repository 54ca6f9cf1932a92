//! Opening a connection and its sessions; and ending them.

use std::pin::pin;
use std::time::Duration;

use fe2o3_amqp::connection::{ConnectionHandle, OpenError};
use fe2o3_amqp::sasl_profile::SaslProfile;
use fe2o3_amqp::session::{BeginError, SessionHandle};
use fe2o3_amqp::transport;
use fe2o3_amqp::{Connection, Session};
use fe2o3_amqp_types::primitives::{Binary, Symbol};
use fe2o3_amqp_types::sasl::{SaslCode, SaslInit};
use iothub_frame::{Blown, Fuse, Guarded, Limits, MIN_MAX_FRAME_SIZE};
use iothub_sas::SasToken;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::conditions::{condition, connection_ended, connection_stopped, lost};
use super::inward::Inward;
use super::manifest::{HeldBack, Manifest};
use super::outward::Outward;
use super::rumour::made;
use crate::driver::REASON_TIMEOUT;
use crate::driver::names::Names;
use crate::error::{ConnectError, Interruption, Lost, Phase};
use crate::recovery::Operation;

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

/// How a connection is signed in.
pub(crate) enum Sasl {
    Plain(Login),
    /// What comes before claims-based security.
    Anonymous,
    /// The client's certificate has said who it is.
    None,
}

/// What a connection is opened with.
pub(crate) struct Opening<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) container_id: String,
    /// What its links are called by.
    pub(crate) names: Names,
    pub(crate) sasl: Sasl,
    /// Bounds each step.
    pub(crate) limit: Duration,
    pub(crate) idle_timeout: Duration,
}

/// Opens a connection over `stream`. Every step is bounded; what was opened of a failed attempt is gone with its fuse.
pub(crate) async fn open<S>(stream: S, opening: Opening<'_>) -> Result<Line, ConnectError>
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
    let limit = opening.limit;
    let idle = u32::try_from(opening.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let is_plain = matches!(opening.sasl, Sasl::Plain(_));
    let profile = match opening.sasl {
        Sasl::Plain(login) => Some(login.profile()),
        Sasl::Anonymous => Some(SaslProfile::Anonymous),
        Sasl::None => None,
    };
    let mut builder = Connection::builder()
        .container_id(opening.container_id)
        .hostname(opening.hostname)
        .channel_max(CHANNEL_MAX)
        .max_frame_size(Limits::default().frames.max_frame)
        .idle_time_out(idle);
    if let Some(profile) = profile {
        builder = builder.sasl_profile(profile);
    }
    let manifest = Manifest::default();
    let stream = Outward::new(Inward::new(stream, fuse.clone(), &manifest), manifest.clone());
    let connecting = builder.open_with_stream(stream);
    let connection = timeout(limit, connecting)
        .await
        .map_err(|_| ConnectError::TimedOut {
            phase: Phase::Open,
            after: limit,
        })?
        .map_err(|error| match open_failed(error, &fuse) {
            ConnectError::PlainNotOffered if !is_plain => ConnectError::AnonymousNotOffered,
            error => error,
        })?;
    tracing::debug!("connection open");
    Ok(Line {
        connection,
        blow,
        why_ended: None,
        names: opening.names,
        manifest,
    })
}

/// An open connection. It ends when this is dropped.
pub(crate) struct Line {
    connection: ConnectionHandle<()>,
    blow: BlowOnDrop,
    why_ended: Option<Interruption>,
    names: Names,
    manifest: Manifest,
}

impl Line {
    /// Begins a session within `limit`. One that the peer gives later is ended.
    pub(crate) async fn begin(&mut self, limit: Duration) -> Result<Channel, ConnectError> {
        let fuse = self.fuse().clone();
        let begins = self.manifest.begins();
        let session = {
            let mut beginning = pin!(Session::begin(&mut self.connection));
            match made(beginning.as_mut(), (Phase::Begin, limit), &fuse).await {
                // The engine may be about to tell of it.
                Err(late @ ConnectError::TimedOut { .. }) if !begins.give_up() => {
                    timeout(REASON_TIMEOUT, beginning).await.map_err(|_| late)
                }
                session => session,
            }
        };
        let session = session?.map_err(|error| begin_failed(error, &fuse))?;
        Ok(Channel {
            session,
            fuse,
            names: self.names.clone(),
            manifest: self.manifest.clone(),
            held_back: HeldBack::default(),
            ended: None,
        })
    }

    /// Waits for the connection's end. Cancel safe.
    pub(crate) async fn ended(&mut self) -> Interruption {
        if let Some(why) = &self.why_ended {
            return why.clone();
        }
        let error = self.connection.on_close().await.err();
        let why = connection_ended(error, self.fuse());
        self.why_ended = Some(why.clone());
        why
    }

    /// Closes, within `limit`; whatever the peer does, nothing is left of it afterwards.
    pub(crate) async fn close(mut self, limit: Duration) -> Result<(), Interruption> {
        let fuse = self.fuse().clone();
        let farewell = async {
            // Towards a peer that does not answer, the engine spins in here until the fuse blows.
            let closed = self.connection.close().await;
            fuse.drained().await;
            closed
        };
        match timeout(limit, farewell).await {
            Err(_) => Err(Interruption::TimedOut {
                phase: Phase::Close,
                after: limit,
            }),
            Ok(Err(error)) => Err(connection_ended(Some(error), &fuse)),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// Ends the stream at once, without a word to the peer.
    pub(crate) fn blow(&self) {
        self.fuse().blow(Blown::Stopped);
    }

    fn fuse(&self) -> &Fuse {
        &self.blow.0
    }
}

/// A session.
pub(crate) struct Channel {
    pub(super) session: SessionHandle<()>,
    pub(super) fuse: Fuse,
    pub(crate) names: Names,
    pub(super) manifest: Manifest,
    pub(super) held_back: HeldBack,
    /// What has ended, as a link that was being attached has heard it; the engine may say so itself a moment later.
    pub(super) ended: Option<Operation>,
}

impl Channel {
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.is_some() || self.session.is_ended()
    }

    /// Whether it has ended and the connection, as far as is known, has not.
    pub(crate) fn has_ended_alone(&self) -> bool {
        self.ended == Some(Operation::Session)
    }

    /// Whether the engine holds back what a link of before was given: the next one would have its handle, and with it what
    /// is held back, so nothing may be attached on this session any more.
    pub(crate) fn holds_back(&self) -> bool {
        self.held_back.is_something()
    }

    /// Ends the session in good order. That the peer was first, or is gone, is told elsewhere.
    pub(crate) async fn end(mut self) {
        let _ = self.session.end().await;
    }
}

/// Ends the stream if an attempt fails or its future is dropped: nothing else ends an engine that waits.
struct BlowOnDrop(Fuse);

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
        OpenError::RemoteClosed => ConnectError::interrupted(Phase::Open, Interruption::Closed),
        OpenError::TransportError(transport::Error::IdleTimeoutElapsed) => {
            ConnectError::interrupted(Phase::Open, Interruption::Lost(Lost::Idle))
        }
        _ => ConnectError::interrupted(Phase::Open, lost(fuse).why),
    }
}

fn begin_failed(error: BeginError, fuse: &Fuse) -> ConnectError {
    let why = match error {
        BeginError::RemoteEndedWithError(error) => Interruption::Refused(condition(error)),
        BeginError::RemoteEnded => Interruption::Closed,
        // The peer allows fewer sessions than a hub does.
        BeginError::LocalChannelMaxReached => return ConnectError::ConnectionFull,
        BeginError::ConnectionStopped(reason) => connection_stopped(reason, fuse).why,
        _ => lost(fuse).why,
    };
    ConnectError::interrupted(Phase::Begin, why)
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

/// As many sessions as IoT Hub gives: one for each device, and one for `$cbs`.
const CHANNEL_MAX: u16 = 8191;
