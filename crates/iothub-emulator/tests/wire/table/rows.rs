//! The table.

use super::Row;
use super::Rule::{self, Any, AsSent, Bytes, From, Hex, Is, Json};
use super::service_rows::{EVENTS, MANAGEMENT_ANSWERS, PROPERTIES, REDIRECTS};

pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    let of_devices = [DOOR, SESSION, LINK, DELIVERY, ENDS, CBS, COMMANDS, METHODS, TWIN];
    let of_services = [REDIRECTS, PROPERTIES, EVENTS, MANAGEMENT_ANSWERS];
    of_devices.into_iter().chain(of_services).flatten()
}

pub(super) const fn row(
    places: &'static [&'static str],
    field: &'static str,
    kinds: &'static str,
    rule: Rule,
    source: &'static str,
) -> Row {
    Row {
        places,
        field,
        kinds,
        rule,
        source,
    }
}

const NO_RULE: Rule = Any;

const MECHANISMS: &[&str] = &["sasl-mechanisms"];
const MECHANISMS_FOR_ONE: &[&str] = &["sasl-mechanisms to a certificate"];
const LET_IN: &[&str] = &["sasl-outcome let in"];
const REFUSED: &[&str] = &["sasl-outcome refused"];

#[rustfmt::skip]
const DOOR: &[Row] = &[
    row(MECHANISMS, "fields", "count", Is("1"), "AMQP 5.3.3.1"),
    // The real hub names EXTERNAL to everyone; this one differs, and says so.
    row(MECHANISMS, "sasl-server-mechanisms", "array", Is("[MSSBCBS, ANONYMOUS, PLAIN]"), "3.2, 13, 15 row 17"),
    row(MECHANISMS_FOR_ONE, "fields", "count", Is("1"), "AMQP 5.3.3.1"),
    row(MECHANISMS_FOR_ONE, "sasl-server-mechanisms", "array", Is("[EXTERNAL, MSSBCBS, ANONYMOUS, PLAIN]"), "3.2, 13"),
    row(LET_IN, "fields", "count", From(1, 2), "AMQP 5.3.3.5"),
    row(LET_IN, "code", "ubyte", Is("0"), "3.2: success"),
    row(LET_IN, "additional-data", "null", NO_RULE, "AMQP 5.3.3.5"),
    row(REFUSED, "fields", "count", From(1, 2), "AMQP 5.3.3.5"),
    row(REFUSED, "code", "ubyte", Is("2"), "3.2: bad credentials; 12 row 30"),
    row(REFUSED, "additional-data", "null", NO_RULE, "AMQP 5.3.3.5"),
];

const OPEN: &[&str] = &["open"];
const BEGIN: &[&str] = &["begin"];

#[rustfmt::skip]
const SESSION: &[Row] = &[
    row(OPEN, "fields", "count", Is("10"), "15 row 2"),
    row(OPEN, "container-id", "string", Hex("DeviceGateway_", 32), "3.3"),
    row(OPEN, "hostname", "string", Is("localhost"), "3.3"),
    row(OPEN, "max-frame-size", "uint", Is("65536"), "3.3, 15 row 3"),
    row(OPEN, "channel-max", "ushort", Is("8191"), "3.3, 15 row 3"),
    row(OPEN, "idle-time-out", "uint", Is("240000"), "3.3"),
    row(OPEN, "outgoing-locales", "null", NO_RULE, "3.3"),
    row(OPEN, "incoming-locales", "null", NO_RULE, "3.3"),
    row(OPEN, "offered-capabilities", "null", NO_RULE, "3.3"),
    row(OPEN, "desired-capabilities", "null", NO_RULE, "3.3"),
    row(OPEN, "properties", "null", NO_RULE, "3.3: none"),
    row(BEGIN, "fields", "count", Is("8"), "15 row 2"),
    row(BEGIN, "remote-channel", "ushort", AsSent, "3.3"),
    row(BEGIN, "next-outgoing-id", "uint", Is("1"), "3.3"),
    row(BEGIN, "incoming-window", "uint", Is("5000"), "3.3"),
    row(BEGIN, "outgoing-window", "uint", Is("4294967295"), "3.3"),
    row(BEGIN, "handle-max", "uint", Is("262143"), "3.3, 15 row 3"),
    row(BEGIN, "offered-capabilities", "null", NO_RULE, "3.3"),
    row(BEGIN, "desired-capabilities", "null", NO_RULE, "3.3"),
    row(BEGIN, "properties", "null", NO_RULE, "3.3"),
];

