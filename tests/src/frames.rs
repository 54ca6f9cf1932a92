//! AMQP 1.0 frames written by hand from the standard's text, so that no test of ours leans on the engine under test.

/// The header that begins AMQP proper (§2.2).
pub const AMQP_HEADER: &[u8] = b"AMQP\x00\x01\x00\x00";
/// The header that begins SASL (§5.3.1).
pub const SASL_HEADER: &[u8] = b"AMQP\x03\x01\x00\x00";

const SASL: u8 = 1;
const AMQP: u8 = 0;

/// A frame on channel 0.
#[must_use]
pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).expect("a test's frame is small");
    let mut frame = size.to_be_bytes().to_vec();
    frame.extend([2, kind, 0, 0]);
    frame.extend(body);
    frame
}

/// A frame of AMQP on this channel.
#[must_use]
pub fn frame_on(channel: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = frame(AMQP, body);
    frame[6..8].copy_from_slice(&channel.to_be_bytes());
    frame
}

/// The fields of the list that `bytes` begin with, each as it is encoded, and what stands behind the list.
#[must_use]
pub fn fields(bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (start, count, end) = match bytes {
        [0xc0, size, count, ..] => (3, usize::from(*count), 2 + usize::from(*size)),
        [0xd0, a, b, c, d, e, f, g, h, ..] => (
            9,
            u32::from_be_bytes([*e, *f, *g, *h]) as usize,
            5 + u32::from_be_bytes([*a, *b, *c, *d]) as usize,
        ),
        [0x45, ..] => (1, 0, 1),
        _ => return (Vec::new(), &[]),
    };
    let mut at = start;
    let mut fields = Vec::with_capacity(count);
    for _ in 0..count {
        let length = length(&bytes[at..]);
        fields.push(&bytes[at..at + length]);
        at += length;
    }
    (fields, &bytes[end..])
}

/// How many bytes the value has that `bytes` begin with.
fn length(bytes: &[u8]) -> usize {
    match bytes[0] {
        0x00 => {
            let descriptor = 1 + length(&bytes[1..]);
            descriptor + length(&bytes[descriptor..])
        }
        code => match code >> 4 {
            0x4 => 1,
            0x5 => 2,
            0x6 => 3,
            0x7 => 5,
            0x8 => 9,
            0x9 => 17,
            0xa | 0xc | 0xe => 2 + usize::from(bytes[1]),
            _ => 5 + u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize,
        },
    }
}

/// What is in the data sections (§3.2.6) of an encoded message, or of a batch of them.
#[must_use]
pub fn data_sections(message: &[u8]) -> Vec<&[u8]> {
    let mut data = Vec::new();
    let mut rest = message;
    while let [0x00, 0x53, code, value @ ..] = rest {
        let length = length(value);
        if *code == 0x75 {
            let head = if value[0] == 0xa0 { 2 } else { 5 };
            data.push(&value[head..length]);
        }
        rest = &value[length..];
    }
    data
}

