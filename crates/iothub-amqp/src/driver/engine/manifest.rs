//! Which links there are to write on, and what has left of each.
//!
//! What a closed session window does not let go the engine holds back, and writes it when the window opens: on the handle of
//! its link, which is detached by then, or another link's; or after the session's end. And it answers a detach before the
//! link hears of it, so that a flow which the link sends until then goes out behind the answer. To a peer these are frames
//! for what nobody has (§2.2.2, `amqp:session:unattached-handle`, and `amqp:not-found`): it ends the session, or the
//! connection of everybody on it. So none of it may leave. And a link that ends before all that it was given has left says
//! so, since no other may have its handle then.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use iothub_frame::Violation;

use super::begins::Begins;
use super::farewells::Farewells;
use super::inward::Transfer;
use super::performative::{
    ATTACH, BEGIN, CLOSE, DETACH, END, FLOW, TRANSFER, first_fields, performative, uint,
};
use super::words::Words;

/// Judges what is written on one connection.
#[derive(Debug)]
pub(super) struct Gate {
    manifest: Manifest,
    /// The sessions that are begun, by channel.
    sessions: BTreeMap<u16, Handles>,
}

/// The handles of a session.
#[derive(Debug, Default)]
struct Handles {
    attached: BTreeMap<u32, Option<Arc<Cargo>>>,
    /// What links were given that had a handle before and may have something left of it.
    before: BTreeMap<u32, Vec<Arc<Cargo>>>,
}

/// What one link was given and what has left of it, in deliveries.
#[derive(Debug, Default)]
struct Cargo {
    given: AtomicU64,
    /// Whole.
    left: AtomicU64,
    held_back: HeldBack,
}

/// Links that are about to be attached, by name; the connection's, and clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Manifest {
    loads: Arc<Mutex<BTreeMap<String, Arc<Cargo>>>>,
    links: Links,
    farewells: Farewells,
    words: Words,
    begins: Begins,
}

/// How many links the connection had at once, at the most; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Links(Arc<AtomicUsize>);

/// A link's side of what it gives; dropped with the link.
#[derive(Debug)]
pub(super) struct Load {
    manifest: Manifest,
    name: String,
    cargo: Arc<Cargo>,
}

/// Whether the engine holds something back of a link that is gone; its session's, and clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldBack(Arc<AtomicBool>);

impl Gate {
    pub(super) fn new(manifest: Manifest) -> Self {
        Self {
            manifest,
            sessions: BTreeMap::new(),
        }
    }

    /// Whether a frame may be written.
    pub(super) fn may_leave(&mut self, frame: &[u8]) -> bool {
        let Some((channel, code, fields)) = performative(frame) else {
            return true;
        };
        match code {
            BEGIN => {
                self.manifest.farewells.leaves(channel, code);
                self.sessions.insert(channel, Handles::default());
                self.manifest.words.forget(channel);
                self.manifest.begins.leaves(channel);
                true
            }
            END => {
                self.manifest.farewells.leaves(channel, code);
                self.manifest.words.forget(channel);
                self.sessions.remove(&channel).is_some()
            }
            CLOSE => {
                self.manifest.farewells.leaves(channel, code);
                true
            }
            ATTACH..END => {
                let Some(handles) = self.sessions.get_mut(&channel) else {
                    return false;
                };
                // What can't be read is not ours to judge: the engine has written it.
                let may = on_session(handles, &self.manifest, (code, fields), frame).unwrap_or(true);
                if code == ATTACH {
                    let now = self.sessions.values().map(|handles| handles.attached.len()).sum();
                    self.manifest.links.are(now);
                }
                may
            }
            _ => true,
        }
    }
}