/// Over which the client sends.
const INWARD: &[&str] = &[
    "attach telemetry",
    "attach $cbs requests",
    "attach twin requests",
    "attach method answers",
    "attach refused",
    "attach management requests",
    "attach service commands",
];
/// Over which it receives.
const OUTWARD: &[&str] = &[
    "attach $cbs answers",
    "attach cloud-to-device",
    "attach input",
    "attach twin answers",
    "attach method calls",
    "attach redirected",
    "attach events",
    "attach management answers",
    "attach feedback",
    "attach file notifications",
];
/// The same, but for the one that says another size.
const OUTWARD_AND_STAYING: &[&str] = &[
    "attach $cbs answers",
    "attach cloud-to-device",
    "attach input",
    "attach twin answers",
    "attach method calls",
    "attach events",
    "attach management answers",
    "attach feedback",
    "attach file notifications",
];
const LINKS: &[&str] = &[
    "attach telemetry",
    "attach $cbs requests",
    "attach twin requests",
    "attach method answers",
    "attach refused",
    "attach $cbs answers",
    "attach cloud-to-device",
    "attach input",
    "attach twin answers",
    "attach method calls",
    "attach management requests",
    "attach service commands",
    "attach redirected",
    "attach events",
    "attach management answers",
    "attach feedback",
    "attach file notifications",
];
const CREDIT: &[&str] = &["flow telemetry", "flow $cbs requests"];
const DRAINED: &[&str] = &["flow drained"];

#[rustfmt::skip]
const LINK: &[Row] = &[
    row(LINKS, "fields", "count", Is("14"), "15 row 2"),
    row(LINKS, "name", "string", AsSent, "12 row 3, 15 row 7"),
    row(LINKS, "handle", "uint", From(0, 262_143), "AMQP 2.7.3"),
    row(INWARD, "role", "boolean", Is("true"), "AMQP 2.7.3: we receive"),
    row(OUTWARD, "role", "boolean", Is("false"), "AMQP 2.7.3: we send"),
    row(LINKS, "snd-settle-mode", "null|ubyte", AsSent, "5.4: as each SDK asks"),
    row(LINKS, "rcv-settle-mode", "null|ubyte", AsSent, "5.4, 5.6: C# has its second"),
    row(LINKS, "source", "described", AsSent, "15 rows 3, 6"),
    row(LINKS, "target", "described", AsSent, "15 rows 3, 6"),
    row(LINKS, "unsettled", "null", NO_RULE, "AMQP 2.7.3"),
    row(LINKS, "incomplete-unsettled", "null|boolean", Is("false"), "AMQP 2.7.3"),
    row(INWARD, "initial-delivery-count", "null|uint", Any, "AMQP 2.7.3: ignored"),
    row(OUTWARD, "initial-delivery-count", "uint", Is("0"), "15 row 3"),
    // Never 1024 or less, from which the C SDK makes the size of its batches.
    row(INWARD, "max-message-size", "ulong", Is("1048576"), "3.3, 12 row 13"),
    row(OUTWARD_AND_STAYING, "max-message-size", "null|ulong", From(1_048_576, i128::MAX), "AMQP 2.7.3"),
    row(LINKS, "offered-capabilities", "null", NO_RULE, "AMQP 2.7.3"),
    row(LINKS, "desired-capabilities", "null", NO_RULE, "AMQP 2.7.3"),
    row(LINKS, "properties", "null", NO_RULE, "AMQP 2.7.3"),
    row(CREDIT, "fields", "count", Is("11"), "15 row 2"),
    row(CREDIT, "next-incoming-id", "uint", Is("0"), "AMQP 2.7.4: the client's first"),
    row(CREDIT, "incoming-window", "uint", Is("5000"), "3.3"),
    row(CREDIT, "next-outgoing-id", "uint", Is("1"), "3.3"),
    row(CREDIT, "outgoing-window", "uint", Is("4294967295"), "3.3"),
    row(CREDIT, "handle", "uint", Is("0"), "AMQP 2.7.4"),
    row(CREDIT, "delivery-count", "uint", Is("0"), "AMQP 2.6.7"),
    row(CREDIT, "link-credit", "uint", From(100, 1000), "3.3, 5.4: 100 to 1000"),
    row(CREDIT, "available", "null|uint", Is("0"), "AMQP 2.7.4"),
    row(CREDIT, "drain", "null|boolean", Is("false"), "AMQP 2.7.4"),
    row(CREDIT, "echo", "null|boolean", Is("false"), "AMQP 2.7.4"),
    row(CREDIT, "properties", "null", NO_RULE, "AMQP 2.7.4"),
    row(DRAINED, "fields", "count", Is("11"), "15 row 2"),
    row(DRAINED, "next-incoming-id", "uint", Is("0"), "AMQP 2.7.4"),
    row(DRAINED, "incoming-window", "uint", Is("5000"), "3.3"),
    row(DRAINED, "next-outgoing-id", "uint", Is("3"), "3.3: two more than its first"),
    row(DRAINED, "outgoing-window", "uint", Is("4294967295"), "3.3"),
    row(DRAINED, "handle", "uint", Is("0"), "AMQP 2.7.4"),
    row(DRAINED, "delivery-count", "uint", Is("7"), "AMQP 2.6.7: the credit that is used up counts"),
    row(DRAINED, "link-credit", "uint", Is("0"), "AMQP 2.6.7"),
    row(DRAINED, "available", "null|uint", Is("0"), "AMQP 2.7.4"),
    row(DRAINED, "drain", "null|boolean", Any, "AMQP 2.7.4: the receiver's to say"),
    row(DRAINED, "echo", "null|boolean", Is("false"), "AMQP 2.7.4"),
    row(DRAINED, "properties", "null", NO_RULE, "AMQP 2.7.4"),
];