/// The value of an encoded uint; 0 for anything else.
#[must_use]
pub fn number(value: &[u8]) -> u32 {
    match *value {
        [0x52, small] => u32::from(small),
        [0x70, a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// The text of an encoded string or symbol; empty for anything else.
#[must_use]
pub fn text(value: &[u8]) -> String {
    let text = match value {
        [0xa1 | 0xa3, _, text @ ..] => text,
        [0xb1 | 0xb3, _, _, _, _, text @ ..] => text,
        _ => &[],
    };
    String::from_utf8_lossy(text).into_owned()
}

/// A performative: descriptor code and a list of fields that are encoded already.
#[must_use]
pub fn performative(code: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut body = vec![0x00, 0x53, code];
    body.extend(list(fields));
    body
}

/// A list32 of fields that are encoded already.
#[must_use]
pub fn list(fields: &[&[u8]]) -> Vec<u8> {
    let content = fields.concat();
    let mut list = vec![0xd0];
    list.extend(
        u32::try_from(content.len() + 4)
            .expect("a test's list is small")
            .to_be_bytes(),
    );
    list.extend(
        u32::try_from(fields.len())
            .expect("a test's list is small")
            .to_be_bytes(),
    );
    list.extend(content);
    list
}

/// A uint.
#[must_use]
pub fn uint(value: u32) -> Vec<u8> {
    let mut bytes = vec![0x70];
    bytes.extend(value.to_be_bytes());
    bytes
}

/// A ushort.
#[must_use]
pub fn ushort(value: u16) -> Vec<u8> {
    let mut bytes = vec![0x60];
    bytes.extend(value.to_be_bytes());
    bytes
}

/// A string.
#[must_use]
pub fn string(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xb1];
    bytes.extend(
        u32::try_from(text.len())
            .expect("a test's string is small")
            .to_be_bytes(),
    );
    bytes.extend(text.as_bytes());
    bytes
}

/// A symbol.
#[must_use]
pub fn symbol(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xb3];
    bytes.extend(
        u32::try_from(text.len())
            .expect("a test's symbol is small")
            .to_be_bytes(),
    );
    bytes.extend(text.as_bytes());
    bytes
}

/// Null.
pub const NULL: &[u8] = &[0x40];
/// True.
pub const TRUE: &[u8] = &[0x41];

/// SASL: the one mechanism that is offered.
#[must_use]
pub fn sasl_mechanisms(name: &str) -> Vec<u8> {
    frame(SASL, &performative(0x40, &[&symbol(name)]))
}

/// SASL: the outcome.
#[must_use]
pub fn sasl_outcome(code: u8) -> Vec<u8> {
    frame(SASL, &performative(0x44, &[&[0x50, code]]))
}

/// The open of a peer that takes frames of 64 KiB.
#[must_use]
pub fn open() -> Vec<u8> {
    frame(
        AMQP,
        &performative(0x10, &[&string("scripted"), NULL, &uint(65_536), &ushort(255)]),
    )
}

/// The answer to a begin on channel 0.
#[must_use]
pub fn begin() -> Vec<u8> {
    frame(
        AMQP,
        &performative(0x11, &[&ushort(0), &uint(1), &uint(5000), &uint(5000)]),
    )
}

/// The answer to a sender's attach, under its name.
#[must_use]
pub fn attach(name: &str) -> Vec<u8> {
    let source = performative(0x28, &[]);
    let target = performative(0x29, &[&string("/devices/dev/messages/events")]);
    frame(
        AMQP,
        &performative(
            0x12,
            &[&string(name), &uint(0), TRUE, NULL, NULL, &source, &target],
        ),
    )
}

/// A flow that grants credit to the link of handle 0.
#[must_use]
pub fn flow(credit: u32) -> Vec<u8> {
    let fields = [
        &uint(0)[..],
        &uint(5000),
        &uint(1),
        &uint(5000),
        &uint(0),
        &uint(0),
        &uint(credit),
    ];
    frame(AMQP, &performative(0x13, &fields))
}

/// A settled disposition of one delivery: accepted.
#[must_use]
pub fn accepted(delivery: u32) -> Vec<u8> {
    let state = performative(0x24, &[]);
    frame(
        AMQP,
        &performative(0x15, &[TRUE, &uint(delivery), &uint(delivery), TRUE, &state]),
    )
}

/// A disposition over a range of deliveries: accepted.
#[must_use]
pub fn accepted_range(first: u32, last: u32) -> Vec<u8> {
    let state = performative(0x24, &[]);
    frame(
        AMQP,
        &performative(0x15, &[TRUE, &uint(first), &uint(last), TRUE, &state]),
    )
}

/// A settled disposition of one delivery: rejected, with a condition and its text.
#[must_use]
pub fn rejected(delivery: u32, condition: &str, text: &str) -> Vec<u8> {
    let error = performative(0x1d, &[&symbol(condition), &string(text)]);
    let state = performative(0x25, &[&error]);
    frame(
        AMQP,
        &performative(0x15, &[TRUE, &uint(delivery), &uint(delivery), TRUE, &state]),
    )
}

/// A settled disposition of one delivery: released.
#[must_use]
pub fn released(delivery: u32) -> Vec<u8> {
    let state = performative(0x26, &[]);
    frame(
        AMQP,
        &performative(0x15, &[TRUE, &uint(delivery), &uint(delivery), TRUE, &state]),
    )
}

/// A closing detach of handle 0, with an error or without.
#[must_use]
pub fn detach(error: Option<(&str, &str)>) -> Vec<u8> {
    let error = error.map_or_else(
        || NULL.to_vec(),
        |(condition, text)| performative(0x1d, &[&symbol(condition), &string(text)]),
    );
    frame(AMQP, &performative(0x16, &[&uint(0), TRUE, &error]))
}

/// An end.
#[must_use]
pub fn end() -> Vec<u8> {
    frame(AMQP, &performative(0x17, &[]))
}

/// A close, with an error or without.
#[must_use]
pub fn close(error: Option<(&str, &str)>) -> Vec<u8> {
    match error {
        None => frame(AMQP, &performative(0x18, &[])),
        Some((condition, text)) => {
            let error = performative(0x1d, &[&symbol(condition), &string(text)]);
            frame(AMQP, &performative(0x18, &[&error]))
        }
    }
}

/// Byte sequences that panic, abort or exhaust an engine that trusts its peer, each with what it is.
///
/// They are whole frames of the AMQP phase; a guard has to stop every one of them.
#[must_use]
pub fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let mut sequences: Vec<(&'static str, Vec<u8>)> = Vec::new();
    for size in 0..8_u32 {
        let mut bytes = size.to_be_bytes().to_vec();
        bytes.extend([2, 0, 0, 0]);
        sequences.push(("a frame shorter than its header", bytes));
    }
    sequences.push(("a frame of 4 GiB", vec![0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0]));

    let mut nested = vec![0x45];
    for _ in 0..6_000 {
        nested = list(&[&nested]);
    }
    let mut attach = vec![0x00, 0x53, 0x12];
    attach.extend(&nested);
    sequences.push(("an attach nested 6,000 levels deep", frame(AMQP, &attach)));
    sequences.push((
        "described values nested 4,500 levels deep",
        frame(AMQP, &[0x00; 4_500]),
    ));

    sequences.push((
        "a disposition over every delivery-id",
        accepted_range(0, u32::MAX),
    ));
    let array = [
        &[0x00, 0x53, 0x10, 0xf0, 0, 0, 0, 5][..],
        &u32::MAX.to_be_bytes(),
        &[0x40],
    ]
    .concat();
    sequences.push(("an array of 4,294,967,295 nulls", frame(AMQP, &array)));
    let list = [
        &[0x00, 0x53, 0x10, 0xd0, 0, 0, 0, 5][..],
        &u32::MAX.to_be_bytes(),
        &[0x40],
    ]
    .concat();
    sequences.push(("a list of 4,294,967,295 items", frame(AMQP, &list)));
    let text = [
        &[0x00, 0x53, 0x10, 0xd0, 0, 0, 0, 9, 0, 0, 0, 1, 0xb1][..],
        &u32::MAX.to_be_bytes(),
    ]
    .concat();
    sequences.push(("a string of 4 GiB", frame(AMQP, &text)));
    let mut offset = frame(AMQP, &[0; 8]);
    offset[4] = 1;
    sequences.push(("a data offset inside the header", offset.clone()));
    offset[4] = 255;
    sequences.push(("a data offset past the frame", offset));
    sequences
}
