//! Goal: whatever is wrong with what `device send` is given or with the peer, it ends within its time-out, with the exit
//! code of the table and one clear line.
//! Method: the binary against the emulator, scripted hubs, and servers that are no hubs.

use std::io::Write;
use std::net::TcpListener as StdListener;
use std::time::Duration;

use iothub_address::Scheme;
use iothub_sas::UnixTime;
use iothub_tests::scripted::{Step, accept_and_play, listen};
use iothub_tests::tls::{TestCa, Validity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;

use super::harness::{FAR, Hub, Ran, iothub, url};

/// For peers that answer, however slow the machine is.
const PATIENT: &str = "--timeout=20s";
/// For peers that fall silent: the steps before that fit into it each.
const LIMIT: &str = "--timeout=2s";
/// The limit, and what a slow machine needs beside it.
const IN_TIME: Duration = Duration::from_secs(15);

fn send_to(url: &str) -> Ran {
    send_within(PATIENT, url)
}

fn send_to_silence(url: &str) -> Ran {
    send_within(LIMIT, url)
}

fn send_within(limit: &str, url: &str) -> Ran {
    in_time(
        iothub(["device", "send", limit, "a"])
            .file("--url-file", url)
            .run(),
    )
}

fn in_time(ran: Ran) -> Ran {
    assert!(ran.took < IN_TIME, "{ran:?}");
    ran
}

fn at(scheme: Scheme, port: u16) -> String {
    let host = if scheme == Scheme::Amqp {
        "127.0.0.1"
    } else {
        "localhost"
    };
    url(scheme, host, port, "dev", FAR)
}

/// A server that does `serve` with its first connection, and its port.
fn server<F>(serve: impl FnOnce(TcpListener) -> F) -> (Runtime, u16)
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = Runtime::new().unwrap();
    let (listener, address) = runtime.block_on(listen()).unwrap();
    runtime.spawn(serve(listener));
    (runtime, address.port())
}

#[test]
fn no_credential_is_usage_and_names_the_ways() {
    let ran = iothub(["device", "send", "a"]).run();
    ran.expect_error(
        2,
        &[
            "--local",
            "--url-file",
            "--connection-string-file",
            "IOTHUB_DEVICE_CONNECTION_STRING",
        ],
    );
}

#[test]
fn nothing_to_send_is_usage() {
    let hub = Hub::start();
    hub.send([]).run().expect_error(2, &["BODY", "--jsonl"]);
    hub.send(["--message-id", "1", "a", "b"])
        .run()
        .expect_error(2, &["--message-id"]);
    hub.send(["--message-id", "1", "--jsonl", "-"])
        .run()
        .expect_error(2, &["--message-id"]);
    hub.send(["-", "-"]).run().expect_error(2, &["standard input"]);
    hub.send(["-", "--jsonl", "-"])
        .run()
        .expect_error(2, &["standard input"]);
    hub.send(["--jsonl", "/nowhere/lines"])
        .run()
        .expect_error(2, &["/nowhere/lines"]);
    hub.send(["--jsonl", "/"])
        .run()
        .expect_error(2, &["can't read /"]);
    for wrong in [
        ["-p", "novalue"],
        ["-p", "=v"],
        ["--timeout", "30"],
        ["--timeout", "0s"],
        ["--no-such-flag", "x"],
    ] {
        hub.send(wrong.into_iter().chain(["a"])).run().expect_code(2);
    }
    assert_eq!(hub.received(), 0);
}

#[test]
fn two_credentials_are_usage() {
    let ran = iothub(["device", "send", "a", "--local"])
        .file("--url-file", "x")
        .run();
    ran.expect_code(2);
}

#[test]
fn a_token_too_long_for_plain_is_usage_and_names_cbs() {
    // Each of its characters takes three in the token.
    let long = "#".repeat(128);
    let ran = send_to(&url(Scheme::Amqps, "localhost", 1, &long, FAR));
    ran.expect_error(2, &["512 bytes".trim_end_matches(" bytes"), "CBS", "--auth cbs"]);
}