/// Of what the client sent.
const OUTCOMES: &[&str] = &["disposition accepted", "disposition rejected"];
/// Of what the hub sent, after the client has said what became of it.
const ANSWERS: &[&str] = &[
    "disposition of accepted",
    "disposition of rejected",
    "disposition of a lost lock",
];
const ALL_OUTCOMES: &[&str] = &[
    "disposition accepted",
    "disposition rejected",
    "disposition of accepted",
    "disposition of rejected",
    "disposition of a lost lock",
];
const ACCEPTED: &[&str] = &["disposition accepted", "disposition of accepted"];
const REJECTED: &[&str] = &[
    "disposition rejected",
    "disposition of rejected",
    "disposition of a lost lock",
];
const TRANSFERS: &[&str] = &[
    "transfer of $cbs",
    "transfer cloud-to-device",
    "transfer of a method call",
    "transfer of a twin",
    "transfer of an event",
    "transfer of management",
    "transfer of feedback",
];
/// What nothing comes of.
const SETTLED: &[&str] = &[
    "transfer of $cbs",
    "transfer of a method call",
    "transfer of a twin",
    "transfer of an event",
    "transfer of management",
];
/// What the client settles.
const UNSETTLED: &[&str] = &["transfer cloud-to-device", "transfer of feedback"];

