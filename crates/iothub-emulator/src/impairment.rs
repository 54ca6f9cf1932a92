//! What is wrong with a connection's stream on purpose.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use crate::hub::Impairments;

/// The switch of one stream: turned by the connection's orders, looked at by the stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Impairment(Arc<Switch>);

#[derive(Debug, Default)]
struct Switch {
    now: AtomicU8,
    finished: AtomicBool,
    /// Of the stream's reader, which is always waiting for something.
    reader: Mutex<Option<Waker>>,
}

impl Impairment {
    pub(crate) fn set(&self, impairments: Impairments) {
        self.0.now.store(impairments.bits(), Ordering::Release);
        self.wake();
    }

    /// The stream ends for its reader, whatever the client does.
    pub(crate) fn finish(&self) {
        self.0.finished.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.0.finished.load(Ordering::Acquire)
    }

    pub(crate) fn now(&self) -> Impairments {
        Impairments::from_bits(self.0.now.load(Ordering::Acquire))
    }

    /// What is wrong now; the reader is woken when that changes.
    pub(crate) fn watch(&self, cx: &Context<'_>) -> Impairments {
        let mut reader = self.reader();
        if !reader.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *reader = Some(cx.waker().clone());
        }
        drop(reader);
        // After the waker is there, so that no change falls between the two.
        self.now()
    }

    fn wake(&self) {
        let reader = self.reader().take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn reader(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.0.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