#[test]
fn a_malformed_address_is_usage() {
    for (text, words) in [
        ("", "amqps://"),
        (
            "https://dev@sas.myhub:t@localhost/devices/dev/messages/events",
            "amqps://",
        ),
        ("amqps://dev:t@localhost/devices/dev/messages/events", "user name"),
        (
            "amqps://dev@sas.myhub:t@localhost:99999/devices/dev/messages/events",
            "",
        ),
        (
            "amqps://dev@sas.myhub.azure-devices.net:t@localhost/devices/dev/messages/events",
            "full host name",
        ),
        (
            "amqps://dev@sas.myhub:t@localhost/devices/dev/messages/events\n\n",
            "control character",
        ),
        (
            "amqps://dev@sas.myhub:no-token@localhost/devices/dev/messages/events",
            "not a token",
        ),
        (
            "amqps://dev@sas.myhub:t@localhost/devices/dev/messages/devicebound",
            "/devices/dev/messages/devicebound",
        ),
        (
            "amqps://service@sas.root.myhub:t@localhost/messages/devicebound",
            "service@sas.root.myhub",
        ),
    ] {
        send_to(text).expect_error(2, &[words]);
    }
    let missing = iothub(["device", "send", "a", "--url-file", "/nowhere/url"]).run();
    missing.expect_error(2, &["/nowhere/url"]);
}

#[test]
fn an_address_without_a_token_is_usage() {
    for user in ["", "dev@sas.myhub@", "dev@sas.myhub:@"] {
        send_to(&format!("amqps://{user}localhost/devices/dev/messages/events"))
            .expect_error(2, &["no token"]);
    }
}

#[test]
fn a_connection_string_that_is_no_devices_is_usage() {
    let key = super::harness::KEY;
    for (text, words) in [
        (
            format!("HostName=myhub.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey={key}"),
            "service",
        ),
        (
            format!("HostName=d.azure-devices-provisioning.net;SharedAccessKeyName=p;SharedAccessKey={key}"),
            "provisioning",
        ),
        (
            format!("Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=p;SharedAccessKey={key}"),
            "event hub",
        ),
        ("HostName=localhost;DeviceId=dev".to_owned(), "no credential"),
        ("HostName=localhost;DeviceId=dev;x509=true".to_owned(), "x509"),
        (
            "HostName=localhost;DeviceId=dev;SharedAccessKey=c2hvcnQ=".to_owned(),
            "5 bytes",
        ),
        (
            "HostName=localhost;DeviceId=dev;SharedAccessSignature=x".to_owned(),
            "SharedAccessSignature",
        ),
        (
            "HostName=192.0.2.1;DeviceId=dev;SharedAccessKey=".to_owned() + key,
            "HostName",
        ),
        ("nonsense".to_owned(), "'='"),
    ] {
        let ran = iothub(["device", "send", "--auth", "plain", "a"])
            .env("IOTHUB_DEVICE_CONNECTION_STRING", text)
            .run();
        ran.expect_error(2, &["IOTHUB_DEVICE_CONNECTION_STRING", words]);
    }
}

#[test]
fn a_wrong_key_an_expired_token_and_an_unknown_device_are_not_authorised() {
    let hub = Hub::start();
    let other_key = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
    let wrong_key = hub.connection_string_of("dev", other_key);
    let unknown = hub.connection_string_of("stranger", super::harness::KEY);
    let send = |string: &str, auth: &str| {
        let ran = hub
            .send([PATIENT, "--auth", auth, "a"])
            .env("IOTHUB_DEVICE_CONNECTION_STRING", string)
            .run();
        in_time(ran)
    };
    for string in [&wrong_key, &unknown] {
        send(string, "plain").expect_error(4, &["refused the credentials", "check the key"]);
    }
    send(&wrong_key, "cbs").expect_error(4, &["refused the token", "check the key"]);
    send(&unknown, "cbs").expect_error(5, &["refused the token", "check the device's id"]);
    let port = hub.emulator.amqps_address().port();
    let expired = url(
        Scheme::Amqps,
        "localhost",
        port,
        "dev",
        UnixTime::from_secs(1_700_000_000),
    );
    let ran = iothub(["device", "send", PATIENT, "a"])
        .env("IOTHUB_CA_FILE", hub.ca())
        .file("--url-file", expired)
        .run();
    in_time(ran).expect_error(4, &["refused the credentials"]);
    assert_eq!(hub.received(), 0);
}

#[test]
fn a_host_that_can_not_be_resolved_can_not_be_reached() {
    // RFC 6761 §6.4: this name never exists.
    send_to(&url(Scheme::Amqps, "nowhere.invalid", 5671, "dev", FAR))
        .expect_error(3, &["resolve nowhere.invalid"]);
}

#[test]
fn a_closed_port_can_not_be_reached() {
    let port = StdListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    send_to(&at(Scheme::Amqps, port)).expect_error(3, &[&format!("localhost:{port}"), "refused"]);
}

