//! The table, of what services get.

use super::Row;
use super::Rule::{self, Any, AsSent, From, Is, Json};
use super::rows::row;

/// Nothing stands there.
const NONE: Rule = Any;

const REDIRECT: &[&str] = &["detach with a redirect"];
const REDIRECTED: &[&str] = &["attach redirected"];

#[rustfmt::skip]
pub(super) const REDIRECTS: &[Row] = &[
    row(REDIRECTED, "max-message-size", "ulong", Is("262144"), "6.3 step 2"),
    row(REDIRECT, "fields", "count", Is("3"), "15 row 2"),
    row(REDIRECT, "handle", "uint", Is("0"), "AMQP 2.7.7"),
    row(REDIRECT, "closed", "boolean", Is("true"), "rule 10, 6.3 step 4"),
    row(REDIRECT, "error", "error", Any, "6.3 step 4"),
    row(REDIRECT, "error.condition", "symbol", Is("amqp:link:redirect"), "6.3 step 4"),
    row(REDIRECT, "error.description", "null", NONE, "6.3 step 4"),
    row(REDIRECT, "error.info", "map", Any, "6.3 step 4"),
    row(REDIRECT, "error.info hostname", "string", Is("localhost"), "6.3"),
    row(REDIRECT, "error.info network-host", "string", Is("localhost"), "6.3"),
    row(REDIRECT, "error.info port", "int", From(1, 65_535), "rule 10, 6.3"),
    row(REDIRECT, "error.info address", "string", AsSent, "6.3: the tail that was asked for"),
];

const EVENT: &[&str] = &["event"];
const ABOUT_HUB: &[&str] = &["management of the hub"];
const ABOUT_PARTITION: &[&str] = &["management of a partition"];
const MANAGEMENT: &[&str] = &["management of the hub", "management of a partition"];
const FEEDBACK: &[&str] = &["feedback"];
const EVENT_AND_FEEDBACK: &[&str] = &["event", "feedback"];
const ALL: &[&str] = &[
    "event",
    "management of the hub",
    "management of a partition",
    "feedback",
];
const BUT_EVENT: &[&str] = &["management of the hub", "management of a partition", "feedback"];
const BUT_FEEDBACK: &[&str] = &["event", "management of the hub", "management of a partition"];

#[rustfmt::skip]
pub(super) const PROPERTIES: &[Row] = &[
    row(EVENT, "message-id", "string", AsSent, "5.5"),
    row(BUT_EVENT, "message-id", "null", NONE, "6.1, 6.4"),
    row(FEEDBACK, "user-id", "binary", Is("74636f6e7465687562"), "6.1: the hub's name, tcontehub"),
    row(BUT_FEEDBACK, "user-id", "null", NONE, "6.4"),
    row(ALL, "to", "null", NONE, "6.1, 6.4"),
    row(ALL, "subject", "null", NONE, "6.1, 6.4"),
    row(ALL, "reply-to", "null", NONE, "6.1, 6.4"),
    row(MANAGEMENT, "correlation-id", "ulong", AsSent, "6.4: as it is asked"),
    row(EVENT_AND_FEEDBACK, "correlation-id", "null", NONE, "6.1, 5.5"),
    row(EVENT, "content-type", "symbol", AsSent, "5.5"),
    row(FEEDBACK, "content-type", "symbol", Is("application/vnd.microsoft.iothub.feedback.json"), "6.1: C# throws at another"),
    row(MANAGEMENT, "content-type", "null", NONE, "6.4"),
    row(ALL, "content-encoding", "null", NONE, "6.1, 6.4"),
    row(ALL, "absolute-expiry-time", "null", NONE, "6.1, 6.4"),
    row(ALL, "creation-time", "null", NONE, "6.1, 6.4"),
    row(ALL, "group-id", "null", NONE, "6.1, 6.4"),
    row(ALL, "group-sequence", "null", NONE, "6.1, 6.4"),
    row(ALL, "reply-to-group-id", "null", NONE, "6.1, 6.4"),
];

