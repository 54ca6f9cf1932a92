use super::Operation::{Connection, Link, PutToken, Send, Session};
use super::Recovery::{GiveUp, Reconnect, Relink, Resession, Retry, Throttled};
use super::*;

/// Every condition of the SDKs' tables: what becomes of a message, a link, a session and a connection.
const ROWS: [(&str, [Recovery; 4]); 39] = [
    ("amqp:unauthorized-access", [GiveUp; 4]),
    ("amqp:not-found", [GiveUp; 4]),
    ("amqp:not-allowed", [GiveUp; 4]),
    ("amqp:not-implemented", [GiveUp; 4]),
    ("amqp:decode-error", [GiveUp; 4]),
    ("amqp:invalid-field", [GiveUp; 4]),
    ("amqp:illegal-state", [GiveUp; 4]),
    ("amqp:frame-size-too-small", [GiveUp; 4]),
    ("amqp:precondition-failed", [GiveUp; 4]),
    ("amqp:resource-deleted", [GiveUp; 4]),
    ("amqp:resource-locked", [Retry, Relink, Resession, Reconnect]),
    ("amqp:resource-limit-exceeded", [GiveUp; 4]),
    ("amqp:internal-error", [Retry, Relink, Resession, Reconnect]),
    ("amqp:connection:forced", [Reconnect; 4]),
    ("amqp:connection:framing-error", [Reconnect; 4]),
    ("amqp:connection:redirect", [Reconnect; 4]),
    ("amqp:link:detach-forced", [Relink, Relink, Resession, Reconnect]),
    ("amqp:link:redirect", [Relink, Relink, Resession, Reconnect]),
    ("amqp:link:stolen", [Relink, Relink, Resession, Reconnect]),
    (
        "amqp:link:transfer-limit-exceeded",
        [Relink, Relink, Resession, Reconnect],
    ),
    ("amqp:link:message-size-exceeded", [GiveUp; 4]),
    (
        "amqp:session:errant-link",
        [Resession, Resession, Resession, Reconnect],
    ),
    (
        "amqp:session:handle-in-use",
        [Resession, Resession, Resession, Reconnect],
    ),
    (
        "amqp:session:unattached-handle",
        [Resession, Resession, Resession, Reconnect],
    ),
    (
        "amqp:session:window-violation",
        [Resession, Resession, Resession, Reconnect],
    ),
    ("amqp:transaction:rollback", [Retry, Relink, Resession, Reconnect]),
    ("amqp:transaction:timeout", [Retry, Relink, Resession, Reconnect]),
    ("proton:io", [Reconnect; 4]),
    ("com.microsoft:device-container-throttled", [Throttled; 4]),
    ("com.microsoft:timeout", [Retry, Relink, Resession, Reconnect]),
    ("com.microsoft:message-lock-lost", [GiveUp; 4]),
    ("com.microsoft:iot-hub-suspended", [GiveUp; 4]),
    ("com.microsoft:iot-hub-not-found-error", [GiveUp; 4]),
    ("com.microsoft:precondition-failed", [GiveUp; 4]),
    ("com.microsoft:argument-error", [GiveUp; 4]),
    ("com.microsoft:argument-out-of-range", [GiveUp; 4]),
    ("com.microsoft:device-already-exists", [GiveUp; 4]),
    ("com.microsoft:quota-exceeded", [GiveUp; 4]),
    (
        "com.microsoft:link-creation-conflict",
        [Relink, Relink, Resession, Reconnect],
    ),
];

#[test]
fn each_condition_of_the_sdks_has_its_row() {
    for (name, expected) in ROWS {
        let condition = Condition::new(name, None);
        let told = [Send, Link, Session, Connection].map(|operation| classify(&condition, operation));
        assert_eq!(told, expected, "{name}");
        let token = classify(&condition, PutToken);
        assert_eq!(token, expected[3], "{name}");
    }
    assert_eq!(TABLE.len(), ROWS.len());
}

#[test]
fn what_no_table_knows_rejects_a_message_for_good_and_costs_a_connection() {
    let condition = Condition::new("com.example:new", None);
    assert_eq!(classify(&condition, Send), GiveUp);
    for operation in [Link, Session, Connection, PutToken] {
        assert_eq!(classify(&condition, operation), Reconnect);
    }
}

#[test]
fn a_token_s_status_says_whether_another_try_can_help() {
    let expected = [
        (400, GiveUp),
        (401, GiveUp),
        (403, GiveUp),
        (404, GiveUp),
        (429, Throttled),
        (500, Reconnect),
        (503, Reconnect),
        (0, Reconnect),
    ];
    for (status, recovery) in expected {
        assert_eq!(
            classify(&token_condition(status, None), PutToken),
            recovery,
            "{status}"
        );
    }
}

#[test]
fn a_certificate_that_does_not_hold_is_final_and_a_network_that_is_down_is_not() {
    let tls = |why| ConnectError::Tls {
        endpoint: "hub:5671".into(),
        why,
    };
    for why in [
        TlsFailure::UnknownIssuer,
        TlsFailure::NameMismatch,
        TlsFailure::NotNow,
    ] {
        assert_eq!(classify_connect(&tls(why)), GiveUp);
    }
    assert_eq!(classify_connect(&tls(TlsFailure::NotTls)), Reconnect);
    let resolve = ConnectError::Resolve {
        host: "hub".into(),
        source: std::sync::Arc::new(std::io::ErrorKind::NotFound.into()),
    };
    assert_eq!(classify_connect(&resolve), Reconnect);
    assert_eq!(classify_connect(&ConnectError::Refused { code: 2 }), GiveUp);
    assert_eq!(classify_connect(&ConnectError::Refused { code: 4 }), Reconnect);
}

#[test]
fn a_proxy_that_wants_other_credentials_is_final_and_whatever_else_is_on_the_way_may_pass() {
    let proxy = |why| ConnectError::Proxy {
        proxy: "http://proxy:3128".into(),
        why,
    };
    assert_eq!(classify_connect(&proxy(ProxyFailure::Unauthorized)), GiveUp);
    for why in [
        ProxyFailure::Refused { status: 403 },
        ProxyFailure::Refused { status: 503 },
        ProxyFailure::NotHttp,
        ProxyFailure::Ended("reset".into()),
        ProxyFailure::Unreachable("refused".into()),
    ] {
        assert_eq!(classify_connect(&proxy(why)), Reconnect);
    }
    let websocket = |why| ConnectError::WebSocket {
        endpoint: "hub:443".into(),
        why,
    };
    let refused = |status| WebSocketFailure::Refused { status };
    assert_eq!(classify_connect(&websocket(refused(429))), Throttled);
    for why in [
        refused(200),
        refused(404),
        refused(503),
        WebSocketFailure::SubProtocol,
        WebSocketFailure::NotWebSocket("why".into()),
        WebSocketFailure::Ended("reset".into()),
    ] {
        assert_eq!(classify_connect(&websocket(why)), Reconnect);
    }
    assert_eq!(classify_connect(&ConnectError::NoCertificate), GiveUp);
    assert_eq!(
        classify_connect(&ConnectError::BadProxy(crate::ProxyError::Scheme)),
        GiveUp
    );
}
