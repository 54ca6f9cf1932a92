//! Who watches the frames of a connection: which links there are, and how much of its life the token has left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::sends::Sends;
use super::wire::{CLIENT, HUB, lock};
use crate::frames::{NULL, TRUE, fields, number, text};
use crate::memory::Clockwork;

/// Reads both directions of one connection.
pub(super) struct Observer {
    clock: Clockwork,
    /// What has come of the next frame, by side.
    partial: [Vec<u8>; 2],
    /// How many frames of a kind have begun, by side.
    begun: BTreeMap<(usize, u8), usize>,
    /// The hub's channels, by the client's.
    channels: BTreeMap<u16, u16>,
    /// What the client has attached and not detached, by its channel and handle, with whether it receives there; by
    /// channels that it has begun and not ended. What the hub detaches or ends it may not know yet.
    own: BTreeMap<u16, BTreeMap<u32, bool>>,
    links: Vec<Link>,
    sends: Arc<Mutex<Sends>>,
    /// The connection's number.
    number: u64,
    /// When the last token that was sent ends, by its device.
    tokens: BTreeMap<String, u64>,
    /// How long a token lives.
    life: Duration,
    wrong: Vec<String>,
}

struct Link {
    /// The client's.
    channel: u16,
    handle: u32,
    name: String,
    /// The hub's, once it has answered.
    hub_handle: Option<u32>,
    address: String,
    client_receives: bool,
}

impl Observer {
    pub(super) fn new(clock: Clockwork, life: Duration, sends: Arc<Mutex<Sends>>, number: u64) -> Self {
        Self {
            clock,
            sends,
            number,
            partial: Default::default(),
            begun: BTreeMap::new(),
            channels: BTreeMap::new(),
            own: BTreeMap::new(),
            links: Vec::new(),
            tokens: BTreeMap::new(),
            life,
            wrong: Vec::new(),
        }
    }

    /// What was against the rules.
    pub(super) fn wrong(&mut self) -> Vec<String> {
        std::mem::take(&mut self.wrong)
    }

    /// Takes what is written, up to the beginning of the wanted frame; how much that was.
    pub(super) fn observe(&mut self, side: usize, bytes: &[u8], wanted: Option<(u8, usize)>) -> usize {
        for (at, byte) in bytes.iter().enumerate() {
            // Writers write whole frames, so a frame's first bytes are there together.
            if self.partial[side].is_empty()
                && let Some(kind) = kind(&bytes[at..])
            {
                let begun = self.begun.entry((side, kind)).or_default();
                if wanted == Some((kind, *begun)) {
                    return at;
                }
                *begun += 1;
            }
            self.partial[side].push(*byte);
            if is_whole(&self.partial[side]) {
                let frame = std::mem::take(&mut self.partial[side]);
                self.frame(side, &frame);
            }
        }
        bytes.len()
    }

    fn frame(&mut self, side: usize, frame: &[u8]) {
        if frame.starts_with(b"AMQP") {
            return;
        }
        if side == CLIENT {
            self.look_for_token(frame);
        }
        let channel = u16::from_be_bytes([frame[6], frame[7]]);
        let Some((&code, rest)) = frame.get(10..).and_then(<[u8]>::split_first) else {
            return;
        };
        if frame[5] != 0 {
            return; // SASL
        }
        let (list, payload) = fields(rest);
        let field = |at: usize| list.get(at).copied().unwrap_or(NULL);
        if side == CLIENT {
            self.look_for_place(channel, code, &list);
        }
        match (side, code) {
            (HUB, 0x11) => {
                // A channel is used again when its session has ended.
                self.channels.retain(|_, hubs| *hubs != channel);
                if let [0x60, high, low] = *field(0) {
                    self.channels.insert(u16::from_be_bytes([high, low]), channel);
                }
            }
            (CLIENT, 0x12) => self.attach(channel, &list),
            (HUB, 0x12) => {
                let (name, handle) = (text(field(0)), handle(field(1)));
                let hub_receives = field(2) == TRUE;
                for link in &mut self.links {
                    if link.name == name && link.client_receives != hub_receives {
                        link.hub_handle = Some(handle);
                    }
                }
            }
            (CLIENT, 0x14) => {
                let link = (self.number, channel, handle(field(0)));
                lock(&self.sends).transfer(link, &list, payload);
            }
            (HUB, 0x15) => {
                let clients = self.channels.iter().find(|(_, hubs)| **hubs == channel);
                if let Some((&channel, _)) = clients {
                    lock(&self.sends).disposed(self.number, channel, &list);
                }
            }
            (CLIENT, 0x16) => {
                let handle = handle(field(0));
                self.links
                    .retain(|link| (link.channel, link.handle) != (channel, handle));
            }
            (_, 0x16) => {
                let (handle, channels) = (handle(field(0)), &self.channels);
                self.links.retain(|link| {
                    (channels.get(&link.channel), link.hub_handle) != (Some(&channel), Some(handle))
                });
            }
            (CLIENT, 0x17) => self.links.retain(|link| link.channel != channel),
            (_, 0x17) => {
                let channels = &self.channels;
                self.links
                    .retain(|link| channels.get(&link.channel) != Some(&channel));
            }
            _ => {}
        }
    }

