//! What may be set on a connection, and what stands when nothing is.

use std::time::Duration;

/// How long each step that waits for the peer may take. Default 30 s.
///
/// It bounds looking the host up and connecting, the TLS handshake, each step of opening, a message's way from its
/// credit to its outcome, and closing, each on its own; to connect has twelve of them in all. Shorter finds a silent peer sooner and gives up on a slow one
/// sooner.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// A time that is to be waited, as long as the clock can count: who says [`Duration::MAX`] means for ever, and gets a century.
pub(crate) fn within_reason(limit: Duration) -> Duration {
    limit.min(CENTURY)
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// After how long without a frame the peer counts as gone. Default 120 s, which is what Microsoft's C# SDK sets; the
/// peer is asked for a frame in half of it.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// The most transfers of one client whose outcome is awaited at once, unless its builder says otherwise.
pub const WINDOW: usize = 256;

/// The largest window that may be set. Beyond it a session's own window, not the client's, would be what holds.
pub const MAX_WINDOW: usize = 1_000;

/// The most bytes of such messages. It stays below half of what the guarded stream lets wait, so that a write never
/// blocks the engine.
pub const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// The most messages of one client that have no outcome yet. Default 10,000. More bridges a longer outage.
pub const QUEUE: usize = 10_000;

/// The most bytes of such messages. Default 64 MiB.
pub const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// How long a message that was enqueued may wait for its outcome. Default 24 h.
pub const QUEUE_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// The port of AMQP over TLS.
pub const AMQPS_PORT: u16 = 5671;

/// The port of AMQP without TLS.
pub const AMQP_PORT: u16 = 5672;

/// The port of AMQP over WebSocket, which is that of HTTPS.
pub const HTTPS_PORT: u16 = 443;

/// What carries AMQP.
///
/// # Delivery
/// The same by both: the hub's word on a message is its outcome, whatever took its bytes.
///
/// # Cancel safety
/// The same by both: an attempt that runs out of time or is dropped ends its stream, also in the middle of the upgrade.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// TLS over TCP, on port [`AMQPS_PORT`].
    #[default]
    Amqp,
    /// A WebSocket over TLS, on port [`HTTPS_PORT`]: for networks that let nothing else out. It costs a round trip more
    /// to open, and a few bytes a frame.
    WebSocket,
}

/// The most devices and modules on one connection: IoT Hub takes so many tokens (403005, `IotHubMaxCbsTokenExceeded`).
pub const MAX_DEVICES: usize = 999;
