//! What things are called between the application, the supervisor and the driver.

/// A device, module or service on a connection, by the order in which it joined. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u32);

/// What a link, or a pair of links, is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneKind {
    /// Messages out. A device always has it, since a hub calls a device without it offline; a service once it sends.
    Telemetry,
    /// Cloud-to-device messages.
    Commands,
    /// Messages that an Edge hub routes to a module.
    Inputs,
    /// Direct methods: calls in, answers out.
    Methods,
    /// The twin: requests out, answers and changes in.
    Twin,
    /// What became of the messages that services have sent.
    Feedback,
    /// News of uploaded files.
    FileNotifications,
    /// Where a hub tells a service where its events are.
    Redirect,
    /// The events of one partition.
    Partition(u32),
    /// The management of an event hub: questions out, answers in.
    Management,
}

impl LaneKind {
    /// Whether it carries questions and their answers.
    pub(super) fn asks(self) -> bool {
        matches!(self, Self::Twin | Self::Management)
    }

    /// Whether it reads a log, which wants no word on what it gives.
    pub(super) fn reads_a_log(self) -> bool {
        matches!(self, Self::Partition(_))
    }
}

/// One lane of one principal. There is never more than one of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    pub slot: SlotId,
    pub kind: LaneKind,
}

/// Which connection, which of the slot's sessions on it and which of its attachments, whatever they are for. Each counter only
/// rises within the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch {
    pub conn: u32,
    pub session: u32,
    pub lane: u32,
}

/// A message to be sent, by the order in which it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId(pub u64);

/// One or more messages in one AMQP transfer of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub u64);

/// Something that came in on a lane, by the order in which it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub u64);

/// A question to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);
