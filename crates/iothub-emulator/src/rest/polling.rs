//! What a device does over HTTPS: it sends its messages, and asks for those to it (Azure docs, "IoT Hub device REST
//! API").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use iothub_address::DeviceId;
use serde_json::Value as Json;

use super::asked::Asked;
use super::code::Code;
use super::refusal::Refusal;
use super::reply::Reply;
use crate::hub::{
    AuthMethod, Body, HandedOut, LockLost, Message, MessageId, NotTaken, Outcome, Properties, Value,
    guid_bytes, guid_text,
};

/// One message, or with the content type of a batch some.
pub(super) async fn send(asked: &Asked<'_>, device: DeviceId) -> Result<Reply, Refusal> {
    let method = asked.method.ok_or_else(Refusal::no_such_path)?;
    let is_batch = asked
        .header(CONTENT_TYPE.as_str())
        .is_some_and(|kind| kind.to_ascii_lowercase().starts_with(BATCH));
    let messages = if is_batch {
        batch(&asked.json()?)?
    } else {
        vec![message(asked.headers, asked.body.bytes.clone())]
    };
    let size: usize = messages.iter().map(Message::metered_size).sum();
    if size > MAX_SIZE {
        let text = format!("The message has {size} bytes. {MAX_SIZE} are allowed.");
        return Err(Refusal::new(Code::MessageTooLarge, text));
    }
    take(asked, device, method, messages).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

async fn take(
    asked: &Asked<'_>,
    device: DeviceId,
    method: AuthMethod,
    messages: Vec<Message>,
) -> Result<(), Refusal> {
    let taken = asked
        .hub
        .run(move |hub, now| hub.take_polled(&device, method, messages, now));
    taken.await?.map_err(|error| match error {
        NotTaken::Registry(error) => error.into(),
        NotTaken::Excess(excess) => excess.into(),
    })
}

/// The oldest message that is ready; it is locked, and the ETag names the lock.
pub(super) async fn receive(asked: &Asked<'_>, device: DeviceId) -> Result<Reply, Refusal> {
    let handed = asked.hub.run(move |hub, now| hub.hand_out(&device, now)).await?;
    Ok(handed.map_or_else(|| Reply::empty(StatusCode::NO_CONTENT), |handed| shown(&handed)))
}

pub(super) async fn settle(
    asked: &Asked<'_>,
    device: DeviceId,
    lock: &str,
    outcome: Outcome,
) -> Result<Reply, Refusal> {
    let lost = || Refusal::new(Code::MessageLockLost, "The lock of the message was lost.");
    let token = guid_bytes(lock.trim_matches('"')).ok_or_else(lost)?;
    // A rejection is a deletion that says so.
    let rejects = outcome == Outcome::Complete && asked.query.has("reject");
    let outcome = if rejects { Outcome::Reject } else { outcome };
    let settled = asked
        .hub
        .run(move |hub, now| hub.settle_polled(&device, &token, outcome, now));
    settled.await?.map_err(|LockLost| lost())?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

fn message(headers: &HeaderMap, body: Bytes) -> Message {
    let text = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let properties = Properties {
        message_id: text("iothub-messageid").map(MessageId::String),
        correlation_id: text("iothub-correlationid").map(MessageId::String),
        user_id: text("iothub-userid").map(Bytes::from),
        to: text("iothub-to"),
        content_type: text("iothub-contenttype"),
        content_encoding: text("iothub-contentencoding"),
        ..Properties::default()
    };
    let own = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(OWN)?;
        Some((name.to_owned(), Value::String(value.to_str().ok()?.to_owned())))
    });
    measured(properties, own.collect(), body)
}

/// A list of `{body, base64Encoded, properties}`.
fn batch(list: &Json) -> Result<Vec<Message>, Refusal> {
    let bad = |what: &str| Refusal::new(Code::IotHubFormatError, format!("The batch: {what}."));
    let Json::Array(list) = list else {
        return Err(bad("it is no list"));
    };
    list.iter()
        .map(|one| {
            let body = one["body"].as_str().ok_or_else(|| bad("a body is no text"))?;
            let body = match one["base64Encoded"].as_bool() {
                Some(false) => body.as_bytes().to_vec(),
                _ => STANDARD
                    .decode(body)
                    .map_err(|_| bad("a body is not in base64"))?,
            };
            let own = match &one["properties"] {
                Json::Null => Vec::new(),
                Json::Object(own) => own
                    .iter()
                    .map(|(name, value)| {
                        let value = value.as_str().ok_or_else(|| bad("a property is no text"))?;
                        Ok((name.clone(), Value::String(value.to_owned())))
                    })
                    .collect::<Result<_, Refusal>>()?,
                _ => return Err(bad("the properties are no object")),
            };
            Ok(measured(Properties::default(), own, body.into()))
        })
        .collect()
}

fn measured(properties: Properties, own: Vec<(String, Value)>, body: Bytes) -> Message {
    let mut message = Message {
        properties,
        application_properties: own,
        body: Body::Data(body),
        ..Message::default()
    };
    message.encoded_size = message.metered_size();
    message.weight = size_of::<Message>() + 2 * message.encoded_size;
    message
}

fn shown(handed: &HandedOut) -> Reply {
    let message = &handed.waiting.message;
    let properties = &message.properties;
    let body = match &message.body {
        Body::Data(bytes) | Body::Value(Value::Binary(bytes)) => bytes.clone(),
        Body::Value(Value::String(text)) => Bytes::from(text.clone()),
        _ => Bytes::new(),
    };
    let content_type = properties.content_type.as_deref();
    let content_type = content_type.and_then(|kind| HeaderValue::from_str(kind).ok());
    let id = |id: &Option<MessageId>| id.as_ref().map(ToString::to_string);
    let named = [
        ("iothub-messageid", id(&properties.message_id)),
        ("iothub-correlationid", id(&properties.correlation_id)),
        ("iothub-to", properties.to.clone()),
        ("iothub-contentencoding", properties.content_encoding.clone()),
        ("iothub-sequencenumber", Some(handed.sequence_number.to_string())),
        ("iothub-enqueuedtime", Some(handed.waiting.enqueued.to_string())),
        ("iothub-expiry", Some(handed.waiting.expires.to_string())),
        (
            "iothub-deliverycount",
            Some(handed.waiting.delivery_count.to_string()),
        ),
    ];
    let mut reply =
        Reply::bytes(body, content_type).header(ETAG, &format!("\"{}\"", guid_text(&handed.token)));
    for (name, value) in named {
        if let Some(value) = value {
            reply = reply.header(HeaderName::from_static(name), &value);
        }
    }
    for (name, value) in &message.application_properties {
        // A header's name is no more than a token (RFC 9110 §5.1): what is none stays behind.
        let name = HeaderName::try_from(format!("{OWN}{name}"));
        if let (Ok(name), Some(value)) = (name, value.as_text()) {
            reply = reply.header(name, value);
        }
    }
    reply
}

/// What stands before the names of a message's own properties.
const OWN: &str = "iothub-app-";
/// The content type of a batch.
const BATCH: &str = "application/vnd.microsoft.iothub.json";
/// The largest message or batch (Azure docs, "IoT Hub quotas and throttling": 256 KB).
const MAX_SIZE: usize = 256 * 1024;