const METHOD: &[&str] = &["scope", "type", "issuer", "acceptingIpFilterRule"];

#[rustfmt::skip]
pub(super) const EVENTS: &[Row] = &[
    row(EVENT, "delivery annotation last_enqueued_sequence_number", "long", Is("0"), "6.4: the runtime metric"),
    row(EVENT, "delivery annotation last_enqueued_offset", "string", Is("0"), "6.4"),
    row(EVENT, "delivery annotation last_enqueued_time_utc", "timestamp", From(1_700_000_000_000, i128::MAX), "6.4"),
    row(EVENT, "delivery annotation runtime_info_retrieval_time_utc", "timestamp", From(1_700_000_000_000, i128::MAX), "6.4"),
    row(EVENT, "annotation iothub-connection-device-id", "string", Is("myFirstDevice"), "5.5"),
    row(EVENT, "annotation iothub-connection-module-id", "string", Is("m"), "5.5"),
    row(EVENT, "annotation iothub-connection-auth-method", "string", Json(METHOD), "5.5"),
    row(EVENT, "annotation iothub-connection-auth-generation-id", "string", Any, "5.5"),
    row(EVENT, "annotation iothub-enqueuedtime", "timestamp", From(1_700_000_000_000, i128::MAX), "5.5"),
    row(EVENT, "annotation iothub-message-source", "string", Is("Telemetry"), "5.5"),
    row(EVENT, "annotation x-opt-sequence-number", "long", Is("0"), "5.5: per partition"),
    row(EVENT, "annotation x-opt-offset", "string", Is("0"), "5.5: a string, decimal"),
    row(EVENT, "annotation x-opt-enqueued-time", "timestamp", From(1_700_000_000_000, i128::MAX), "5.5"),
    row(EVENT, "annotation x-opt-partition-key", "string", AsSent, "5.5"),
    row(EVENT, "property own", "string", AsSent, "5.5"),
    row(EVENT, "data", "binary", AsSent, "5.5"),
    row(FEEDBACK, "annotation iothub-enqueuedtime", "timestamp", From(1_700_000_000_000, i128::MAX), "6.1"),
    row(FEEDBACK, "data", "binary", Any, "6.1: a JSON array"),
];

#[rustfmt::skip]
pub(super) const MANAGEMENT_ANSWERS: &[Row] = &[
    row(MANAGEMENT, "property status-code", "int", Is("200"), "6.4, 15 row 10"),
    row(MANAGEMENT, "property status-description", "string", Is("OK"), "6.4"),
    row(MANAGEMENT, "value name", "string", Is("tcontehub"), "6.4"),
    row(ABOUT_HUB, "value type", "string", Is("com.microsoft:eventhub"), "6.4"),
    row(ABOUT_HUB, "value created_at", "timestamp", From(1_700_000_000_000, i128::MAX), "6.4"),
    row(ABOUT_HUB, "value partition_count", "int", Is("1"), "6.4"),
    row(ABOUT_HUB, "value partition_ids", "array", Is("[0]"), "6.4, 15 row 10: array of string"),
    row(ABOUT_PARTITION, "value type", "string", Is("com.microsoft:partition"), "6.4"),
    row(ABOUT_PARTITION, "value partition", "string", Is("0"), "6.4"),
    row(ABOUT_PARTITION, "value begin_sequence_number", "long", Is("0"), "6.4"),
    row(ABOUT_PARTITION, "value last_enqueued_sequence_number", "long", Is("0"), "6.4"),
    row(ABOUT_PARTITION, "value last_enqueued_offset", "string", Is("0"), "6.4"),
    row(ABOUT_PARTITION, "value last_enqueued_time_utc", "timestamp", From(1_700_000_000_000, i128::MAX), "6.4"),
    row(ABOUT_PARTITION, "value is_partition_empty", "boolean", Is("false"), "6.4"),
];
