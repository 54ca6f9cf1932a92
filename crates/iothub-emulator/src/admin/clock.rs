//! `/admin/clock`: what the hub's clock shows, and turning it on.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{Refusal, Reply};
use crate::clock::Timestamp;
use crate::owner::HubHandle;

/// `{"by_ms": 60000}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Turn {
    by_ms: u64,
}

pub(super) async fn show(hub: &HubHandle) -> Result<Reply, Refusal> {
    Ok(shows(hub.run(|_, now| now).await?))
}

/// Answers when what falls due by that is done.
pub(super) async fn turn(hub: &HubHandle, turn: Turn) -> Result<Reply, Refusal> {
    if turn.by_ms > LONGEST_MS {
        return Err(Refusal::Value("the clock is turned on by 3650 days at most"));
    }
    Ok(shows(hub.turn_clock(Duration::from_millis(turn.by_ms)).await?))
}

fn shows(now: Timestamp) -> Reply {
    Reply::json(&json!({ "now": now.to_string() }))
}

/// Ten years at a time: far from where dates end.
const LONGEST_MS: u64 = 3650 * 24 * 60 * 60 * 1000;