fn on_session(
    Handles { attached, before }: &mut Handles,
    manifest: &Manifest,
    (code, fields): (u8, &[u8]),
    frame: &[u8],
) -> Result<bool, Violation> {
    match code {
        ATTACH => {
            let [name, handle] = first_fields(fields)?;
            attached.insert(uint(handle), manifest.take(name));
        }
        FLOW => {
            // One without a handle is the session's.
            let handle = first_fields(fields).map(|[_, _, _, _, handle]| handle);
            return Ok(handle.map_or(true, |handle| {
                handle == [NULL] || attached.contains_key(&uint(handle))
            }));
        }
        TRANSFER => {
            let Some(transfer) = Transfer::in_frame(frame)? else {
                return Ok(true);
            };
            let handle = transfer.link.1;
            let Some(cargo) = attached.get(&handle) else {
                return Ok(false);
            };
            // It may be what the engine held back of a link of before.
            if before
                .get(&handle)
                .is_some_and(|all| all.iter().any(|cargo| cargo.is_missed()))
            {
                return Ok(false);
            }
            if let Some(cargo) = cargo.as_ref().filter(|_| !transfer.more) {
                cargo.left.fetch_add(1, Ordering::Release);
            }
            if let Some(delivery) = transfer.awaits_word {
                manifest.words.leaves(transfer.link, delivery);
            }
        }
        DETACH => {
            let [handle] = first_fields(fields)?;
            let handle = uint(handle);
            if let Some((channel, ..)) = performative(frame) {
                manifest.words.detached((channel, handle));
            }
            if let Some(cargo) = attached.remove(&handle).flatten() {
                // From here on the engine may give the handle to another link, long before this one's task has ended.
                cargo.is_missed();
                let all = before.entry(handle).or_default();
                all.retain(|cargo| Arc::strong_count(cargo) > 1 || cargo.is_missed());
                all.push(cargo);
            }
        }
        _ => {}
    }
    Ok(true)
}

impl Cargo {
    /// Whether something of it has not left; said of its session too.
    fn is_missed(&self) -> bool {
        let missed = self.given.load(Ordering::Acquire) > self.left.load(Ordering::Acquire);
        if missed {
            self.held_back.0.store(true, Ordering::Release);
        }
        missed
    }
}

impl Manifest {
    /// What a link of this name is going to be given, on a session.
    pub(super) fn load(&self, name: &str, held_back: &HeldBack) -> Load {
        let cargo = Arc::new(Cargo {
            held_back: held_back.clone(),
            ..Cargo::default()
        });
        self.lock().insert(name.to_owned(), Arc::clone(&cargo));
        Load {
            manifest: self.clone(),
            name: name.to_owned(),
            cargo,
        }
    }

    /// What counts for the link of this name, as the engine encodes it.
    fn take(&self, name: &[u8]) -> Option<Arc<Cargo>> {
        let ([0xa1, _, text @ ..] | [0xb1, _, _, _, _, text @ ..]) = name else {
            return None;
        };
        self.lock().remove(std::str::from_utf8(text).ok()?)
    }

    /// What counts the connection's links.
    pub(super) fn links(&self) -> Links {
        self.links.clone()
    }

    /// What takes note of deliveries that await a word.
    pub(super) fn words(&self) -> Words {
        self.words.clone()
    }

    /// What takes note of this side's farewells.
    pub(super) fn farewells(&self) -> Farewells {
        self.farewells.clone()
    }

