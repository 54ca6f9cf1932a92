//! What the engine writes, in the words that clients expect: whole frames in, whole frames out.
//!
//! - Performatives are written with all their fields. The engine leaves out what stands at a list's end and is null
//!   or a default, as the standard (§1.4) allows; azure-eventhub for Python indexes the lists blindly, and wants some
//!   defaults spelt out.
//! - Our `open` is the real hub's, whatever the engine says.
//! - A link's name loses the role that `translate` put behind it.
//! - Delivery-tags of four bytes become little-endian counters, as the real hub's are; others are taken from the label
//!   that stands before the payload of a delivery (see [`Label`]).

use std::collections::BTreeMap;

use bytes::{BufMut, BytesMut};

use super::outgoing::{self, Label, Outgoing};
use super::performative::{self, Kind, Performative};
use super::translate::{next_frame, put_frame};
use super::{AMQP_HEADER_LEN, CHANNEL_MAX, HANDLE_MAX, IDLE_TIME_OUT_MS, MAX_FRAME_SIZE};
use crate::hub::Impairments;

/// Translates what the engine writes.
#[derive(Debug)]
pub(crate) struct Outward {
    container_id: String,
    outgoing: Outgoing,
    /// Less than one frame, between two calls.
    unread: BytesMut,
    headed: bool,
    /// What a fault makes less of, as the engine wrote it: the last of each link, and of each session.
    held_back: BTreeMap<(u16, Option<u32>), BytesMut>,
}

impl Outward {
    pub(crate) fn new(container_id: String, outgoing: Outgoing) -> Self {
        Self {
            container_id,
            outgoing,
            unread: BytesMut::new(),
            headed: false,
            held_back: BTreeMap::new(),
        }
    }

    /// Translates `bytes` into `out`, for a peer that takes frames up to `max_frame` bytes.
    pub(crate) fn translate(
        &mut self,
        bytes: &[u8],
        max_frame: u32,
        impairments: Impairments,
        out: &mut BytesMut,
    ) {
        self.unread.put_slice(bytes);
        if !self.headed {
            if self.unread.len() < AMQP_HEADER_LEN {
                return;
            }
            out.put(self.unread.split_to(AMQP_HEADER_LEN));
            self.headed = true;
        }
        while let Some(frame) = next_frame(&mut self.unread) {
            self.frame(&frame, max_frame, impairments, out);
        }
    }

    /// Writes what was held back, unless there is still something wrong that it would have to be held back for.
    pub(crate) fn release(&mut self, impairments: Impairments, out: &mut BytesMut) {
        if !impairments.has(Impairments::NO_CREDIT.with(Impairments::NO_WINDOW)) {
            for (_, frame) in std::mem::take(&mut self.held_back) {
                out.put_slice(&frame);
            }
        }
    }

    /// Notes what a fault takes out of `flow`, and gives what is left of it.
    fn impair(
        &mut self,
        channel: u16,
        flow: &Performative<'_>,
        impairments: Impairments,
    ) -> Option<BytesMut> {
        let mut fields = flow.fields()?;
        let handle = flow.uint(4);
        let credit = impairments.has(Impairments::NO_CREDIT) && handle.is_some();
        let window = impairments.has(Impairments::NO_WINDOW);
        if !credit && !window {
            return None;
        }
        fields.resize(FLOW_FIELDS.max(fields.len()), NULL);
        let mut whole = BytesMut::new();
        performative::put(&mut whole, Kind::Flow, &fields);
        let mut held = BytesMut::new();
        put_frame(&mut held, channel, &whole, None);
        self.held_back.insert((channel, handle), held);
        if credit {
            fields[6] = ZERO; // link-credit
        }
        if window {
            fields[1] = ZERO; // incoming-window
        }
        let mut impaired = BytesMut::new();
        performative::put(&mut impaired, Kind::Flow, &fields);
        Some(impaired)
    }

