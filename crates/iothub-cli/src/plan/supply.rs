//! How many bodies are sent: each once, or again and again up to a count.

use super::bodies::{Bodies, Body};
use crate::failure::Failure;

/// Bodies, repeated in turn where a count asks for it.
pub(crate) struct Supply {
    bodies: Bodies,
    /// How many are still to come, if they are counted.
    left: Option<u64>,
    /// What has come of the bodies, to be repeated.
    kept: Vec<Vec<u8>>,
    at: usize,
    exhausted: bool,
}

impl Supply {
    pub(crate) fn new(bodies: Bodies, count: Option<u64>) -> Self {
        Self {
            bodies,
            left: count,
            kept: Vec::new(),
            at: 0,
            exhausted: false,
        }
    }

    /// The next body. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Result<Body, Failure>> {
        let Some(left) = self.left else {
            return self.bodies.next().await;
        };
        if left == 0 {
            return None;
        }
        if !self.exhausted {
            match self.bodies.next().await {
                None => self.exhausted = true,
                Some(body) => {
                    if let Ok(Body::Whole(bytes)) = &body {
                        self.kept.push(bytes.clone());
                    }
                    self.left = Some(left - 1);
                    return Some(body);
                }
            }
        }
        let body = self.kept.get(self.at)?.clone();
        self.at = (self.at + 1) % self.kept.len();
        self.left = Some(left - 1);
        Some(Ok(Body::Whole(body)))
    }

    /// Gives up what is still to be read from files, and all repeats.
    pub(crate) fn stop_reading(&mut self) -> bool {
        self.left = self.left.map(|_| 0);
        self.bodies.stop_reading()
    }
}