    /// What knows of sessions that were given up.
    pub(super) fn begins(&self) -> Begins {
        self.begins.clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Cargo>>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    pub(super) fn most(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// There are so many now.
    pub(super) fn are(&self, now: usize) {
        self.0.fetch_max(now, Ordering::AcqRel);
    }
}

impl Load {
    /// Counts what the engine takes, from before it has it: what it has taken it may write, or answer a detach in its place, on
    /// another thread while this one still stands at the end of the call.
    pub(super) async fn giving<T, E>(&mut self, taking: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let mut taking = pin!(taking);
        poll_fn(|cx| {
            self.cargo.given.fetch_add(1, Ordering::AcqRel);
            let taken = taking.as_mut().poll(cx);
            if !matches!(taken, Poll::Ready(Ok(_))) {
                self.cargo.given.fetch_sub(1, Ordering::AcqRel);
            }
            taken
        })
        .await
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.cargo.is_missed();
        // One that was never attached.
        self.manifest.lock().remove(&self.name);
    }
}

impl HeldBack {
    pub(super) fn is_something(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

const NULL: u8 = 0x40;

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;

    use super::*;

    /// A frame of this performative (§2.3, §2.7).
    fn frame(channel: u8, code: u8, fields: &[&[u8]]) -> Vec<u8> {
        let list = fields.concat();
        let (size, count) = (
            u8::try_from(list.len() + 1).unwrap(),
            u8::try_from(fields.len()).unwrap(),
        );
        let body = [&[0x00, 0x53, code, 0xc0, size, count][..], &list].concat();
        let size = u32::try_from(8 + body.len()).unwrap();
        [&size.to_be_bytes()[..], &[2, 0, 0, channel], &body].concat()
    }

    fn begin(channel: u8) -> Vec<u8> {
        frame(channel, BEGIN, &[&[0x40]])
    }

    fn attach(channel: u8, name: &str, handle: u8) -> Vec<u8> {
        let name = [&[0xa1, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
        frame(channel, ATTACH, &[&name, &[0x52, handle], &[0x42]])
    }

    fn transfer(channel: u8, handle: u8, more: u8) -> Vec<u8> {
        let fields: [&[u8]; 6] = [&[0x52, handle], &[0x43], &[0xa0, 0], &[0x43], &[0x42], &[more]];
        frame(channel, TRANSFER, &fields)
    }

    fn detach(channel: u8, handle: u8) -> Vec<u8> {
        frame(channel, DETACH, &[&[0x52, handle]])
    }

    fn end(channel: u8) -> Vec<u8> {
        frame(channel, END, &[])
    }

    /// The engine takes a delivery.
    fn give(load: &mut Load) {
        let taken = load.giving(ready(Ok::<(), ()>(()))).now_or_never();
        assert_eq!(taken, Some(Ok(())));
    }

    const MORE: u8 = 0x41;
    const WHOLE: u8 = 0x42;

    /// Which of these frames leave.
    fn leave(gate: &mut Gate, frames: &[Vec<u8>]) -> Vec<bool> {
        frames.iter().map(|frame| gate.may_leave(frame)).collect()
    }

    #[test]
    fn a_transfer_leaves_on_a_handle_that_is_attached_and_on_no_other() {
        let mut gate = Gate::new(Manifest::default());
        let frames = [
            begin(1),
            transfer(1, 0, WHOLE),
            attach(1, "a", 0),
            transfer(1, 0, WHOLE),
            transfer(1, 1, WHOLE),
            detach(1, 0),
            transfer(1, 0, WHOLE),
            attach(1, "b", 0),
            transfer(1, 0, WHOLE),
        ];
        let leaves = [true, false, true, true, false, true, false, true, true];
        assert_eq!(leave(&mut gate, &frames), leaves);
    }

    #[test]
    fn the_most_links_that_there_were_at_once_are_counted() {
        let manifest = Manifest::default();
        let mut gate = Gate::new(manifest.clone());
        let frames = [
            begin(1),
            attach(1, "a", 0),
            attach(1, "b", 1),
            detach(1, 0),
            attach(1, "c", 0),
            begin(2),
            attach(2, "d", 0),
            end(1),
        ];
        leave(&mut gate, &frames);
        assert_eq!(manifest.links().most(), 3);
    }

    #[test]
    fn nothing_leaves_on_a_session_after_its_end_and_others_are_not_touched() {
        let mut gate = Gate::new(Manifest::default());
        let frames = [
            begin(1),
            begin(2),
            attach(1, "a", 0),
            attach(2, "b", 0),
            end(1),
            transfer(1, 0, WHOLE),
            detach(1, 0),
            end(1),
            transfer(2, 0, WHOLE),
            begin(1),
            transfer(1, 0, WHOLE),
            attach(1, "c", 0),
            transfer(1, 0, WHOLE),
        ];
        let leaves = [
            true, true, true, true, true, false, false, false, true, true, false, true, true,
        ];
        assert_eq!(leave(&mut gate, &frames), leaves);
    }

    #[test]
    fn headers_heartbeats_sasl_open_and_close_always_leave() {
        let mut gate = Gate::new(Manifest::default());
        let sasl = [0, 0, 0, 16, 2, 1, 0, 0, 0x00, 0x53, 0x41, 0xc0, 3, 1, 0xa3, 0];
        let frames = [
            b"AMQP\x00\x01\x00\x00".to_vec(),
            sasl.to_vec(),
            vec![0, 0, 0, 8, 2, 0, 0, 0],
            frame(0, 0x10, &[&[0xa1, 0]]),
            frame(0, 0x18, &[]),
        ];
        assert_eq!(leave(&mut gate, &frames), [true; 5]);
    }

    #[test]
    fn a_link_that_ends_before_all_has_left_says_so_and_one_that_is_done_does_not() {
        for (leaves, held_back) in [(2, false), (1, true)] {
            let manifest = Manifest::default();
            let mut gate = Gate::new(manifest.clone());
            let (session, other) = (HeldBack::default(), HeldBack::default());
            let mut load = manifest.load("a", &session);
            drop(manifest.load("b", &other));
            give(&mut load);
            give(&mut load);
            leave(&mut gate, &[begin(1), attach(1, "a", 3)]);
            for _ in 0..leaves {
                // A delivery in two frames is one.
                leave(&mut gate, &[transfer(1, 3, MORE), transfer(1, 3, WHOLE)]);
            }
            leave(&mut gate, &[detach(1, 3), transfer(1, 3, WHOLE)]);
            drop(load);
            assert_eq!((session.is_something(), other.is_something()), (held_back, false));
            assert!(manifest.lock().is_empty());
        }
    }

    /// The engine frees a handle with the detach, and the link's task ends later.
    #[test]
    fn what_was_held_back_of_a_link_does_not_leave_on_the_next_of_its_handle_while_the_link_still_closes() {
        for late in [false, true] {
            let manifest = Manifest::default();
            let mut gate = Gate::new(manifest.clone());
            let session = HeldBack::default();
            let mut load = manifest.load("a", &session);
            let next = manifest.load("b", &session);
            let mut give_if = |now| {
                if now {
                    give(&mut load);
                }
            };
            leave(&mut gate, &[begin(1), attach(1, "a", 0)]);
            give_if(!late);
            leave(&mut gate, &[detach(1, 0)]);
            assert_eq!(session.is_something(), !late);
            // What it hands over until it hears of the peer's detach, too.
            give_if(late);
            let frames = [attach(1, "b", 0), transfer(1, 0, WHOLE), transfer(1, 0, WHOLE)];
            assert_eq!(leave(&mut gate, &frames), [true, false, false]);
            assert!(session.is_something());
            leave(&mut gate, &[end(1), begin(1), attach(1, "c", 0)]);
            assert_eq!(leave(&mut gate, &[transfer(1, 0, WHOLE)]), [true]);
            drop(next);
        }
    }

    /// The engine's thread does not wait for the link's.
    #[test]
    fn what_is_taken_while_the_link_is_detached_does_not_leave_on_the_next_of_its_handle() {
        let manifest = Manifest::default();
        let mut gate = Gate::new(manifest.clone());
        let session = HeldBack::default();
        let mut load = manifest.load("a", &session);
        leave(&mut gate, &[begin(1), attach(1, "a", 0)]);
        let taking = async {
            let frames = [detach(1, 0), attach(1, "b", 0), transfer(1, 0, WHOLE)];
            Ok::<_, ()>(leave(&mut gate, &frames))
        };
        let left = load.giving(taking).now_or_never();
        assert_eq!(left, Some(Ok(vec![true, true, false])));
        assert!(session.is_something());
    }

    #[test]
    fn what_the_engine_does_not_take_is_not_missed() {
        let manifest = Manifest::default();
        let session = HeldBack::default();
        let mut load = manifest.load("a", &session);
        let refused = load.giving(ready(Err::<(), ()>(()))).now_or_never();
        let waits = load.giving(pending::<Result<(), ()>>()).now_or_never();
        assert_eq!((refused, waits), (Some(Err(())), None));
        drop(load);
        assert!(!session.is_something());
    }

    #[test]
    fn links_that_come_and_go_on_a_handle_leave_no_trace() {
        let manifest = Manifest::default();
        let mut gate = Gate::new(manifest.clone());
        let session = HeldBack::default();
        leave(&mut gate, &[begin(1)]);
        for _ in 0..100 {
            let mut load = manifest.load("a", &session);
            give(&mut load);
            let frames = [attach(1, "a", 0), transfer(1, 0, WHOLE), detach(1, 0)];
            assert_eq!(leave(&mut gate, &frames), [true; 3]);
        }
        assert!(!session.is_something());
        assert_eq!(gate.sessions[&1].before[&0].len(), 1);
    }

    #[test]
    fn half_a_delivery_has_not_left() {
        let manifest = Manifest::default();
        let mut gate = Gate::new(manifest.clone());
        let session = HeldBack::default();
        let mut load = manifest.load("a", &session);
        give(&mut load);
        leave(&mut gate, &[begin(0), attach(0, "a", 0), transfer(0, 0, MORE)]);
        drop(load);
        assert!(session.is_something());
    }
}