#[rustfmt::skip]
const DELIVERY: &[Row] = &[
    row(ALL_OUTCOMES, "fields", "count", Is("6"), "15 row 2"),
    row(OUTCOMES, "role", "boolean", Is("true"), "13: role=receiver"),
    row(ANSWERS, "role", "boolean", Is("false"), "5.6"),
    row(ALL_OUTCOMES, "first", "uint", AsSent, "AMQP 2.7.6"),
    row(ALL_OUTCOMES, "last", "null|uint", Any, "AMQP 2.7.6"),
    row(ALL_OUTCOMES, "settled", "boolean", Is("true"), "rule 5, 5.6, 12 rows 2 and 5"),
    row(ACCEPTED, "state", "accepted", Any, "rule 5: explicit"),
    row(REJECTED, "state", "rejected", Any, "5.6, 5.7"),
    row(&["disposition rejected"], "state.error", "error", Any, "12 row 29"),
    row(&["disposition rejected"], "state.error.condition", "symbol", Is("amqp:link:message-size-exceeded"), "5.7"),
    row(&["disposition rejected"], "state.error.description", "string", Any, "12 row 29"),
    row(&["disposition rejected"], "state.error.info", "null", NO_RULE, "7.1: optional"),
    row(&["disposition of rejected"], "state.error", "null", NO_RULE, "5.6: the client's own outcome"),
    row(&["disposition of a lost lock"], "state.error", "error", Any, "5.6"),
    row(&["disposition of a lost lock"], "state.error.condition", "symbol", Is("amqp:not-found"), "5.6: lock lost"),
    row(&["disposition of a lost lock"], "state.error.description", "string", Any, "7.1: text alone occurs"),
    row(&["disposition of a lost lock"], "state.error.info", "null", NO_RULE, "7.1: optional"),
    row(ALL_OUTCOMES, "batchable", "null|boolean", Is("false"), "AMQP 2.7.6"),
    row(TRANSFERS, "fields", "count", Is("11"), "15 row 2"),
    row(TRANSFERS, "handle", "uint", From(0, 262_143), "AMQP 2.7.5"),
    row(TRANSFERS, "delivery-id", "uint", Any, "AMQP 2.7.5"),
    row(SETTLED, "delivery-tag", "binary", Bytes(4), "3.3: a counter of 4 bytes"),
    row(UNSETTLED, "delivery-tag", "binary", Bytes(16), "rule 4, 5.6, 12 row 4"),
    row(TRANSFERS, "message-format", "uint", Is("0"), "AMQP 2.7.5"),
    row(UNSETTLED, "settled", "null|boolean", Is("false"), "5.6: the device settles"),
    row(SETTLED, "settled", "boolean", Is("true"), "5.4: nothing comes of it"),
    row(TRANSFERS, "more", "null|boolean", Is("false"), "AMQP 2.7.5"),
    row(TRANSFERS, "rcv-settle-mode", "null|ubyte", Any, "AMQP 2.7.5"),
    row(TRANSFERS, "state", "null", NO_RULE, "AMQP 2.7.5"),
    row(TRANSFERS, "resume", "null|boolean", Is("false"), "AMQP 2.7.5"),
    row(TRANSFERS, "aborted", "null|boolean", Is("false"), "AMQP 2.7.5"),
    row(TRANSFERS, "batchable", "null|boolean", Any, "AMQP 2.7.5"),
];

/// What the hub's JSON says of an error.
const HUB_ERROR: &[&str] = &["errorCode", "trackingId", "message", "timestampUtc"];
const WITH_AN_ERROR: &[&str] = &["detach with an error", "end with an error", "close with an error"];

#[rustfmt::skip]
const ENDS: &[Row] = &[
    row(&["detach answer", "detach with an error"], "fields", "count", Is("3"), "15 row 2"),
    row(&["detach answer", "detach with an error"], "handle", "uint", Is("0"), "AMQP 2.7.7"),
    row(&["detach answer", "detach with an error"], "closed", "boolean", Is("true"), "12 row 20, 15 row 14"),
    row(&["detach answer", "end answer", "close answer"], "error", "null", NO_RULE, "15 row 14"),
    row(&["end answer", "end with an error", "close answer", "close with an error"], "fields", "count", From(0, 1), "AMQP 2.7.8, 2.7.9"),
    row(WITH_AN_ERROR, "error", "error", Any, "7.1, 12 row 20"),
    row(&["detach with an error"], "error.condition", "symbol", Is("amqp:not-found"), "5.1: unknown path"),
    row(&["end with an error"], "error.condition", "symbol", Is("amqp:internal-error"), "7.2, 11"),
    row(&["close with an error"], "error.condition", "symbol", Is("amqp:connection:forced"), "7.2, 7.4"),
    row(WITH_AN_ERROR, "error.description", "string", Json(HUB_ERROR), "7.1"),
    row(WITH_AN_ERROR, "error.info", "null", NO_RULE, "7.1, 14: optional"),
];

