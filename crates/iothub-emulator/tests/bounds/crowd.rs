//! Many who never say who they are.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::raw::*;
use crate::{STRANGER, assert_served, attached, gone, measure, stream, witness};

/// As many as there may be at all; one of them is the witness.
const PORTS: usize = 10_000;

/// What a stranger says before it falls silent.
fn beginnings() -> [Vec<u8>; 4] {
    let half = &sasl_frame(0x41, &[symbol("PLAIN"), binary(&[b'x'; 400]), null()])[..400];
    [
        Vec::new(),
        AMQP[..5].to_vec(),
        SASL.to_vec(),
        [&SASL[..], half].concat(),
    ]
}

#[test]
fn strangers_are_few_at_a_time_cost_little_and_have_a_deadline() {
    let bytes = measure(|hub| async move {
        let mut witness = witness(&hub).await;
        let mut strangers = Vec::with_capacity(PORTS);
        let beginnings = beginnings();
        for beginning in beginnings.iter().cycle().take(PORTS - 1) {
            let mut stranger = stream(&hub);
            stranger.write_all(beginning).await.unwrap();
            strangers.push(stranger);
        }
        assert_served(&mut witness, 0).await;
        // One more is turned away at the door.
        assert_eq!(stream(&hub).read(&mut [0; 8]).await.unwrap(), 0);
        assert!(strangers[0].read_u8().now_or_never().is_none());
        // The deadline of the handshake.
        tokio::time::sleep(Duration::from_secs(16)).await;
        assert_served(&mut witness, 1).await;
        let last = u64::try_from(PORTS).unwrap();
        assert_eq!(gone(&hub, last).await, "the client took too long to open");
        for mut stranger in strangers {
            let mut rest = Vec::new();
            stranger.read_to_end(&mut rest).await.unwrap();
        }
        let mut late = attached(&hub).await;
        assert_served(&mut late, 0).await;
    });
    let each = bytes / u64::try_from(PORTS).unwrap();
    println!("{each} bytes a stranger");
    assert!(each < STRANGER, "{each} bytes a stranger");
}
