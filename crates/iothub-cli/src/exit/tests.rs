//! Every way to fail, against the table of the command line's contract.

use std::io;
use std::time::Duration;

use iothub_amqp::{Phase, ProxyError, TlsFailure, Violation, WebSocketFailure};
use iothub_sas::{SasToken, SharedKey};

use super::*;

const AFTER: Duration = Duration::from_secs(1);

fn condition(name: &str) -> Condition {
    Condition::new(name, None)
}

fn connect(error: ConnectError) -> u8 {
    Exit::from(&error).code()
}

fn send(error: SendError) -> u8 {
    Exit::from(&error).code()
}

#[test]
fn the_numbers_are_those_of_the_contract() {
    use Exit::*;
    let codes = [
        Done,
        Unexpected,
        Usage,
        Unreachable,
        Unauthorised,
        NotFound,
        Throttled,
        Rejected,
        TimedOut,
        Partial,
        Interrupted,
    ]
    .map(Exit::code);
    assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130]);
}

#[test]
fn what_can_not_work_is_usage() {
    assert_eq!(connect(ConnectError::NoToken), 2);
    assert_eq!(
        connect(ConnectError::BadToken(SasToken::parse("").unwrap_err())),
        2
    );
    assert_eq!(connect(ConnectError::NoHubName("192.0.2.1".into())), 2);
    assert_eq!(connect(ConnectError::NotADevice("p@sas.root.hub".into())), 2);
    assert_eq!(
        connect(ConnectError::TokenTooLong {
            size: 600,
            limit: 512
        }),
        2
    );
    assert_eq!(connect(ConnectError::NotLoopback("192.0.2.1".into())), 2);
    assert_eq!(connect(ConnectError::BadRoot("why".into())), 2);
    assert_eq!(connect(ConnectError::NotADevicesConnection), 2);
    let no_key = SharedKey::from_base64("").unwrap_err();
    assert_eq!(connect(ConnectError::BadKey(no_key)), 2);
    assert_eq!(connect(ConnectError::BadProxy(ProxyError::Scheme)), 2);
    assert_eq!(connect(ConnectError::NoCertificate), 2);
}

#[test]
fn a_proxy_that_wants_credentials_does_not_authorise_and_any_other_fault_on_the_way_is_one_of_reaching() {
    let proxy = |why| ConnectError::Proxy {
        proxy: "http://proxy:3128".into(),
        why,
    };
    assert_eq!(connect(proxy(ProxyFailure::Unauthorized)), 4);
    assert_eq!(connect(proxy(ProxyFailure::Refused { status: 403 })), 3);
    assert_eq!(connect(proxy(ProxyFailure::Refused { status: 502 })), 3);
    assert_eq!(connect(proxy(ProxyFailure::NotHttp)), 3);
    let websocket = |why| ConnectError::WebSocket {
        endpoint: "hub:443".into(),
        why,
    };
    assert_eq!(connect(websocket(WebSocketFailure::Refused { status: 404 })), 3);
    assert_eq!(connect(websocket(WebSocketFailure::SubProtocol)), 3);
}

