//! What a client says, byte by byte (AMQP 1.0 parts 1, 2 and 5).

use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) const FLOW: u8 = 0x13;
pub(super) const DISPOSITION: u8 = 0x15;

/// What a device with this token says before the input: by `depth` 0 nothing; 1 SASL ANONYMOUS; 2 PLAIN; 3 `open`; 4
/// `begin`; 5 the link of telemetry with handle 0; 6 those of cloud-to-device messages, methods and twins too, with
/// credit; 7 no SASL, and the two links of `$cbs`.
pub(super) fn prefix(depth: u8, device: &str, token: &str) -> Vec<u8> {
    let mut said = Vec::new();
    let mut say = |bytes: &[u8]| said.extend_from_slice(bytes);
    match depth {
        0 => {}
        1 => {
            say(SASL);
            say(&frame(1, 0, &performative(0x41, &[symbol("ANONYMOUS")])));
        }
        7 => {}
        _ => {
            let response = format!("\0{device}@sas.hub\0{token}");
            say(SASL);
            say(&frame(
                1,
                0,
                &performative(0x41, &[symbol("PLAIN"), binary(response.as_bytes())]),
            ));
        }
    }
    if depth >= 3 {
        say(AMQP);
        say(&frame(0, 0, &performative(0x10, &[string("fuzz")])));
    }
    if depth >= 4 {
        let window = [vec![NULL], uint(0), uint(5000), uint(5000)];
        say(&frame(0, 0, &performative(0x11, &window)));
    }
    let links: &[(&str, bool, &str)] = match depth {
        5 => &LINKS[..1],
        6 => &LINKS,
        7 => &CBS,
        _ => &[],
    };
    for (handle, (name, receives, address)) in (0..).zip(links) {
        let address = address.replace("DEVICE", device);
        let (source, target) = match receives {
            true => (address.as_str(), ""),
            false => ("", address.as_str()),
        };
        let fields = [
            string(name),
            uint(handle),
            boolean(*receives),
            vec![NULL],
            vec![NULL],
            described(0x28, &list(&[string(source)])),
            described(0x29, &list(&[string(target)])),
            vec![NULL],
            vec![NULL],
            uint(0),
            vec![NULL],
            vec![NULL],
            vec![NULL],
            pair(name),
        ];
        say(&frame(0, 0, &performative(0x12, &fields)));
        if *receives {
            let fields = [
                uint(0),
                uint(5000),
                uint(0),
                uint(5000),
                uint(handle),
                uint(0),
                uint(10),
            ];
            say(&frame(0, 0, &performative(0x13, &fields)));
        }
    }
    said
}

/// The property that makes a pair of two links.
fn pair(name: &str) -> Vec<u8> {
    let body = [symbol("com.microsoft:channel-correlation-id"), string(&name[..4])];
    compound(0xd1, &body)
}

/// A message for the link with handle 0.
pub(super) fn telemetry(id: u32, body: &[u8]) -> Vec<u8> {
    let fields = [
        uint(0),
        uint(id),
        binary(&id.to_be_bytes()),
        uint(0),
        boolean(false),
        boolean(false),
    ];
    let message = described(0x75, &binary(body));
    frame(0, 0, &[performative(0x14, &fields), message].concat())
}

/// Reads the input as bodies, and makes frames of them.
pub(super) fn framed(mut input: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    while let [channel, high, low, rest @ ..] = input {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (body, behind) = rest.split_at(length);
        said.extend(frame(0, (*channel).into(), body));
        input = behind;
    }
    said
}

/// The code of the next performative; `None` for SASL, a header or a heartbeat.
pub(super) async fn next(stream: &mut (impl AsyncRead + Unpin)) -> Option<u8> {
    let mut header = [0; 8];
    let read = stream.read_exact(&mut header).await;
    read.expect("the hub ended the other client's connection");
    if header.starts_with(b"AMQP") {
        return None;
    }
    let size = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let mut body = vec![0; size - header.len()];
    stream.read_exact(&mut body).await.expect("a whole frame");
    match (header[5], &body[..]) {
        (0, [0x00, 0x53, code, ..]) => Some(*code),
        _ => None,
    }
}

fn frame(kind: u8, channel: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).expect("a frame is short");
    [&size.to_be_bytes()[..], &[2, kind], &channel.to_be_bytes(), body].concat()
}

fn performative(code: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    described(code, &list(fields))
}

fn described(code: u8, value: &[u8]) -> Vec<u8> {
    [&[0x00, 0x53, code], value].concat()
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    compound(0xd0, items)
}

fn compound(code: u8, items: &[Vec<u8>]) -> Vec<u8> {
    let body = items.concat();
    let size = u32::try_from(body.len() + 4).expect("a list is short");
    let count = u32::try_from(items.len()).expect("a list is short");
    [&[code][..], &size.to_be_bytes(), &count.to_be_bytes(), &body].concat()
}

fn boolean(value: bool) -> Vec<u8> {
    vec![if value { 0x41 } else { 0x42 }]
}

fn uint(value: u32) -> Vec<u8> {
    [&[0x70][..], &value.to_be_bytes()].concat()
}

fn string(text: &str) -> Vec<u8> {
    variable(0xb1, text.as_bytes())
}

fn symbol(text: &str) -> Vec<u8> {
    variable(0xb3, text.as_bytes())
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    variable(0xb0, bytes)
}

fn variable(code: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a text is short");
    [&[code][..], &length.to_be_bytes(), bytes].concat()
}

const AMQP: &[u8; 8] = b"AMQP\x00\x01\x00\x00";
const SASL: &[u8; 8] = b"AMQP\x03\x01\x00\x00";
const NULL: u8 = 0x40;

/// Name, whether the client receives, and node; the first four letters of a name are those of its pair.
const LINKS: [(&str, bool, &str); 6] = [
    ("telemetry", false, "/devices/DEVICE/messages/events"),
    ("commands", true, "/devices/DEVICE/messages/devicebound"),
    ("methods-in", true, "/devices/DEVICE/methods/devicebound"),
    ("methods-out", false, "/devices/DEVICE/methods/devicebound"),
    ("twin-in", true, "/devices/DEVICE/twin"),
    ("twin-out", false, "/devices/DEVICE/twin"),
];
const CBS: [(&str, bool, &str); 2] = [("cbs-out", false, "$cbs"), ("cbs-in", true, "$cbs")];