/// A TLS server that does nothing after the handshake but say `words`.
fn tls_server(name: &'static str, validity: Validity, words: &'static [u8]) -> (Runtime, u16, String) {
    let ca = TestCa::new();
    let (acceptor, pem) = (ca.acceptor(name, validity), ca.root_pem());
    let (runtime, port) = server(async move |listener| {
        let (stream, _) = listener.accept().await.unwrap();
        // The client may refuse us.
        if let Ok(mut stream) = acceptor.accept(stream).await {
            let _ = stream.write_all(words).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    });
    (runtime, port, pem)
}

fn send_to_tls(port: u16, pem: &str) -> Ran {
    let send = iothub(["device", "send", PATIENT, "a"]).file("--url-file", at(Scheme::Amqps, port));
    in_time(send.file("--ca", pem).run())
}

#[test]
fn a_certificate_for_another_name_can_not_be_reached() {
    let (_runtime, port, pem) = tls_server("other.example", Validity::Current, b"");
    send_to_tls(port, &pem).expect_error(3, &["another name"]);
}

#[test]
fn a_certificate_that_has_expired_can_not_be_reached() {
    let (_runtime, port, pem) = tls_server("localhost", Validity::Past, b"");
    send_to_tls(port, &pem).expect_error(3, &["not valid now"]);
}

#[test]
fn an_unknown_ca_can_not_be_reached_and_the_remedy_is_told() {
    let (_runtime, port, _) = tls_server("localhost", Validity::Current, b"");
    send_to(&at(Scheme::Amqps, port)).expect_error(3, &["unknown CA", "--ca", "IOTHUB_CA_FILE"]);
    let (_runtime, port, _) = tls_server("localhost", Validity::Current, b"");
    send_to_tls(port, &TestCa::new().root_pem()).expect_error(3, &["unknown CA"]);
}

#[test]
fn a_ca_file_that_holds_no_certificate_is_usage_and_is_named() {
    let send = |flag: &str| iothub(["device", "send", "a", "--ca", flag]);
    let string = format!(
        "HostName=localhost;DeviceId=dev;SharedAccessKey={}",
        super::harness::KEY
    );
    let send = |flag: &str| send(flag).env("IOTHUB_DEVICE_CONNECTION_STRING", &string);
    send("/nowhere/ca.pem")
        .run()
        .expect_error(2, &["/nowhere/ca.pem"]);
    send("/dev/null")
        .run()
        .expect_error(2, &["/dev/null", "no certificate"]);
    send("-")
        .stdin("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
        .run()
        .expect_error(2, &["can't be read"]);
    let by_environment = iothub(["device", "send", "a"])
        .env("IOTHUB_DEVICE_CONNECTION_STRING", &string)
        .env("IOTHUB_CA_FILE", "/nowhere/ca.pem")
        .run();
    by_environment.expect_error(2, &["/nowhere/ca.pem"]);
}

#[test]
fn a_ca_file_may_hold_several_certificates() {
    let (_runtime, port, pem) = tls_server(
        "localhost",
        Validity::Current,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    );
    let several = format!("{}\nsome text\n{pem}", TestCa::new().root_pem());
    // Past the handshake: it is the AMQP that is missing.
    send_to_tls(port, &several).expect_error(3, &["not an IoT Hub's AMQP endpoint"]);
}

#[test]
fn a_peer_that_speaks_no_amqp_can_not_be_reached() {
    let talks: [&'static [u8]; 3] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
        b"220 mail.example ESMTP ready\r\n",
    ];
    for words in talks {
        let talk = async move |listener: TcpListener| {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(words).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        let (_runtime, port) = server(talk);
        send_to(&at(Scheme::Amqp, port)).expect_error(3, &["not an IoT Hub's AMQP endpoint"]);
        let (_runtime, port) = server(talk);
        send_to(&at(Scheme::Amqps, port)).expect_error(3, &["no TLS on this port"]);
        let (_runtime, port, pem) = tls_server("localhost", Validity::Current, words);
        send_to_tls(port, &pem).expect_error(3, &["not an IoT Hub's AMQP endpoint"]);
    }
}

#[test]
fn a_peer_that_hangs_up_can_not_be_reached() {
    for scheme in [Scheme::Amqp, Scheme::Amqps] {
        let (_runtime, port) = server(async move |listener| {
            while let Ok((stream, _)) = listener.accept().await {
                drop::<TcpStream>(stream);
            }
        });
        send_to(&at(scheme, port)).expect_error(3, &[""]);
    }
}

#[test]
fn a_peer_that_falls_silent_is_a_time_out_in_whatever_phase() {
    let phases = [
        (Step::Accept, "opening the AMQP connection"),
        (Step::SaslHeader, "opening the AMQP connection"),
        (Step::SaslInit, "opening the AMQP connection"),
        (Step::SaslOutcome, "opening the AMQP connection"),
        (Step::AmqpHeader, "opening the AMQP connection"),
        (Step::Open, "beginning the session"),
        (Step::Begin, "attaching the link"),
        (Step::Attach, "waiting for credit"),
        (Step::Credit, "waiting for the message's outcome"),
        (Step::Transfer, "waiting for the message's outcome"),
        (Step::Settled, "closing"),
        (Step::Detach, "closing"),
        (Step::End, "closing"),
    ];
    std::thread::scope(|scope| {
        for (last, phase) in phases {
            scope.spawn(move || silent_after(last, phase));
        }
    });
}

fn silent_after(last: Step, phase: &str) {
    let (_runtime, port) = server(async move |listener| {
        let _open = accept_and_play(&listener, last).await.unwrap();
        std::future::pending::<()>().await;
    });
    let ran = send_to_silence(&at(Scheme::Amqp, port)).expect_error(8, &["no answer within 2 s", phase]);
    assert!(ran.took >= Duration::from_secs(2), "{ran:?}");
    match last {
        Step::Attach => assert!(ran.stdout.starts_with("not-sent "), "{ran:?}"),
        Step::Credit | Step::Transfer => assert!(ran.stdout.starts_with("unknown "), "{ran:?}"),
        Step::Settled | Step::Detach | Step::End => {
            assert!(ran.stdout.starts_with("accepted "), "{ran:?}");
            assert!(ran.stderr.contains("every message was accepted"), "{ran:?}");
        }
        _ => assert_eq!(ran.stdout, ""),
    }
}

#[test]
fn a_peer_that_falls_silent_in_the_tls_handshake_is_a_time_out() {
    let (_runtime, port) = server(async move |listener| {
        let _open = listener.accept().await.unwrap();
        std::future::pending::<()>().await;
    });
    send_to_silence(&at(Scheme::Amqps, port)).expect_error(8, &["TLS handshake"]);
}

/// A listener whose queue is full leaves the next connection without an answer.
#[cfg(target_os = "linux")]
#[test]
fn a_peer_that_does_not_answer_the_tcp_connection_is_a_time_out() {
    let runtime = Runtime::new().unwrap();
    let (_listener, _waiting, port) = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        // The queue takes one more than it was told to.
        while let Ok(Ok(stream)) =
            tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            waiting.push(stream);
        }
        (listener, waiting, address.port())
    });
    send_to_silence(&at(Scheme::Amqp, port)).expect_error(8, &["opening the TCP connection"]);
}