    fn frame(&mut self, frame: &[u8], max_frame: u32, impairments: Impairments, out: &mut BytesMut) {
        // The engine writes no extended headers.
        let (header, body) = frame.split_at(AMQP_HEADER_LEN);
        let channel = u16::from_be_bytes([header[6], header[7]]);
        let Some(performative) = Performative::of(body) else {
            out.put_slice(frame);
            return;
        };
        let mut payload = &body[performative.end..];
        let mut whole = BytesMut::new();
        match performative.kind {
            Kind::Open => whole.put_slice(&open(&self.container_id)),
            Kind::Attach => {
                let fields = performative.fields().unwrap_or_default();
                let name = fields.first().copied().map(outgoing::text).unwrap_or_default();
                let second = self.outgoing.attached(channel, name, performative.uint(1));
                put_whole(&mut whole, &performative, &Edit { second, tag: None });
            }
            Kind::Transfer if performative.uint(TRANSFER_FORMAT) == Some(LABELLED) => {
                let labelled = data_content(payload).and_then(Label::take);
                let Some((label, content)) = labelled else {
                    debug_assert!(false, "a labelled delivery without its label");
                    return;
                };
                let id = performative.uint(1).unwrap_or(0);
                self.outgoing
                    .transfer(&label, channel, id, performative.is_true(4));
                payload = content;
                let edit = Edit {
                    second: false,
                    tag: label.tag,
                };
                put_whole(&mut whole, &performative, &edit);
            }
            kind => {
                self.outgoing.outward(channel, &performative);
                match kind {
                    Kind::Flow => match self.impair(channel, &performative, impairments) {
                        Some(impaired) => whole = impaired,
                        None => {
                            self.held_back.remove(&(channel, performative.uint(4)));
                        }
                    },
                    Kind::Begin if impairments.has(Impairments::NO_WINDOW) => {
                        put_begin(&mut whole, &performative);
                    }
                    Kind::Detach => {
                        self.held_back.remove(&(channel, performative.uint(0)));
                    }
                    Kind::End => self.held_back.retain(|(of, _), _| *of != channel),
                    _ => {}
                }
                if whole.is_empty() {
                    put_whole(&mut whole, &performative, &Edit::default());
                }
            }
        }
        if whole.is_empty() || AMQP_HEADER_LEN + whole.len() + payload.len() > max_frame as usize {
            // What the engine split to fit exactly may not grow.
            out.put_slice(frame);
            return;
        }
        whole.put_slice(payload);
        put_frame(out, channel, &whole, None);
    }
}

/// What else is written than the engine does.
#[derive(Default)]
struct Edit {
    /// An attach says that the client settles second.
    second: bool,
    /// A transfer's delivery-tag.
    tag: Option<[u8; 16]>,
}

/// What the data section holds that the engine has put around a delivery; the first frame has its beginning.
fn data_content(payload: &[u8]) -> Option<&[u8]> {
    match payload {
        [0x00, 0x53, 0x75, 0xa0, _, content @ ..] => Some(content),
        [0x00, 0x53, 0x75, 0xb0, _, _, _, _, content @ ..] => Some(content),
        _ => None,
    }
}

/// Writes a `begin` that gives no window.
fn put_begin(out: &mut BytesMut, begin: &Performative<'_>) {
    let mut whole = BytesMut::new();
    put_whole(&mut whole, begin, &Edit::default());
    let Some(whole) = Performative::of(&whole) else {
        return;
    };
    let Some(mut fields) = whole.fields() else { return };
    fields[2] = ZERO; // incoming-window
    performative::put(out, Kind::Begin, &fields);
}

/// Writes the performative with all its fields; nothing for `end` and `close`, which have one.
fn put_whole(out: &mut BytesMut, performative: &Performative<'_>, edit: &Edit) {
    let Some(shape) = SHAPES.iter().find(|shape| shape.kind == performative.kind) else {
        return;
    };
    let Some(mut fields) = performative.fields() else {
        return;
    };
    fields.resize(shape.fields.max(fields.len()), NULL);
    for (place, default) in shape.defaults {
        if fields[*place] == NULL {
            fields[*place] = default;
        }
    }
    let mut edited = BytesMut::new();
    match performative.kind {
        Kind::Attach => {
            if !performative.is_true(2) && fields[9] == NULL {
                fields[9] = ZERO; // initial-delivery-count, a sender's
            }
            put_unmarked(&mut edited, fields[0]);
            fields[0] = &edited;
            if edit.second {
                fields[4] = SECOND;
            }
        }
        Kind::Transfer => {
            match (fields[2], edit.tag) {
                (_, Some(tag)) => {
                    edited.put_slice(&[0xa0, 16]);
                    edited.put_slice(&tag);
                    fields[2] = &edited;
                }
                ([0xa0, 4, a, b, c, d], None) => {
                    edited.put_slice(&[0xa0, 4, *d, *c, *b, *a]);
                    fields[2] = &edited;
                }
                _ => {}
            }
            if performative.uint(TRANSFER_FORMAT) == Some(LABELLED) {
                fields[TRANSFER_FORMAT] = ZERO;
            }
        }
        _ => {}
    }
    performative::put(out, performative.kind, &fields);
}