/// Of the properties section, what stands before and behind what is meant. The list may be cut short.
const NONE: Rule = Any;
/// As the real hub words it.
const WRONG_SIGNATURE: &str = "The specified SAS token has an invalid signature. It does not match either the primary or secondary key.";
const CBS_BOTH: &[&str] = &["$cbs takes", "$cbs refuses"];

#[rustfmt::skip]
const CBS: &[Row] = &[
    row(CBS_BOTH, "message-id", "null", NONE, "4.2"),
    row(CBS_BOTH, "user-id", "null", NONE, "4.2"),
    row(CBS_BOTH, "to", "null", NONE, "4.2"),
    row(CBS_BOTH, "subject", "null", NONE, "4.2"),
    row(CBS_BOTH, "reply-to", "null", NONE, "4.2"),
    row(&["$cbs takes"], "correlation-id", "string|uuid|ulong", AsSent, "rule 2, 4.2, 12 row 8, 15 row 4"),
    row(&["$cbs refuses"], "correlation-id", "string", AsSent, "rule 2"),
    row(CBS_BOTH, "content-type", "null", NONE, "4.2"),
    row(CBS_BOTH, "content-encoding", "null", NONE, "4.2"),
    row(CBS_BOTH, "absolute-expiry-time", "null", NONE, "4.2"),
    row(CBS_BOTH, "creation-time", "null", NONE, "4.2"),
    row(CBS_BOTH, "group-id", "null", NONE, "4.2"),
    row(CBS_BOTH, "group-sequence", "null", NONE, "4.2"),
    row(CBS_BOTH, "reply-to-group-id", "null", NONE, "4.2"),
    row(&["$cbs takes"], "property status-code", "int", Is("200"), "rule 3, 4.2, 15 row 4"),
    row(&["$cbs takes"], "property status-description", "string", Is("OK"), "rule 3, 4.2"),
    row(&["$cbs refuses"], "property status-code", "int", Is("401"), "4.2"),
    row(&["$cbs refuses"], "property status-description", "string", Is(WRONG_SIGNATURE), "rule 3, 4.2"),
    row(CBS_BOTH, "value", "null|string", Is(""), "4.2: null or empty"),
];

const COMMAND: &[&str] = &["cloud-to-device"];
const INPUT: &[&str] = &["module input"];
const BOTH: &[&str] = &["cloud-to-device", "module input"];

#[rustfmt::skip]
const COMMANDS: &[Row] = &[
    row(BOTH, "annotation x-opt-lock-token", "string", GUID, "5.6"),
    row(BOTH, "annotation x-opt-sequence-number", "ulong", From(1, 2), "5.6"),
    row(BOTH, "annotation iothub-enqueuedtime", "timestamp", From(1_700_000_000_000, i128::MAX), "5.6"),
    row(BOTH, "annotation iothub-deliverycount", "ubyte", Is("0"), "5.6"),
    row(INPUT, "annotation x-opt-input-name", "string", Is("input1"), "5.6"),
    row(COMMAND, "message-id", "string", AsSent, "5.5, 12 row 23"),
    row(INPUT, "message-id", "null", NONE, "5.5"),
    row(BOTH, "user-id", "null", NONE, "5.5"),
    row(BOTH, "to", "string", AsSent, "5.6"),
    row(BOTH, "subject", "null", NONE, "AMQP 3.2.4"),
    row(BOTH, "reply-to", "null", NONE, "AMQP 3.2.4"),
    row(COMMAND, "correlation-id", "string", AsSent, "5.5"),
    row(INPUT, "correlation-id", "null", NONE, "5.5"),
    row(COMMAND, "content-type", "symbol", AsSent, "5.5"),
    row(INPUT, "content-type", "null", NONE, "5.5"),
    row(COMMAND, "content-encoding", "symbol", AsSent, "5.5"),
    row(INPUT, "content-encoding", "null", NONE, "5.5"),
    row(COMMAND, "absolute-expiry-time", "timestamp", Is("4000000000000"), "5.5"),
    row(INPUT, "absolute-expiry-time", "null", NONE, "5.5"),
    row(BOTH, "creation-time", "null", NONE, "AMQP 3.2.4"),
    row(BOTH, "group-id", "null", NONE, "AMQP 3.2.4"),
    row(BOTH, "group-sequence", "null", NONE, "AMQP 3.2.4"),
    row(BOTH, "reply-to-group-id", "null", NONE, "AMQP 3.2.4"),
    row(COMMAND, "property own", "string", AsSent, "5.5, 5.6"),
    row(COMMAND, "property iothub-ack", "string", Is("full"), "5.6"),
    row(BOTH, "data", "binary", AsSent, "5.5: one data section"),
];

