//! What the page shows, as JSON.

use std::fmt;

use iothub_address::{DeviceId, HubName, Identity};
use serde_json::{Map, Value as Json, json};
use url::form_urlencoded;

use crate::clock::Timestamp;
use crate::feed::Feed;
use crate::hub::{Activity, Body, ConnectionState, Event, Known, Traffic, Value};
use crate::owner::HubHandle;

/// Where it is read. Clones read the same.
#[derive(Clone)]
pub(crate) struct View {
    hub: HubHandle,
    name: HubName,
    events: Feed<Event>,
    activity: Feed<Activity>,
    traffic: Feed<Traffic>,
}

impl View {
    pub(crate) const fn new(
        hub: HubHandle,
        name: HubName,
        events: Feed<Event>,
        activity: Feed<Activity>,
        traffic: Feed<Traffic>,
    ) -> Self {
        Self {
            hub,
            name,
            events,
            activity,
            traffic,
        }
    }

    /// All but twins; `None` when the hub has stopped.
    pub(super) async fn all(&self) -> Option<Json> {
        let overview = self.hub.run(|hub, _| hub.overview(MOST_DEVICES)).await.ok()?;
        Some(json!({
            "hub": self.name.as_str(),
            "devices": {
                "count": overview.count.all,
                "connected": overview.connected,
                "shown": overview.devices.iter().map(device).collect::<Vec<_>>(),
            },
            "events": newest_first(&self.events, event),
            "activity": newest_first(&self.activity, activity),
            "traffic": newest_first(&self.traffic, traffic),
        }))
    }

    /// The twin of the device that a query names; `None` if there is none.
    pub(super) async fn twin(&self, query: &str) -> Option<Json> {
        let (_, device) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "device")?;
        let device: DeviceId = device.parse().ok()?;
        let twin = self.hub.run(move |hub, _| {
            let known = hub.known(&Identity::Device(device)).ok()?;
            Some(hub.twin_document(&known))
        });
        twin.await.ok()?
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("hub", &self.name)
            .finish_non_exhaustive()
    }
}

fn newest_first<T: Send + Sync + 'static>(feed: &Feed<T>, shown: fn(&T) -> Json) -> Json {
    feed.latest(MOST_ENTRIES)
        .iter()
        .rev()
        .map(|entry| shown(entry))
        .collect()
}

fn device(known: &Known) -> Json {
    let presence = &known.presence;
    json!({
        "id": known.identity.device().as_str(),
        "status": known.entry.status.as_str(),
        "connected": presence.state == ConnectionState::Connected,
        "since": presence.state_updated.map(time),
        "active": presence.last_activity.map(time),
        "authentication": known.entry.authentication.type_name(),
        "waiting": known.messages,
    })
}

fn event(event: &Event) -> Json {
    let properties = event.message.application_properties.iter();
    let properties: Map<_, _> = properties
        .map(|(name, value)| (name.clone(), Json::String(shortened(&value_text(value)))))
        .collect();
    json!({
        "enqueued": time(event.enqueued),
        "device": event.device().as_str(),
        "module": event.module().map(|module| module.as_str()),
        "partition": event.partition,
        "number": event.sequence_number,
        "properties": properties,
        "body": shortened(&body_text(&event.message.body)),
    })
}

fn activity(activity: &Activity) -> Json {
    json!({
        "time": time(activity.time),
        "connection": activity.connection,
        "what": shortened(&activity.what.to_string()),
    })
}

fn traffic(traffic: &Traffic) -> Json {
    json!({
        "time": time(traffic.time),
        "whose": traffic.identity.to_string(),
        "what": shortened(&traffic.passed.to_string()),
    })
}

fn time(at: Timestamp) -> String {
    at.to_string()
}

fn body_text(body: &Body) -> String {
    match body {
        Body::Empty => String::new(),
        Body::Data(bytes) => bytes_text(bytes),
        Body::Value(value) => value_text(value),
        Body::Sequence(lists) => {
            let values = lists.iter().flatten().map(value_text);
            values.collect::<Vec<_>>().join(", ")
        }
    }
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) | Value::Symbol(text) => text.to_string(),
        Value::Binary(bytes) => bytes_text(bytes),
        other => format!("{other:?}"),
    }
}

/// Text, or how many bytes there are that are none.
fn bytes_text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("{} bytes", bytes.len()),
    }
}

/// A page has room for the beginning of what a device may send.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

const MOST_DEVICES: usize = 200;
const MOST_ENTRIES: usize = 50;
const MOST_CHARACTERS: usize = 300;