    /// The client sends on sessions that it has begun, and transfers on links that it has attached to send by; and on no
    /// other, whatever its engine may hold back.
    fn look_for_place(&mut self, channel: u16, code: u8, list: &[&[u8]]) {
        let field = |at: usize| list.get(at).copied().unwrap_or(NULL);
        if code == 0x11 {
            self.own.insert(channel, BTreeMap::new());
        }
        if !(0x11..=0x17).contains(&code) {
            return;
        }
        let Some(links) = self.own.get_mut(&channel) else {
            let at = self.clock.elapsed();
            return self.wrong.push(format!(
                "{code:#x} at {at:?} on channel {channel}, which has no session"
            ));
        };
        match code {
            0x12 => {
                links.insert(handle(field(1)), field(2) == TRUE);
            }
            0x14 if links.get(&handle(field(0))) != Some(&false) => {
                let (handle, at) = (handle(field(0)), self.clock.elapsed());
                self.wrong.push(format!(
                    "a transfer at {at:?} on handle {handle}, which is no sending link's"
                ));
            }
            0x16 => {
                links.remove(&handle(field(0)));
            }
            0x17 => {
                self.own.remove(&channel);
            }
            _ => {}
        }
    }

    fn attach(&mut self, channel: u16, list: &[&[u8]]) {
        let field = |at: usize| list.get(at).copied().unwrap_or(NULL);
        let client_receives = field(2) == TRUE;
        let terminus = field(if client_receives { 5 } else { 6 });
        let (inner, _) = fields(terminus.get(3..).unwrap_or_default());
        let link = Link {
            channel,
            handle: handle(field(1)),
            name: text(field(0)),
            hub_handle: None,
            address: text(inner.first().copied().unwrap_or(NULL)),
            client_receives,
        };
        let address = if client_receives { "" } else { &link.address };
        lock(&self.sends).attached((self.number, channel, link.handle), address);
        let twin =
            |other: &&Link| (other.client_receives, &other.address) == (link.client_receives, &link.address);
        if let Some(other) = self.links.iter().find(twin) {
            self.wrong.push(format!(
                "{} is attached at {:?} beside {}",
                link.name,
                self.clock.elapsed(),
                other.name
            ));
        }
        self.links.push(link);
    }

    /// Whatever the client sends, the tokens of the devices that have links have a tenth of their life left.
    fn look_for_token(&mut self, frame: &[u8]) {
        const BEGINNING: &[u8] = b"SharedAccessSignature ";
        let token = frame
            .windows(BEGINNING.len())
            .position(|window| window == BEGINNING)
            .map(|at| String::from_utf8_lossy(&frame[at + BEGINNING.len()..]).into_owned());
        if let Some(token) = token {
            let value = |key: &str| {
                let at = token.find(key)? + key.len();
                let end = token[at..].find(|c: char| c == '&' || c.is_control() || !c.is_ascii());
                Some(token[at..].get(..end.unwrap_or(token.len() - at))?.to_owned())
            };
            let ends = value("se=").and_then(|digits| {
                let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
                digits.parse().ok()
            });
            if let (Some(audience), Some(ends)) = (value("sr="), ends) {
                let device = audience.rsplit("%2F").next().unwrap_or_default().to_owned();
                self.look_at_token(&device, ends);
                self.tokens.insert(device, ends);
            }
        }
        for (device, ends) in self.tokens.clone() {
            let links = format!("/devices/{device}/");
            if self.links.iter().any(|link| link.address.contains(&links)) {
                self.look_at_token(&device, ends);
            }
        }
    }

    fn look_at_token(&mut self, device: &str, ends: u64) {
        let left = ends.saturating_sub(self.clock.unix());
        if left < self.life.as_secs() / 10 {
            self.wrong
                .push(format!("the token of {device} has only {left} s left"));
        }
    }
}