#[test]
fn what_speaks_no_amqp_or_is_not_there_can_not_be_reached() {
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused).into();
    assert_eq!(
        connect(ConnectError::Resolve {
            host: "nowhere.invalid".into(),
            source: refused()
        }),
        3
    );
    assert_eq!(
        connect(ConnectError::Connect {
            endpoint: "localhost:1".into(),
            source: refused()
        }),
        3
    );
    for why in [
        TlsFailure::UnknownIssuer,
        TlsFailure::NameMismatch,
        TlsFailure::NotNow,
        TlsFailure::NotTls,
        TlsFailure::Ended("why".into()),
        TlsFailure::BadName,
        TlsFailure::Other("why".into()),
    ] {
        assert_eq!(
            connect(ConnectError::Tls {
                endpoint: "localhost:1".into(),
                why
            }),
            3
        );
    }
    assert_eq!(connect(ConnectError::PlainNotOffered), 3);
    assert_eq!(connect(ConnectError::AnonymousNotOffered), 3);
    assert_eq!(connect(ConnectError::WrongHeader(b"HTTP/1.1".to_vec())), 3);
    assert_eq!(connect(ConnectError::PeerMisbehaved(Violation::ShortFrame(4))), 3);
    for blown in [
        Blown::Truncated,
        Blown::PeerClosed,
        Blown::ReadFailed(io::ErrorKind::ConnectionReset),
    ] {
        let why = Lost::Stream(blown);
        assert_eq!(
            connect(ConnectError::Lost {
                phase: Phase::Open,
                why
            }),
            3
        );
        assert_eq!(send(SendError::Unknown(Interruption::Lost(why))), 3);
        assert_eq!(send(SendError::NotSent(Interruption::Lost(why))), 3);
    }
    assert_eq!(
        connect(ConnectError::Lost {
            phase: Phase::Open,
            why: Lost::Protocol
        }),
        3
    );
    assert_eq!(send(SendError::NotSent(Interruption::Closed)), 3);
    assert_eq!(Exit::from(&CloseError::Ended(Interruption::Closed)).code(), 3);
}

#[test]
fn silence_is_a_time_out() {
    for phase in [
        Phase::Resolve,
        Phase::Connect,
        Phase::Tls,
        Phase::Open,
        Phase::Begin,
        Phase::Attach,
        Phase::Credit,
        Phase::Settle,
        Phase::Close,
    ] {
        assert_eq!(connect(ConnectError::TimedOut { phase, after: AFTER }), 8);
        assert_eq!(
            send(SendError::Unknown(Interruption::TimedOut { phase, after: AFTER })),
            8
        );
        assert_eq!(
            send(SendError::NotSent(Interruption::TimedOut { phase, after: AFTER })),
            8
        );
    }
    for why in [Lost::Idle, Lost::Stream(Blown::Stalled)] {
        assert_eq!(
            connect(ConnectError::Lost {
                phase: Phase::Open,
                why
            }),
            8
        );
        assert_eq!(send(SendError::Unknown(Interruption::Lost(why))), 8);
    }
    assert_eq!(Exit::from(&CloseError::TimedOut { after: AFTER }).code(), 8);
}

#[test]
fn a_refused_login_is_not_authorised() {
    for code in 1..=4 {
        assert_eq!(connect(ConnectError::Refused { code }), 4);
    }
}

#[test]
fn the_peers_condition_decides_wherever_it_comes() {
    for (name, code) in [
        ("amqp:unauthorized-access", 4),
        ("amqp:not-found", 5),
        ("amqp:resource-limit-exceeded", 6),
        ("com.microsoft:device-container-throttled", 6),
        ("com.microsoft:quota-exceeded", 6),
        ("amqp:link:message-size-exceeded", 7),
        ("amqp:not-allowed", 7),
        ("com.microsoft:precondition-failed", 7),
        ("x:of-tomorrow", 7),
        ("com.microsoft:timeout", 8),
    ] {
        assert_eq!(send(SendError::Rejected(condition(name))), code, "{name}");
        let refused = || Interruption::Refused(condition(name));
        assert_eq!(send(SendError::NotSent(refused())), code, "{name}");
        assert_eq!(send(SendError::Unknown(refused())), code, "{name}");
        let error = ConnectError::RefusedWith {
            phase: Phase::Attach,
            condition: condition(name),
        };
        assert_eq!(connect(error), code, "{name}");
        assert_eq!(
            connect(ConnectError::TokenRefused(condition(name))),
            code,
            "{name}"
        );
        assert_eq!(Exit::from(&CloseError::Ended(refused())).code(), code, "{name}");
    }
}

#[test]
fn a_message_that_is_given_back_or_too_large_is_rejected() {
    assert_eq!(send(SendError::Released), 7);
    assert_eq!(send(SendError::TooLarge { size: 2, limit: 1 }), 7);
}

#[test]
fn a_client_that_stops_by_itself_is_unexpected() {
    assert_eq!(send(SendError::NotSent(Interruption::Stopped)), 1);
}
