//! Bodies in the form that shows most of them.

use super::*;

fn shown(body: &[u8], content_type: Option<&str>) -> (Kind, String) {
    let shown = ShownBody::of(&Body::Data(body.to_vec().into()), content_type);
    (shown.kind(), shown.into_json().get().to_owned())
}

#[test]
fn an_object_or_a_list_is_json_whatever_its_type() {
    assert_eq!(
        shown(b"{ \"a\" : 1.0 }", None),
        (Kind::Json, r#"{"a":1.0}"#.into())
    );
    assert_eq!(
        shown(b"\n[1,\n2]\n", Some("text/plain")),
        (Kind::Json, "[1,2]".into())
    );
}

#[test]
fn any_json_is_json_if_its_type_says_so() {
    let json = Some("application/json");
    assert_eq!(shown(b"12.50", json), (Kind::Json, "12.50".into()));
    assert_eq!(shown(b"\"a\"", json), (Kind::Json, "\"a\"".into()));
    assert_eq!(shown(b"12.50", None), (Kind::Text, "\"12.50\"".into()));
    assert_eq!(
        shown(b"Hello World!", json),
        (Kind::Text, "\"Hello World!\"".into())
    );
    assert_eq!(shown(b"{]", json), (Kind::Text, "\"{]\"".into()));
}

#[test]
fn text_may_hold_line_breaks_and_tabs_and_no_other_control_character() {
    assert_eq!(
        shown("a\tb\r\nü".as_bytes(), None),
        (Kind::Text, "\"a\\tb\\r\\nü\"".into())
    );
    assert_eq!(shown(b"", None), (Kind::Text, "\"\"".into()));
    assert_eq!(shown(b"a\0", None), (Kind::Base64, "\"YQA=\"".into()));
    assert_eq!(shown(b"\x1b[31m", None), (Kind::Base64, "\"G1szMW0=\"".into()));
    assert_eq!(
        shown("\u{9b}".as_bytes(), None),
        (Kind::Base64, "\"wps=\"".into())
    );
}

#[test]
fn what_is_no_utf_8_is_base64() {
    assert_eq!(
        shown(&[0xff, 0xfe], Some("application/json")),
        (Kind::Base64, "\"//4=\"".into())
    );
}

#[test]
fn people_are_told_how_long_it_is_what_they_can_not_read() {
    let shown = |body: &[u8]| ShownBody::of(&Body::Data(body.to_vec().into()), None).for_people();
    // RFC 4648 §10 has the forms of one to three bytes.
    for (length, text) in [
        (1, "(1 byte) AA=="),
        (2, "(2 bytes) AAA="),
        (3, "(3 bytes) AAAA"),
        (4, "(4 bytes) AAAAAA=="),
    ] {
        assert_eq!(shown(&vec![0; length]), format!("base64 {text}"));
    }
}

#[test]
fn a_body_in_an_amqp_value_shows_as_what_it_is() {
    let shown = |value: Value| {
        let shown = ShownBody::of(&Body::Value(value), None);
        (shown.kind(), shown.into_json().get().to_owned())
    };
    assert_eq!(
        shown(Value::String("Hello World!".into())),
        (Kind::Text, "\"Hello World!\"".into())
    );
    assert_eq!(
        shown(Value::Binary(b"{}".as_slice().into())),
        (Kind::Json, "{}".into())
    );
    assert_eq!(shown(Value::Int(-3)), (Kind::Json, "-3".into()));
    assert_eq!(shown(Value::Null), (Kind::Json, "null".into()));
    let map = vec![
        (Value::Symbol("a".into()), Value::Boolean(true)),
        (Value::Uint(1), Value::Float(0.5)),
    ];
    assert_eq!(
        shown(Value::Map(map)),
        (Kind::Json, r#"{"a":true,"1":0.5}"#.into())
    );
    assert_eq!(shown(Value::Double(f64::NAN)), (Kind::Json, "\"NaN\"".into()));
    let empty = ShownBody::of(&Body::Empty, None);
    assert_eq!(empty.kind(), Kind::Text);
    assert_eq!(empty.into_json().get(), "\"\"");
}

#[test]
fn the_properties_section_keeps_the_names_that_amqp_gives_it() {
    let mut section = Properties::default();
    section.message_id = Some(MessageId::Uuid([0x11; 16]));
    section.correlation_id = Some(MessageId::Ulong(u64::MAX));
    section.user_id = Some(b"me".as_slice().into());
    section.content_type = Some("a/b".into());
    section.absolute_expiry_time = Some(iothub_emulator::Timestamp::from_millis(1_700_000_000_123));
    assert_eq!(
        Json::Object(properties(&section)).to_string(),
        r#"{"message-id":"11111111-1111-1111-1111-111111111111","user-id":"me","correlation-id":18446744073709551615,"content-type":"a/b","absolute-expiry-time":"2023-11-14T22:13:20.123Z"}"#
    );
}
