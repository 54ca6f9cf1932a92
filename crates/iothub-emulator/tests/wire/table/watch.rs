//! Takes frames and messages apart into their fields, and remembers them.

use std::fmt;

use super::reader::{self, Content, Item};
use crate::raw::Raw;

/// A field that came over the wire.
#[derive(Clone)]
pub(crate) struct Seen {
    /// Which frame, or which part of which message.
    pub(crate) place: &'static str,
    pub(crate) field: String,
    pub(crate) item: Item,
    /// What the client wrote for it.
    pub(crate) sent: Option<Item>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Item { kind, .. } = &self.item;
        write!(f, "{} of {}: {kind} {:?}", self.field, self.place, self.item)
    }
}

/// All that was seen.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) seen: Vec<Seen>,
}

/// What the client wrote, by the field that the hub answers with it.
pub(crate) type Sent<'a> = &'a [(&'a str, Vec<u8>)];

/// A frame from the wire.
pub(crate) struct Frame {
    pub(crate) code: u64,
    pub(crate) fields: Vec<Item>,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn number(&self, place: usize) -> u32 {
        match self.fields[place].content {
            Content::Number(number) => u32::try_from(number).unwrap(),
            _ => panic!("no number: {:?}", self.fields[place]),
        }
    }
}

/// The next frame. The frame's own header is checked here (§2.3.1): data offset 2, the type, the channel.
pub(crate) async fn frame(raw: &mut Raw, kind: u8) -> Frame {
    let bytes = raw.wire_frame().await;
    assert_eq!((bytes[4], bytes[5]), (2, kind), "data offset and type");
    assert_eq!(bytes[6..8], [0, 0], "the channel");
    let (performative, payload) = reader::first(&bytes[8..]);
    let (code, list) = performative.described();
    Frame {
        code,
        fields: list.items().to_vec(),
        payload: payload.to_vec(),
    }
}

impl Watch {
    /// The next frame, which must be of this place.
    pub(crate) async fn take(&mut self, raw: &mut Raw, place: &'static str, sent: Sent<'_>) -> Frame {
        let frame = frame(raw, u8::from(place.starts_with("sasl"))).await;
        self.see(place, &frame, sent);
        frame
    }

    /// The same, past flows: when they come is the hub's business.
    pub(crate) async fn take_past_flows(
        &mut self,
        raw: &mut Raw,
        place: &'static str,
        sent: Sent<'_>,
    ) -> Frame {
        loop {
            let frame = frame(raw, 0).await;
            if frame.code == 0x13 {
                continue;
            }
            self.see(place, &frame, sent);
            return frame;
        }
    }

    pub(crate) fn see(&mut self, place: &'static str, frame: &Frame, sent: Sent<'_>) {
        let (name, fields) = performative(frame.code);
        assert_eq!(place.split(' ').next(), Some(name), "{place}: {:?}", frame.fields);
        let count = Item {
            kind: "count",
            content: Content::Number(i128::try_from(frame.fields.len()).unwrap()),
        };
        self.push(place, "fields".to_owned(), count, None);
        self.list(place, "", fields, &frame.fields, sent);
        assert!(frame.fields.len() <= fields.len(), "{place}");
    }

    /// The sections of a message: a place and a name for each.
    pub(crate) fn message(&mut self, payload: &[u8], place: &'static str, sent: Sent<'_>) {
        for section in reader::all(payload) {
            let (code, value) = section.described();
            match (code, &value.content) {
                (0x71, Content::Pairs(pairs)) => {
                    self.map(place, "delivery annotation ", "symbol", pairs, sent);
                }
                (0x72, Content::Pairs(pairs)) => self.map(place, "annotation ", "symbol", pairs, sent),
                (0x73, Content::Items(items)) => self.list(place, "", PROPERTIES, items, sent),
                (0x74, Content::Pairs(pairs)) => self.map(place, "property ", "string", pairs, sent),
                (0x75, _) => self.push(place, "data".to_owned(), value.clone(), sent_for(sent, "data")),
                (0x77, Content::Pairs(pairs)) => self.map(place, "value ", "string", pairs, sent),
                (0x77, _) => self.push(place, "value".to_owned(), value.clone(), sent_for(sent, "value")),
                _ => panic!("{place} has section {code:#x}"),
            }
        }
    }

    fn map(&mut self, place: &'static str, what: &str, keys: &str, pairs: &[(Item, Item)], sent: Sent<'_>) {
        for (key, value) in pairs {
            assert_eq!(key.kind, keys, "{place}: the key {key:?}");
            let field = format!("{what}{key:?}");
            let sent = sent_for(sent, &field);
            self.push(place, field, value.clone(), sent);
        }
    }

    fn list(&mut self, place: &'static str, before: &str, names: &[&str], items: &[Item], sent: Sent<'_>) {
        for (at, name) in names.iter().enumerate() {
            let field = format!("{before}{name}");
            let item = items.get(at).unwrap_or(&Item::NULL);
            let wrote = sent_for(sent, &field);
            let nested = match &item.content {
                Content::Described(_) => {
                    let (code, value) = item.described();
                    composite(code).map(|(kind, names)| (kind, names, value))
                }
                _ => None,
            };
            match nested {
                Some((kind, names, value)) => {
                    let content = Content::Nothing;
                    self.push(place, field.clone(), Item { kind, content }, wrote);
                    self.list(place, &format!("{field}."), names, value.items(), sent);
                }
                None => match &item.content {
                    Content::Pairs(pairs) => {
                        let content = Content::Nothing;
                        let kind = item.kind;
                        self.push(place, field.clone(), Item { kind, content }, wrote);
                        self.map(place, &format!("{field} "), "symbol", pairs, sent);
                    }
                    _ => self.push(place, field, item.clone(), wrote),
                },
            }
        }
    }

    fn push(&mut self, place: &'static str, field: String, item: Item, sent: Option<Item>) {
        self.seen.push(Seen {
            place,
            field,
            item,
            sent,
        });
    }
}

fn sent_for(sent: Sent<'_>, field: &str) -> Option<Item> {
    let found = sent.iter().find(|(name, _)| *name == field);
    found.map(|(_, bytes)| reader::first(bytes).0)
}

/// A performative's name and fields (§2.7, §5.3.3).
fn performative(code: u64) -> (&'static str, &'static [&'static str]) {
    match code {
        0x10 => (
            "open",
            &[
                "container-id",
                "hostname",
                "max-frame-size",
                "channel-max",
                "idle-time-out",
                "outgoing-locales",
                "incoming-locales",
                "offered-capabilities",
                "desired-capabilities",
                "properties",
            ],
        ),
        0x11 => (
            "begin",
            &[
                "remote-channel",
                "next-outgoing-id",
                "incoming-window",
                "outgoing-window",
                "handle-max",
                "offered-capabilities",
                "desired-capabilities",
                "properties",
            ],
        ),
        0x12 => (
            "attach",
            &[
                "name",
                "handle",
                "role",
                "snd-settle-mode",
                "rcv-settle-mode",
                "source",
                "target",
                "unsettled",
                "incomplete-unsettled",
                "initial-delivery-count",
                "max-message-size",
                "offered-capabilities",
                "desired-capabilities",
                "properties",
            ],
        ),
        0x13 => (
            "flow",
            &[
                "next-incoming-id",
                "incoming-window",
                "next-outgoing-id",
                "outgoing-window",
                "handle",
                "delivery-count",
                "link-credit",
                "available",
                "drain",
                "echo",
                "properties",
            ],
        ),
        0x14 => (
            "transfer",
            &[
                "handle",
                "delivery-id",
                "delivery-tag",
                "message-format",
                "settled",
                "more",
                "rcv-settle-mode",
                "state",
                "resume",
                "aborted",
                "batchable",
            ],
        ),
        0x15 => (
            "disposition",
            &["role", "first", "last", "settled", "state", "batchable"],
        ),
        0x16 => ("detach", &["handle", "closed", "error"]),
        0x17 => ("end", &["error"]),
        0x18 => ("close", &["error"]),
        0x40 => ("sasl-mechanisms", &["sasl-server-mechanisms"]),
        0x44 => ("sasl-outcome", &["code", "additional-data"]),
        other => panic!("no performative: {other:#x}"),
    }
}

/// A composite type's name and fields, of those that are looked into (§2.8.14, §3.4).
fn composite(code: u64) -> Option<(&'static str, &'static [&'static str])> {
    Some(match code {
        0x1d => ("error", &["condition", "description", "info"]),
        0x24 => ("accepted", &[]),
        0x25 => ("rejected", &["error"]),
        0x26 => ("released", &[]),
        0x27 => (
            "modified",
            &["delivery-failed", "undeliverable-here", "message-annotations"],
        ),
        _ => return None,
    })
}

/// The properties section (§3.2.4).
const PROPERTIES: &[&str] = &[
    "message-id",
    "user-id",
    "to",
    "subject",
    "reply-to",
    "correlation-id",
    "content-type",
    "content-encoding",
    "absolute-expiry-time",
    "creation-time",
    "group-id",
    "group-sequence",
    "reply-to-group-id",
];
