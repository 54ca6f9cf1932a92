//! What an event endpoint's management is asked.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::oneshot;

use crate::device::Shared;
use crate::driver::command::{Asking, Command};
use crate::error::{EventsError, TwinError};
use crate::supervisor::Question;

/// How far a partition is.
///
/// # Delivery
/// It holds for the moment at which the endpoint answered, and took no event: more may have come since.
///
/// # Cancel safety
/// Dropping it tells the endpoint nothing, and neither does a question whose future is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionState {
    /// The partition, from 0.
    pub partition: u32,
    /// The sequence number of the oldest event that is still there.
    pub first: i64,
    /// That of the newest that there was; `None` if there was none ever.
    pub last: Option<i64>,
    /// The offset of the newest, as the endpoint writes it.
    pub last_offset: Option<String>,
    /// When the newest came.
    pub last_enqueued_at: Option<SystemTime>,
    /// Whether nothing is there.
    pub is_empty: bool,
}

/// The partitions that there are.
pub(super) async fn partitions(shared: &Shared) -> Result<Vec<u32>, EventsError> {
    let answer = ask(shared, None).await?;
    let ids = answer.get("partition_ids").and_then(Value::as_array);
    let numbers: Option<Vec<u32>> = ids
        .into_iter()
        .flatten()
        .map(|id| id.as_str().and_then(|id| id.parse().ok()))
        .collect();
    match numbers {
        Some(numbers) if !numbers.is_empty() => Ok(numbers),
        _ => Err(bad("no partition_ids")),
    }
}

pub(super) async fn partition(shared: &Shared, partition: u32) -> Result<PartitionState, EventsError> {
    let answer = ask(shared, Some(partition)).await?;
    let number = |name: &str| answer.get(name).and_then(Value::as_i64);
    let last =
        number("last_enqueued_sequence_number").ok_or_else(|| bad("no last_enqueued_sequence_number"))?;
    let last = (last >= 0).then_some(last);
    let time = number("last_enqueued_time_utc")
        .and_then(|milliseconds| u64::try_from(milliseconds).ok())
        .map(|milliseconds| UNIX_EPOCH + Duration::from_millis(milliseconds));
    let offset = answer.get("last_enqueued_offset").and_then(Value::as_str);
    Ok(PartitionState {
        partition,
        first: number("begin_sequence_number").unwrap_or_default(),
        last,
        last_offset: offset
            .filter(|offset| last.is_some() && *offset != "-1")
            .map(str::to_owned),
        last_enqueued_at: time.filter(|_| last.is_some()),
        is_empty: answer.get("is_partition_empty").and_then(Value::as_bool) == Some(true),
    })
}

/// About the event hub, or one of its partitions.
async fn ask(shared: &Shared, partition: Option<u32>) -> Result<Value, EventsError> {
    let (reply, answer) = oneshot::channel();
    let patch = partition.map(|partition| partition.to_string().into_bytes());
    let command = Command::Request {
        slot: shared.slot,
        request: shared.next_request(),
        question: Question::Get,
        limit: shared.limit,
        asking: Asking { patch, reply },
    };
    let gone = || EventsError::NotAnswered(shared.why_ended());
    shared.commands.send(command).map_err(|_| gone())?;
    // The owner answers everything it took by a deadline, unless its task died.
    let answer = answer.await.map_err(|_| gone())?.map_err(|error| match error {
        TwinError::Refused { status, message } => EventsError::Management { status, message },
        TwinError::NotAnswered(why) | TwinError::Unknown(why) => EventsError::NotAnswered(why),
        TwinError::TooMany => EventsError::TooMany,
        // A question has a few hundred bytes.
        TwinError::BadAnswer(_) | TwinError::NotAnObject | TwinError::TooLarge { .. } => {
            bad("it is of another kind")
        }
    })?;
    serde_json::from_slice(&answer.body).map_err(|_| bad("no map"))
}

fn bad(why: &str) -> EventsError {
    EventsError::BadAnswer(why.to_owned())
}
