//! Encoded by hand from AMQP 1.0 §1.6 and §3.2.

use super::*;

fn bytes(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

/// An amqp-value section.
fn value_of(encoded: &[u8]) -> Result<Value, Malformed> {
    match message(&bytes(&[&[0x00, 0x53, 0x77], encoded]))?.body {
        Body::Value(value) => Ok(value),
        other => panic!("no value: {other:?}"),
    }
}

#[test]
fn each_encoding_of_each_type() {
    let text = |code: u8, text: &str| [&[code, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let cases: Vec<(Vec<u8>, Value)> = vec![
        (vec![0x40], Value::Null),
        (vec![0x41], Value::Boolean(true)),
        (vec![0x42], Value::Boolean(false)),
        (vec![0x56, 1], Value::Boolean(true)),
        (vec![0x56, 0], Value::Boolean(false)),
        (vec![0x50, 0xff], Value::Ubyte(255)),
        (vec![0x60, 0x01, 0x00], Value::Ushort(256)),
        (vec![0x43], Value::Uint(0)),
        (vec![0x52, 0xff], Value::Uint(255)),
        (vec![0x70, 0, 1, 0, 0], Value::Uint(65_536)),
        (vec![0x44], Value::Ulong(0)),
        (vec![0x53, 0x80], Value::Ulong(128)),
        (vec![0x80, 0, 0, 0, 1, 0, 0, 0, 0], Value::Ulong(1 << 32)),
        (vec![0x51, 0xff], Value::Byte(-1)),
        (vec![0x61, 0xff, 0xfe], Value::Short(-2)),
        (vec![0x54, 0xfd], Value::Int(-3)),
        (vec![0x71, 0xff, 0xff, 0xff, 0x00], Value::Int(-256)),
        (vec![0x55, 0xfb], Value::Long(-5)),
        (
            vec![0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00],
            Value::Long(-256),
        ),
        (vec![0x72, 0x3f, 0xc0, 0, 0], Value::Float(1.5)),
        (vec![0x82, 0xbf, 0xf8, 0, 0, 0, 0, 0, 0], Value::Double(-1.5)),
        (vec![0x74, 1, 2, 3, 4], Value::Decimal32([1, 2, 3, 4])),
        (
            vec![0x84, 1, 2, 3, 4, 5, 6, 7, 8],
            Value::Decimal64([1, 2, 3, 4, 5, 6, 7, 8]),
        ),
        ([&[0x94][..], &[9; 16]].concat(), Value::Decimal128([9; 16])),
        (vec![0x73, 0, 1, 0xf6, 0x00], Value::Char('😀')),
        (
            vec![0x83, 0, 0, 0, 0, 0, 0, 0x03, 0xe8],
            Value::Timestamp(Timestamp::from_seconds(1)),
        ),
        ([&[0x98][..], &[7; 16]].concat(), Value::Uuid([7; 16])),
        (vec![0xa0, 2, 1, 2], Value::Binary(Bytes::from_static(&[1, 2]))),
        (
            vec![0xb0, 0, 0, 0, 2, 1, 2],
            Value::Binary(Bytes::from_static(&[1, 2])),
        ),
        (text(0xa1, "grün"), "grün".into()),
        (vec![0xb1, 0, 0, 0, 1, b'x'], "x".into()),
        (text(0xa3, "sym"), Value::Symbol("sym".to_owned())),
        (vec![0xb3, 0, 0, 0, 1, b'x'], Value::Symbol("x".to_owned())),
        (vec![0x45], Value::List(vec![])),
        (
            vec![0xc0, 3, 2, 0x41, 0x40],
            Value::List(vec![Value::Boolean(true), Value::Null]),
        ),
        (
            vec![0xd0, 0, 0, 0, 5, 0, 0, 0, 1, 0x41],
            Value::List(vec![Value::Boolean(true)]),
        ),
        (
            vec![0xc1, 3, 2, 0x43, 0x40],
            Value::Map(vec![(Value::Uint(0), Value::Null)]),
        ),
        (
            vec![0xd1, 0, 0, 0, 6, 0, 0, 0, 2, 0x43, 0x40],
            Value::Map(vec![(Value::Uint(0), Value::Null)]),
        ),
        (
            vec![0xe0, 4, 2, 0x50, 7, 8],
            Value::Array(vec![Value::Ubyte(7), Value::Ubyte(8)]),
        ),
        (
            vec![0xf0, 0, 0, 0, 6, 0, 0, 0, 1, 0x50, 7],
            Value::Array(vec![Value::Ubyte(7)]),
        ),
        (vec![0xe0, 2, 0, 0x50], Value::Array(vec![])),
        (vec![0xe0, 1, 0], Value::Array(vec![])),
        (
            vec![0x00, 0x43, 0x41],
            Value::Described(Box::new((Value::Uint(0), Value::Boolean(true)))),
        ),
        (
            // An array of described ubytes: the descriptor stands once.
            vec![0xe0, 6, 2, 0x00, 0x43, 0x50, 7, 8],
            Value::Array(
                [7, 8]
                    .map(|n| Value::Described(Box::new((Value::Uint(0), Value::Ubyte(n)))))
                    .to_vec(),
            ),
        ),
    ];
    for (encoded, expected) in cases {
        assert_eq!(value_of(&encoded), Ok(expected), "{encoded:02x?}");
    }
}

/// Of a whole message: cut anywhere, it is either shorter by whole sections or an error.
#[test]
fn each_truncation_of_a_message_is_an_error_or_ends_a_section() {
    let sections: [&[u8]; 4] = [
        &[0x00, 0x53, 0x70, 0x45],
        &[0x00, 0x53, 0x73, 0xc0, 4, 1, 0xa1, 1, b'i'],
        &[0x00, 0x53, 0x74, 0xc1, 6, 2, 0xa1, 1, b'k', 0x52, 5],
        &[0x00, 0x53, 0x75, 0xa0, 3, 1, 2, 3],
    ];
    let whole = sections.concat();
    let mut ends: Vec<usize> = Vec::new();
    sections.iter().fold(0, |end, section| {
        ends.push(end + section.len());
        end + section.len()
    });
    for end in 0..=whole.len() {
        let outcome = message(&whole[..end].to_vec().into());
        assert_eq!(outcome.is_ok(), ends.contains(&end), "{end}: {outcome:?}");
    }
}

#[test]
fn sections_are_known_by_code_in_either_width_and_by_name() {
    let long = bytes(&[&[0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x75, 0xa0, 1, b'x']]);
    let named = bytes(&[&[0x00, 0xa3, 16], b"amqp:data:binary", &[0xa0, 1, b'x']]);
    for encoded in [long, named] {
        assert_eq!(
            message(&encoded).unwrap().body,
            Body::Data(Bytes::from_static(b"x"))
        );
    }
}

#[test]
fn sections_out_of_order_or_mixed_bodies_are_malformed() {
    const DATA: &[u8] = &[0x00, 0x53, 0x75, 0xa0, 0];
    const SEQUENCE: &[u8] = &[0x00, 0x53, 0x76, 0x45];
    const VALUE: &[u8] = &[0x00, 0x53, 0x77, 0x40];
    const PROPERTIES: &[u8] = &[0x00, 0x53, 0x73, 0x45];
    const FOOTER: &[u8] = &[0x00, 0x53, 0x78, 0xc1, 1, 0];
    for sections in [
        [DATA, PROPERTIES],
        [PROPERTIES, PROPERTIES],
        [DATA, SEQUENCE],
        [SEQUENCE, VALUE],
        [VALUE, VALUE],
        [FOOTER, DATA],
        [FOOTER, FOOTER],
    ] {
        assert!(
            matches!(message(&bytes(&sections)), Err(Malformed::Order(_))),
            "{sections:02x?}"
        );
    }
    for sections in [
        [DATA, DATA],
        [SEQUENCE, SEQUENCE],
        [DATA, FOOTER],
        [PROPERTIES, FOOTER],
    ] {
        assert!(message(&bytes(&sections)).is_ok(), "{sections:02x?}");
    }
}

/// What is short on the wire must not be large in memory: 200,000 nulls in an array, or a long descriptor that an
/// array shares.
#[test]
fn a_message_makes_a_bounded_number_of_values() {
    let array = |elements: u32, constructor: &[u8], rest: &[u8]| {
        let size = u32::try_from(4 + constructor.len() + rest.len()).unwrap();
        [
            &[0xf0][..],
            &size.to_be_bytes(),
            &elements.to_be_bytes(),
            constructor,
            rest,
        ]
        .concat()
    };
    let ubytes = array(200_000, &[0x50], &vec![0; 200_000]);
    assert_eq!(value_of(&ubytes), Err(Malformed::TooManyValues));
    let descriptor = [&[0x00, 0xb1, 0, 1, 0, 0][..], &[b'x'; 65_536], &[0x50]].concat();
    assert_eq!(
        value_of(&array(1000, &descriptor, &[0; 1000])),
        Err(Malformed::TooManyValues)
    );
    assert!(value_of(&array(60_000, &[0x50], &vec![0; 60_000])).is_ok());
}

#[test]
fn a_batch_is_bounded_and_not_empty() {
    let inner = [0x00, 0x53, 0x75, 0xa0, 0];
    let outer = [&[0x00, 0x53, 0x75, 0xa0, 5][..], &inner].concat();
    assert_eq!(
        batch(&outer.repeat(10_000).into()).unwrap().messages.len(),
        10_000
    );
    assert_eq!(
        batch(&outer.repeat(10_001).into()),
        Err(Malformed::TooManyMessages)
    );
    assert_eq!(batch(&bytes(&[&[0x00, 0x53, 0x73, 0x45]])), Err(Malformed::Empty));
    assert_eq!(
        batch(&bytes(&[&[0x00, 0x53, 0x77, 0x40]])),
        Err(Malformed::SectionType("body"))
    );
}

#[test]
fn a_batch_shares_one_budget() {
    // 100 messages of 1,000 values.
    let list = [
        &[0x00, 0x53, 0x76, 0xd0][..],
        &1004_u32.to_be_bytes(),
        &1000_u32.to_be_bytes(),
        &[0x40; 1000],
    ]
    .concat();
    let length = u32::try_from(list.len()).unwrap();
    let outer = [&[0x00, 0x53, 0x75, 0xb0][..], &length.to_be_bytes(), &list].concat();
    assert!(batch(&outer.repeat(60).into()).is_ok());
    assert_eq!(batch(&outer.repeat(200).into()), Err(Malformed::TooManyValues));
}