/// As .NET writes a `Guid`: 36 characters.
const GUID: Rule = Bytes(36);
const CALL: &[&str] = &["method call"];

#[rustfmt::skip]
const METHODS: &[Row] = &[
    row(CALL, "message-id", "null", NONE, "5.8"),
    row(CALL, "user-id", "null", NONE, "5.8"),
    row(CALL, "to", "null", NONE, "5.8"),
    row(CALL, "subject", "null", NONE, "5.8"),
    row(CALL, "reply-to", "null", NONE, "5.8"),
    row(CALL, "correlation-id", "uuid", Bytes(16), "rule 8, 5.8, 12 row 14"),
    row(CALL, "content-type", "null", NONE, "5.8"),
    row(CALL, "content-encoding", "null", NONE, "5.8"),
    row(CALL, "absolute-expiry-time", "null", NONE, "5.8"),
    row(CALL, "creation-time", "null", NONE, "5.8"),
    row(CALL, "group-id", "null", NONE, "5.8"),
    row(CALL, "group-sequence", "null", NONE, "5.8"),
    row(CALL, "reply-to-group-id", "null", NONE, "5.8"),
    row(CALL, "property IoThub-methodname", "string", AsSent, "5.8"),
    row(CALL, "data", "binary", AsSent, "5.8, 12 row 14"),
];

const TWINS: &[&str] = &["twin read", "twin reported", "twin subscribed", "twin refused"];
const DESIRED: &[&str] = &["twin desired"];

#[rustfmt::skip]
const TWIN: &[Row] = &[
    row(TWINS, "message-id", "null", NONE, "5.9"),
    row(TWINS, "user-id", "null", NONE, "5.9"),
    row(TWINS, "to", "null", NONE, "5.9"),
    row(TWINS, "subject", "null", NONE, "5.9"),
    row(TWINS, "reply-to", "null", NONE, "5.9"),
    row(TWINS, "correlation-id", "string|uuid", AsSent, "5.9, 12 row 15: its type too"),
    row(TWINS, "content-type", "null", NONE, "5.9"),
    row(TWINS, "content-encoding", "null", NONE, "5.9"),
    row(TWINS, "absolute-expiry-time", "null", NONE, "5.9"),
    row(TWINS, "creation-time", "null", NONE, "5.9"),
    row(TWINS, "group-id", "null", NONE, "5.9"),
    row(TWINS, "group-sequence", "null", NONE, "5.9"),
    row(TWINS, "reply-to-group-id", "null", NONE, "5.9"),
    row(&["twin read", "twin reported", "twin subscribed"], "annotation status", "int", Is("200"), "rule 8, 5.9"),
    row(&["twin refused"], "annotation status", "int", Is("400"), "rule 8, 5.9"),
    row(&["twin reported"], "annotation version", "long", Is("2"), "rule 8, 5.9: reported $version"),
    row(&["twin read"], "data", "binary", Json(&["desired", "reported"]), "5.9: no tags, no metadata"),
    row(&["twin reported", "twin subscribed"], "data", "binary", Bytes(0), "5.9: empty"),
    row(&["twin refused"], "data", "binary", Json(HUB_ERROR), "5.9: JSON"),
    // No properties section at all: a correlation-id would make it an answer (15 row 8).
    row(DESIRED, "annotation resource", "string", Is("/properties/desired"), "5.9"),
    row(DESIRED, "annotation version", "long", Is("3"), "rule 8, 5.9"),
    row(DESIRED, "data", "binary", Json(&["interval", "$version"]), "5.9"),
];