/// A protocol header is 0, a heartbeat the largest there is, all others are what their performative's code says.
fn kind(bytes: &[u8]) -> Option<u8> {
    let head = bytes.get(..8)?;
    if head.starts_with(b"AMQP") {
        return Some(0);
    }
    if head[..4] == [0, 0, 0, 8] {
        return Some(u8::MAX);
    }
    bytes.get(10).copied()
}

fn is_whole(bytes: &[u8]) -> bool {
    if bytes.starts_with(b"AMQP") || bytes.len() < 8 {
        return bytes.len() == 8 && bytes.starts_with(b"AMQP");
    }
    bytes.len() >= u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
}

/// A handle of zero may be written in a way of its own.
fn handle(field: &[u8]) -> u32 {
    if field == [0x43] { 0 } else { number(field) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{frame_on, performative, string, uint, ushort};
    use crate::whole::plan::Plan;

    const SENDS: &[u8] = &[0x42];

    fn begin(channel: u16) -> Vec<u8> {
        frame_on(
            channel,
            &performative(0x11, &[NULL, &uint(0), &uint(9), &uint(9)]),
        )
    }

    fn begun(channel: u16) -> Vec<u8> {
        let answer = [&ushort(channel)[..], &uint(0), &uint(9), &uint(9)];
        frame_on(channel, &performative(0x11, &answer))
    }

    fn attach(handle: u32, role: &[u8], address: &str) -> Vec<u8> {
        let (source, target) = (
            performative(0x28, &[&string(address)]),
            performative(0x29, &[&string(address)]),
        );
        let name = string(&format!("link {handle}"));
        let fields = [&name[..], &uint(handle), role, NULL, NULL, &source, &target];
        frame_on(1, &performative(0x12, &fields))
    }

    fn detach(handle: u32) -> Vec<u8> {
        frame_on(1, &performative(0x16, &[&uint(handle), TRUE]))
    }

    fn transfer(channel: u16, handle: u32) -> Vec<u8> {
        frame_on(
            channel,
            &performative(0x14, &[&uint(handle), &uint(0), &[0xa0, 0], &uint(0)]),
        )
    }

    fn end(channel: u16) -> Vec<u8> {
        frame_on(channel, &performative(0x17, &[]))
    }

    /// How much is wrong with what the client writes and the hub answers.
    fn wrong(frames: &[(usize, Vec<u8>)]) -> usize {
        let sends = Arc::new(Mutex::new(Sends::new(&Plan::quiet())));
        let mut observer = Observer::new(Clockwork::new(), Duration::from_secs(3600), sends, 1);
        for (side, bytes) in [(CLIENT, begin(1)), (HUB, begun(1))].iter().chain(frames) {
            assert_eq!(observer.observe(*side, bytes, None), bytes.len());
        }
        observer.wrong().len()
    }

    #[test]
    fn two_links_to_a_node_at_once_are_found_by_their_direction() {
        const NODE: &str = "/devices/d0/twin";
        let one = (CLIENT, attach(0, SENDS, NODE));
        assert_eq!(wrong(&[one.clone(), (CLIENT, attach(1, SENDS, NODE))]), 1);
        assert_eq!(wrong(&[one.clone(), (CLIENT, attach(1, TRUE, NODE))]), 0);
        assert_eq!(wrong(&[one.clone(), (CLIENT, attach(1, SENDS, "$cbs"))]), 0);
        let again = [one, (CLIENT, detach(0)), (CLIENT, attach(0, SENDS, NODE))];
        assert_eq!(wrong(&again), 0);
        let two = (CLIENT, attach(0, TRUE, NODE));
        assert_eq!(wrong(&[two.clone(), (CLIENT, attach(1, TRUE, NODE))]), 1);
    }

    #[test]
    fn what_leaves_on_no_link_to_send_by_or_on_no_session_is_found() {
        const NODE: &str = "/devices/d0/methods/devicebound";
        let attached = |role: &[u8]| (CLIENT, attach(0, role, NODE));
        let sent = (CLIENT, transfer(1, 0));
        assert_eq!(wrong(&[attached(SENDS), sent.clone()]), 0);
        assert_eq!(wrong(&[attached(TRUE), sent.clone()]), 1);
        assert_eq!(wrong(std::slice::from_ref(&sent)), 1);
        assert_eq!(wrong(&[attached(SENDS), (CLIENT, detach(0)), sent.clone()]), 1);
        // What the hub has said the client may not have heard.
        assert_eq!(wrong(&[attached(SENDS), (HUB, detach(0)), sent.clone()]), 0);
        assert_eq!(wrong(&[attached(SENDS), (CLIENT, end(1)), sent]), 1);
        assert_eq!(wrong(&[(CLIENT, transfer(7, 0))]), 1);
    }
}
