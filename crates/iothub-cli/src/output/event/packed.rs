//! Bodies that are packed: CBOR, and gzip of anything that is shown.

use std::io::Read;

use ciborium::Value;
use flate2::read::MultiGzDecoder;
use serde_json::{Map, Value as Json};

use super::{STANDARD, ShownBody, float};
use base64::engine::Engine;

/// What is in a body that says of itself, or shows, that it is packed; `None` for any other, and for one that is broken
/// or would grow beyond all measure.
pub(super) fn unpack(bytes: &[u8], content_type: Option<&str>, encoding: Option<&str>) -> Option<ShownBody> {
    let is = |said: Option<&str>, wanted: &str| said.is_some_and(|text| text.eq_ignore_ascii_case(wanted));
    if is(encoding, "gzip") || bytes.starts_with(&GZIP) {
        let mut plain = Vec::new();
        let most = LARGEST as u64 + 1;
        MultiGzDecoder::new(bytes)
            .take(most)
            .read_to_end(&mut plain)
            .ok()?;
        if plain.len() > LARGEST {
            return None;
        }
        let is_cbor = is(content_type, CBOR);
        let inner = is_cbor.then(|| of_cbor(&plain)).flatten();
        return Some(inner.unwrap_or_else(|| ShownBody::of_bytes(&plain, content_type)));
    }
    is(content_type, CBOR).then(|| of_cbor(bytes)).flatten()
}

fn of_cbor(bytes: &[u8]) -> Option<ShownBody> {
    let mut rest = bytes;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEEPEST).ok()?;
    // Something behind it was not meant as this.
    rest.is_empty().then(|| ShownBody::of_json(&plain(&value)))
}

/// In JSON, as near as JSON has it (RFC 8949 §6.1); bytes are base64.
fn plain(value: &Value) -> Json {
    match value {
        Value::Integer(number) => {
            let number = i128::from(*number);
            let small = i64::try_from(number).map(Json::from);
            small
                .or_else(|_| u64::try_from(number).map(Json::from))
                .unwrap_or_else(|_| Json::String(number.to_string()))
        }
        Value::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::Float(number) => float(*number),
        Value::Text(text) => Json::String(text.clone()),
        Value::Bool(flag) => Json::Bool(*flag),
        Value::Tag(_, inner) => plain(inner),
        Value::Array(values) => Json::Array(values.iter().map(plain).collect()),
        Value::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, value)| {
                let key = match plain(key) {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                (key, plain(value))
            });
            Json::Object(pairs.collect::<Map<_, _>>())
        }
        _ => Json::Null,
    }
}

/// RFC 1952 §2.3.1: both bytes of its mark, and the one method that there is.
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];
const CBOR: &str = "application/cbor";
/// A message has at most 256 KiB; so much more of it is nobody's telemetry.
const LARGEST: usize = 4 << 20;
/// As JSON that is shown.
const DEEPEST: usize = 100;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn zipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn shown(body: Option<ShownBody>) -> Option<String> {
        body.map(|body| body.for_people())
    }

    /// The examples of RFC 8949, appendix A.
    #[test]
    fn cbor_is_shown_as_json() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
                .collect()
        };
        for (bytes, json) in [
            ("1864", "100"),
            ("1bffffffffffffffff", "18446744073709551615"),
            ("3863", "-100"),
            ("fb3ff199999999999a", "1.1"),
            ("4401020304", "\"AQIDBA==\""),
            ("a26161016162820203", "{\"a\":1,\"b\":[2,3]}"),
            ("a201020304", "{\"1\":2,\"3\":4}"),
            (
                "c074323031332d30332d32315432303a30343a30305a",
                "\"2013-03-21T20:04:00Z\"",
            ),
            ("f6", "null"),
        ] {
            assert_eq!(
                shown(unpack(&hex(bytes), Some("application/CBOR"), None)).as_deref(),
                Some(json),
                "{bytes}"
            );
        }
        for bytes in ["", "18", "0000", "a1"] {
            assert_eq!(shown(unpack(&hex(bytes), Some(CBOR), None)), None, "{bytes}");
        }
        assert_eq!(shown(unpack(&vec![0x81; 10_000], Some(CBOR), None)), None);
        assert_eq!(shown(unpack(&hex("1864"), None, None)), None);
    }

    #[test]
    fn gzip_is_unpacked_by_its_mark_or_its_name_up_to_a_bound() {
        let body = zipped(b"{ \"a\": 1 }");
        assert_eq!(shown(unpack(&body, None, None)).as_deref(), Some("{\"a\":1}"));
        assert_eq!(
            shown(unpack(&body, None, Some("GZIP"))).as_deref(),
            Some("{\"a\":1}")
        );
        assert_eq!(
            shown(unpack(&zipped(&[0x18, 0x64]), Some(CBOR), None)).as_deref(),
            Some("100")
        );
        assert_eq!(
            shown(unpack(&zipped(&[0xff]), None, None)).as_deref(),
            Some("base64 (1 byte) /w==")
        );
        assert_eq!(shown(unpack(b"plain", None, Some("gzip"))), None);
        assert_eq!(shown(unpack(&body[..12], None, None)), None);
        assert_eq!(shown(unpack(&zipped(&vec![b'0'; LARGEST + 1]), None, None)), None);
    }
}
