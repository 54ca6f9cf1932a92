//! Looks into a frame that the guard has passed, without decoding it, and writes one anew.

use bytes::{BufMut, BytesMut};
use iothub_frame::walk;

/// The body of an AMQP frame: a performative, and for a transfer a payload behind it.
pub(crate) struct Performative<'a> {
    pub(crate) kind: Kind,
    /// The described list without its descriptor.
    list: &'a [u8],
    /// Where the performative ends and the payload begins.
    pub(crate) end: usize,
    /// How many values it is: each takes room once it is decoded.
    values: usize,
}

/// The nine performatives (§2.7), by the low byte of their descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Begin,
    Attach,
    Flow,
    Transfer,
    Disposition,
    Detach,
    End,
    Close,
}

impl<'a> Performative<'a> {
    /// `None` for what is no performative; the engine refuses that.
    pub(crate) fn of(body: &'a [u8]) -> Option<Self> {
        if body.first() != Some(&DESCRIBED) {
            return None;
        }
        let walk::Extent { end, values, .. } = walk::measure_value(body, 0).ok()?;
        let descriptor_end = walk::check_value(body, 1).ok()?;
        let kind = Kind::of(body.get(1..descriptor_end)?)?;
        Some(Self {
            kind,
            list: body.get(descriptor_end..end)?,
            end,
            values,
        })
    }

    /// About what it takes in the engine's memory, in bytes.
    pub(crate) const fn weight(&self) -> usize {
        self.end + self.values * VALUE_WEIGHT
    }

    /// A field that is a uint or a handle, by its place from 0; `None` if it is absent, null or of another type.
    pub(crate) fn uint(&self, place: usize) -> Option<u32> {
        match self.field(place)? {
            [0x43, ..] => Some(0),
            [0x52, byte, ..] => Some(u32::from(*byte)),
            [0x70, rest @ ..] => rest.first_chunk().map(|word| u32::from_be_bytes(*word)),
            _ => None,
        }
    }

    /// A field that is a ushort.
    pub(crate) fn ushort(&self, place: usize) -> Option<u16> {
        match self.field(place)? {
            [0x60, high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        }
    }

    /// Whether a field is there and true.
    pub(crate) fn is_true(&self, place: usize) -> bool {
        matches!(self.field(place), Some([0x41, ..] | [0x56, 1, ..]))
    }

    /// Its fields as they are encoded; `None` when the list is none.
    pub(crate) fn fields(&self) -> Option<Vec<&'a [u8]>> {
        let (mut at, count) = match *self.list {
            [0x45, ..] => (1, 0),
            [0xc0, _, count, ..] => (3, usize::from(count)),
            [0xd0, _, _, _, _, c0, c1, c2, c3, ..] => (9, u32::from_be_bytes([c0, c1, c2, c3]) as usize),
            _ => return None,
        };
        let mut fields = Vec::with_capacity(MOST_FIELDS);
        for _ in 0..count {
            let end = walk::check_value(self.list, at).ok()?;
            fields.push(self.list.get(at..end)?);
            at = end;
        }
        Some(fields)
    }

    /// The list from a field on.
    fn field(&self, place: usize) -> Option<&'a [u8]> {
        let mut at = match self.list.first()? {
            0xc0 => 3,        // list8: constructor, size, count
            0xd0 => 9,        // list32
            _ => return None, // list0
        };
        for _ in 0..place {
            at = walk::check_value(self.list, at).ok()?;
        }
        self.list.get(at..)
    }
}

/// Writes a performative: the descriptor, and the list in the shortest form that holds it.
pub(crate) fn put(out: &mut BytesMut, kind: Kind, fields: &[&[u8]]) {
    let size: usize = fields.iter().map(|field| field.len()).sum();
    out.put_slice(&[DESCRIBED, 0x53, kind.code()]);
    match (u8::try_from(size + 1), u8::try_from(fields.len())) {
        (Ok(size), Ok(count)) => out.put_slice(&[0xc0, size, count]),
        _ => {
            out.put_u8(0xd0);
            // A frame is at most 64 KiB and a little.
            out.put_u32(u32::try_from(size + 4).unwrap_or(u32::MAX));
            out.put_u32(u32::try_from(fields.len()).unwrap_or(u32::MAX));
        }
    }
    fields.iter().for_each(|field| out.put_slice(field));
}

impl Kind {
    fn code(self) -> u8 {
        KINDS.iter().find(|kind| kind.2 == self).map_or(0, |kind| kind.0)
    }

    fn of(descriptor: &[u8]) -> Option<Self> {
        let found = match descriptor {
            [0x53, code] => KINDS.iter().find(|kind| kind.0 == *code),
            [0x80, high @ .., code] if high.iter().all(|byte| *byte == 0) => {
                KINDS.iter().find(|kind| kind.0 == *code)
            }
            [0xa3, _, name @ ..] | [0xb3, _, _, _, _, name @ ..] => {
                KINDS.iter().find(|kind| kind.1.as_bytes() == name)
            }
            _ => None,
        };
        found.map(|kind| kind.2)
    }
}

const DESCRIBED: u8 = 0x00;
/// What a decoded value takes beside its bytes, in bytes; measured of nulls in a list in a map.
const VALUE_WEIGHT: usize = 80;
/// `attach` has the most fields of the nine.
const MOST_FIELDS: usize = 14;

const KINDS: [(u8, &str, Kind); 9] = [
    (0x10, "amqp:open:list", Kind::Open),
    (0x11, "amqp:begin:list", Kind::Begin),
    (0x12, "amqp:attach:list", Kind::Attach),
    (0x13, "amqp:flow:list", Kind::Flow),
    (0x14, "amqp:transfer:list", Kind::Transfer),
    (0x15, "amqp:disposition:list", Kind::Disposition),
    (0x16, "amqp:detach:list", Kind::Detach),
    (0x17, "amqp:end:list", Kind::End),
    (0x18, "amqp:close:list", Kind::Close),
];
