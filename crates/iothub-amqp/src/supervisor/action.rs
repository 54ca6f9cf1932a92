//! What the supervisor asks for.

use std::time::Instant;

use crate::error::{Accepted, Interruption, SendError, SubscribeError, TwinError};
use crate::status::{Statistics, Status};

use super::{DeliveryId, Epoch, LaneId, Question, RequestId, SlotId, TicketId, TransferId, Verdict};

/// Something for the driver to do. It does it, and tells what came of it as an [`Input`](super::Input).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the slot's credential for a token; answered by `Token`.
    FetchToken(SlotId),
    /// Connect; answered by `Up` or `Lost`.
    Dial { conn: u32 },
    /// End the connection at once. What is heard of it later is stale.
    Blow { conn: u32 },
    /// Close the connection in good order by then; answered by `Closed`.
    CloseGently { conn: u32, deadline: Instant },
    /// Put the slot's last token to the `$cbs` node; answered by `TokenPut`.
    PutToken { conn: u32, put: u32, slot: SlotId },
    /// Attach the link or links, on a new session if the epoch's is new; answered by `LaneUp` or `LaneLost`.
    OpenLane(LaneId, Epoch),
    /// Detach them, as well as that goes. What is heard of them later is stale.
    CloseLane(LaneId, Epoch),
    /// Detach all of a slot's links and end its session; answered by `SessionEnded`.
    EndSession { slot: SlotId },
    /// Let nothing more come on this lane; it takes the word on what has come.
    Quiet(LaneId, Epoch),
    /// Hand these messages over as one transfer; answered by `Handed` and `Settled`, or `NotHanded`.
    Transfer {
        lane: LaneId,
        epoch: Epoch,
        transfer: TransferId,
        tickets: Vec<TicketId>,
    },
    /// Take a transfer back if it was not handed over, and all behind it, so that the order holds; answered by a
    /// `NotHanded` for each, or by what would come anyway.
    TakeBack {
        lane: LaneId,
        epoch: Epoch,
        transfer: TransferId,
    },
    /// The message's outcome. Nothing more is heard of the ticket.
    Complete(TicketId, Result<Accepted, SendError>),
    /// What a subscription came to, once.
    Subscribed(LaneId, Result<(), SubscribeError>),
    /// A subscription has ended by itself.
    StreamEnded(LaneId, Interruption),
    /// Give the application what has just arrived.
    Deliver {
        lane: LaneId,
        epoch: Epoch,
        delivery: DeliveryId,
    },
    /// Pass its word on it to the hub; answered by `Disposed`, or `LaneLost`.
    Dispose {
        lane: LaneId,
        epoch: Epoch,
        delivery: DeliveryId,
        verdict: Verdict,
    },
    /// Tell it what its word came to.
    Disposed {
        lane: LaneId,
        epoch: Epoch,
        delivery: DeliveryId,
        word: Word,
    },
    /// Put a question to the hub; answered by `Asked` and `Answered`, or `NotAsked`.
    Ask {
        lane: LaneId,
        epoch: Epoch,
        request: RequestId,
        question: Question,
    },
    /// The question's end: with the answer that has just come, or none.
    CompleteRequest(RequestId, Result<(), TwinError>),
    /// Give the application the change, or the whole of the desired properties, that has just come.
    DeliverDesired { slot: SlotId, version: i64, whole: bool },
    /// How the slot stands now.
    Report(SlotId, Status),
    /// The slot has left, `Ok` if in good order, and this is all that was done for it. Nothing more is heard of it.
    Left(SlotId, Statistics, Result<(), Interruption>),
    /// The connection has ended for good; `Ok` if it was closed in good order. The last action.
    Finished(Result<(), Interruption>),
}

/// What a word on something that came has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// The link on which it came took it.
    Taken,
    /// That link is gone, and never had it.
    TooLate,
    /// That link had it to pass on when it was given up, and may have done so.
    Unknown,
}
