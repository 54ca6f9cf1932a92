//! Messages, section by section, encoded and read by hand (AMQP 1.0 §3.2).

use std::collections::BTreeMap;

use crate::frames::{performative, string, symbol, text};

/// A message of one data section, under these application properties.
#[must_use]
pub fn message(
    properties: &[&[u8]],
    annotations: &[(&str, Vec<u8>)],
    application: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !annotations.is_empty() {
        let entries: Vec<Vec<u8>> = annotations
            .iter()
            .flat_map(|(key, value)| [symbol(key), value.clone()])
            .collect();
        bytes.extend([0x00, 0x53, 0x72]);
        bytes.extend(map(&entries));
    }
    if !properties.is_empty() {
        bytes.extend(performative(0x73, properties));
    }
    if !application.is_empty() {
        let entries: Vec<Vec<u8>> = application
            .iter()
            .flat_map(|(key, value)| [string(key), string(value)])
            .collect();
        bytes.extend([0x00, 0x53, 0x74]);
        bytes.extend(map(&entries));
    }
    bytes.extend([0x00, 0x53, 0x75, 0xb0]);
    bytes.extend(
        u32::try_from(body.len())
            .expect("a test's body is small")
            .to_be_bytes(),
    );
    bytes.extend(body);
    bytes
}

/// A uuid.
#[must_use]
pub fn uuid(bytes: [u8; 16]) -> Vec<u8> {
    [&[0x98][..], &bytes].concat()
}

/// A long.
#[must_use]
pub fn long(value: i64) -> Vec<u8> {
    [&[0x81][..], &value.to_be_bytes()].concat()
}

/// An int.
#[must_use]
pub fn int(value: i32) -> Vec<u8> {
    [&[0x71][..], &value.to_be_bytes()].concat()
}

pub(crate) fn map(entries: &[Vec<u8>]) -> Vec<u8> {
    let content = entries.concat();
    let size = u32::try_from(content.len() + 4).expect("a test's map is small");
    let count = u32::try_from(entries.len()).expect("a test's map is small");
    [&[0xd1][..], &size.to_be_bytes(), &count.to_be_bytes(), &content].concat()
}

/// Reads the sections of a message: by descriptor, what each holds, as it is encoded.
#[must_use]
pub fn sections(mut message: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    let mut found = BTreeMap::new();
    while let [0x00, 0x53, code, rest @ ..] = message {
        let length = value_length(rest);
        found.insert(*code, rest[..length].to_vec());
        message = &rest[length..];
    }
    found
}

/// The entries of an encoded map with string or symbol keys.
#[must_use]
pub fn entries(map: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut rest = match map {
        [0xc1, _, _, rest @ ..] | [0xd1, _, _, _, _, _, _, _, _, rest @ ..] => rest,
        _ => &[],
    };
    let mut found = BTreeMap::new();
    while !rest.is_empty() {
        let key = value_length(rest);
        let value = value_length(&rest[key..]);
        found.insert(text(&rest[..key]), rest[key..key + value].to_vec());
        rest = &rest[key + value..];
    }
    found
}

/// The bytes of an encoded binary.
#[must_use]
pub fn binary(value: &[u8]) -> &[u8] {
    match value {
        [0xa0, _, bytes @ ..] | [0xb0, _, _, _, _, bytes @ ..] => bytes,
        _ => &[],
    }
}

/// AMQP 1.0 §1.2: the constructor's first half says how long a value is.
fn value_length(value: &[u8]) -> usize {
    match value[0] {
        0x00 => {
            let descriptor = value_length(&value[1..]);
            1 + descriptor + value_length(&value[1 + descriptor..])
        }
        code => match code >> 4 {
            0x4 => 1,
            0x5 => 2,
            0x6 => 3,
            0x7 => 5,
            0x8 => 9,
            0x9 => 17,
            0xa | 0xc | 0xe => 2 + usize::from(value[1]),
            _ => 5 + u32::from_be_bytes([value[1], value[2], value[3], value[4]]) as usize,
        },
    }
}