/// The link's name without the role behind it.
fn put_unmarked(out: &mut BytesMut, name: &[u8]) {
    let ([0xa1, _, text @ .., _] | [0xb1, _, _, _, _, text @ .., _]) = name else {
        return out.put_slice(name);
    };
    match u8::try_from(text.len()) {
        Ok(length) => out.put_slice(&[0xa1, length]),
        Err(_) => {
            out.put_u8(0xb1);
            out.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        }
    }
    out.put_slice(text);
}

/// `open` (§2.7.1) with all its ten fields, as the real hub fills them.
fn open(container_id: &str) -> Vec<u8> {
    let mut fields = vec![0xa1, u8::try_from(container_id.len()).unwrap_or(0)];
    fields.extend_from_slice(container_id.as_bytes());
    fields.extend_from_slice(&[0xa1, 9]); // hostname
    fields.extend_from_slice(b"localhost");
    fields.push(0x70); // max-frame-size
    fields.extend_from_slice(&MAX_FRAME_SIZE.to_be_bytes());
    fields.push(0x60); // channel-max
    fields.extend_from_slice(&CHANNEL_MAX.to_be_bytes());
    fields.push(0x70); // idle-time-out
    fields.extend_from_slice(&IDLE_TIME_OUT_MS.to_be_bytes());
    fields.extend_from_slice(&[0x40; 5]); // locales, capabilities, properties
    let size = u8::try_from(fields.len() + 1).unwrap_or(0);
    let mut open = vec![0x00, 0x53, 0x10, 0xc0, size, 10];
    open.append(&mut fields);
    open
}

/// How many fields a performative has (§2.7), and what is written for some that the engine leaves out.
struct Shape {
    kind: Kind,
    fields: usize,
    defaults: &'static [(usize, &'static [u8])],
}

const SHAPES: [Shape; 6] = [
    Shape {
        kind: Kind::Begin,
        fields: 8,
        defaults: &[(4, &uint(HANDLE_MAX))],
    },
    Shape {
        kind: Kind::Attach,
        fields: 14,
        defaults: &[(5, EMPTY_SOURCE), (6, EMPTY_TARGET)],
    },
    Shape {
        kind: Kind::Flow,
        fields: 11,
        defaults: &[],
    },
    Shape {
        kind: Kind::Transfer,
        fields: 11,
        defaults: &[],
    },
    Shape {
        kind: Kind::Disposition,
        fields: 6,
        defaults: &[],
    },
    Shape {
        kind: Kind::Detach,
        fields: 3,
        defaults: &[],
    },
];

/// The message-format of a delivery with a [`Label`] before its payload: between us and the engine only.
pub(super) const LABELLED: u32 = 0x6c61_6265;
const TRANSFER_FORMAT: usize = 3;
/// rcv-settle-mode `second`
const SECOND: &[u8] = &[0x50, 1];
const FLOW_FIELDS: usize = 11;
const NULL: &[u8] = &[0x40];
const ZERO: &[u8] = &[0x43];
const EMPTY_SOURCE: &[u8] = &[0x00, 0x53, 0x28, 0x45];
const EMPTY_TARGET: &[u8] = &[0x00, 0x53, 0x29, 0x45];

const fn uint(value: u32) -> [u8; 5] {
    let [a, b, c, d] = value.to_be_bytes();
    [0x70, a, b, c, d]
}

#[cfg(test)]
#[path = "outward_tests.rs"]
mod tests;
