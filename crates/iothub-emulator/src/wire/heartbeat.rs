//! How often a client is told that the hub lives.
//!
//! The engine sends an empty frame each time the idle time-out is over that the peer said in its `open`, which is when a
//! peer that says what it really bears gives up. So the engine is told half of it.

use bytes::BytesMut;

use super::performative::{Kind, Performative, put};

/// The `open` as the engine is to read it; `None` if the client says no idle time-out.
pub(crate) fn twice_within_the_idle_time_out(open: &Performative<'_>) -> Option<BytesMut> {
    let millis = open.uint(IDLE_TIME_OUT).filter(|millis| *millis > 0)?;
    let half = (millis / 2).max(1).to_be_bytes();
    let half = [0x70, half[0], half[1], half[2], half[3]];
    let mut fields = open.fields()?;
    *fields.get_mut(IDLE_TIME_OUT)? = &half;
    let mut body = BytesMut::new();
    put(&mut body, Kind::Open, &fields);
    Some(body)
}

/// Its position among the fields of an `open` (§2.7.1).
const IDLE_TIME_OUT: usize = 4;
