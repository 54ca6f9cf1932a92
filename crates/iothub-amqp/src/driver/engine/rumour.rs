//! Waiting for what the engine may never say.

use std::time::Duration;

use iothub_frame::Fuse;
use tokio::time::{sleep, timeout};

use super::conditions::lost;
use crate::driver::REASON_TIMEOUT;
use crate::error::{ConnectError, Phase};

/// Waits for a step of making something, within `limit`. When the stream ends first, the engine has a moment to say what it
/// knows, and is not waited for beyond it: whether a future of its ends with its connection is a rumour.
pub(super) async fn made<T>(
    making: impl Future<Output = T>,
    (phase, limit): (Phase, Duration),
    fuse: &Fuse,
) -> Result<T, ConnectError> {
    let gone = async {
        fuse.ended().await;
        sleep(REASON_TIMEOUT).await;
    };
    tokio::select! {
        biased;
        made = timeout(limit, making) => made.map_err(|_| ConnectError::TimedOut { phase, after: limit }),
        () = gone => Err(ConnectError::interrupted(phase, lost(fuse).why)),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use iothub_frame::{Blown, Guarded, Limits};
    use tokio::io::duplex;
    use tokio::time::Instant;

    use super::*;
    use crate::error::Lost;

    const ATTACH: (Phase, Duration) = (Phase::Attach, Duration::from_secs(30));

    #[tokio::test(start_paused = true)]
    async fn an_attach_that_the_engine_forgets_ends_with_its_connection_and_not_by_its_time_out() {
        let (ours, _theirs) = duplex(64);
        let (_stream, fuse) = Guarded::new(ours, Limits::default());
        let began = Instant::now();
        let end = async {
            sleep(Duration::from_secs(3)).await;
            fuse.blow(Blown::PeerClosed);
        };
        let (made, ()) = tokio::join!(made(pending::<()>(), ATTACH, &fuse), end);
        assert!(
            matches!(
                made,
                Err(ConnectError::Lost {
                    phase: Phase::Attach,
                    why: Lost::Stream(Blown::PeerClosed)
                })
            ),
            "{made:?}"
        );
        assert_eq!(began.elapsed().as_secs(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_engine_says_of_the_end_comes_before_the_end() {
        let (ours, _theirs) = duplex(64);
        let (_stream, fuse) = Guarded::new(ours, Limits::default());
        fuse.blow(Blown::PeerClosed);
        let said = async {
            sleep(REASON_TIMEOUT / 2).await;
            "refused"
        };
        assert_eq!(made(said, ATTACH, &fuse).await.unwrap(), "refused");
        // A peer that is there, and silent, is the time-out's.
        let (ours, _theirs) = duplex(64);
        let (_stream, fuse) = Guarded::new(ours, Limits::default());
        let silent = made(pending::<()>(), ATTACH, &fuse).await;
        assert!(matches!(
            silent,
            Err(ConnectError::TimedOut {
                phase: Phase::Attach,
                ..
            })
        ));
    }
}
