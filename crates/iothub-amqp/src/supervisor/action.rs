//! What the supervisor asks for.

use std::time::Instant;

use crate::error::{Accepted, Interruption, SendError};
use crate::status::Status;

use super::{Epoch, TicketId, TransferId};

/// Something for the driver to do. It does it, and tells what came of it as an [`Input`](super::Input).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the credential for a token; answered by `Token`.
    FetchToken,
    /// Connect; answered by `Up` or `Lost`.
    Dial { conn: u32 },
    /// End the connection at once. What is heard of it later is stale.
    Blow { conn: u32 },
    /// Close the connection in good order by then; answered by `Closed`.
    CloseGently { conn: u32, deadline: Instant },
    /// Put the last token to the `$cbs` node; answered by `TokenPut`.
    PutToken { conn: u32, put: u32 },
    /// Attach the link, on a new session if the epoch's is new; answered by `LaneUp` or `LaneLost`.
    OpenLane(Epoch),
    /// Detach the link, as well as that goes. What is heard of it later is stale.
    CloseLane(Epoch),
    /// Hand these messages over as one transfer; answered by `Handed` and `Settled`, or `NotHanded`.
    Transfer {
        epoch: Epoch,
        transfer: TransferId,
        tickets: Vec<TicketId>,
    },
    /// Take a transfer back if it was not handed over, and all behind it, so that the order holds; answered by a
    /// `NotHanded` for each, or by what would come anyway.
    TakeBack { epoch: Epoch, transfer: TransferId },
    /// The message's outcome. Nothing more is heard of the ticket.
    Complete(TicketId, Result<Accepted, SendError>),
    /// How the client stands now.
    Report(Status),
    /// The client has ended; `Ok` if it was closed in good order. The last action.
    Finished(Result<(), Interruption>),
}