#[test]
fn a_body_over_256_kib_is_rejected() {
    let hub = Hub::start();
    for size in [256 * 1024 + 1, 900_000, 1_100_000, 5_000_000] {
        let ran = hub.send(["-o", "json", "-"]).stdin(vec![b'x'; size]).run();
        let outcome = ran.object()["outcome"].clone();
        assert!(outcome == "rejected" || outcome == "too-large", "{ran:?}");
        in_time(ran).expect_error(7, &["256 KiB"]);
    }
    assert_eq!(hub.received(), 0);
    hub.send(["-"]).stdin(vec![b'x'; 255 * 1024]).run().expect_code(0);

    let long_line = [vec![b'x'; 2_000_000], b"\nshort\n".to_vec()].concat();
    let ran = hub.send(["--jsonl", "-"]).stdin(long_line).run();
    ran.expect_error(9, &["1 of 2 messages not accepted", "1 too-large"]);
}

#[test]
fn plain_tcp_goes_to_this_machine_only() {
    // An address of the documentation range (RFC 5737): nothing is sent to it.
    send_to(&url(Scheme::Amqp, "192.0.2.1", 5672, "dev", FAR)).expect_error(2, &["this machine only"]);
}

#[test]
fn a_broken_pipe_from_the_peer_in_the_middle_of_a_frame_is_one_line() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"AMQP\x03\x01").unwrap();
    });
    send_to(&at(Scheme::Amqp, port)).expect_error(3, &[""]);
    server.join().unwrap();
}
