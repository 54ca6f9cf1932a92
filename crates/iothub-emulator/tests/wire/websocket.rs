//! AMQP over WebSocket on the HTTPS port. Sources: RFC 6455, the AMQP WebSocket binding, the SDKs (their paths, queries
//! and sub-protocol; §9 of the hub's wire reference).

use futures_util::{SinkExt, StreamExt};
use iothub_emulator::{AuthMethod, Emulator, Notice, What};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async, client_async_with_config};

use crate::certificates::Credential;
use crate::common::*;
use crate::raw::*;

type Socket = WebSocketStream<TlsStream<TcpStream>>;

async fn https(hub: &Emulator) -> TlsStream<TcpStream> {
    let address = hub.https_address().unwrap();
    tls_to(address, hub, "localhost").await.unwrap()
}

async fn ask(hub: &Emulator, path: &str, protocols: Option<&str>) -> Result<(Socket, Response), Error> {
    let mut request = format!("wss://localhost{path}").into_client_request()?;
    if let Some(protocols) = protocols {
        let protocols = protocols.parse().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocols);
    }
    client_async(request, https(hub).await).await
}

async fn socket(hub: &Emulator) -> Socket {
    ask(hub, "/$iothub/websocket", Some("AMQPWSB10")).await.unwrap().0
}

/// The socket as a stream of bytes, each message of at most `size` of them.
fn stream(socket: Socket, size: usize) -> DuplexStream {
    let (ours, theirs) = duplex(1024 * 1024);
    let (mut sink, mut messages) = socket.split();
    let (mut read, mut write) = tokio::io::split(theirs);
    tokio::spawn(async move {
        let mut buffer = vec![0; size];
        while let Ok(count @ 1..) = read.read(&mut buffer).await {
            let message = Message::binary(buffer[..count].to_vec());
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    });
    tokio::spawn(async move {
        while let Some(Ok(message)) = messages.next().await {
            if let Message::Binary(bytes) = message {
                let _ = write.write_all(&bytes).await;
            }
        }
        let _ = write.shutdown().await;
    });
    ours
}

/// How the AMQP connection ended, by the hub's own account.
async fn gone(hub: &Emulator) -> String {
    let mut activity = hub.activity().subscribe_from_start();
    loop {
        let Some(Notice::Entry(entry)) = activity.next().await else {
            panic!("it did not end")
        };
        if let What::Gone { why } = &entry.what {
            return why.clone();
        }
    }
}

#[tokio::test]
async fn telemetry_goes_over_any_path_with_any_query_and_the_sub_protocol_is_echoed() {
    let hub = hub().await;
    for (number, path) in [
        "/$iothub/websocket",
        "/$iothub/websocket?iothub-no-client-cert=true",
        "/",
        "/$servicebus/websocket/",
        "/devices/x?api-version=2021-04-12",
    ]
    .into_iter()
    .enumerate()
    {
        let (socket, response) = ask(&hub, path, Some("AMQPWSB10")).await.unwrap();
        assert_eq!(
            response.headers()["sec-websocket-protocol"],
            "AMQPWSB10",
            "{path}"
        );
        let mut raw = Raw::on(stream(socket, 4096));
        let user = format!("{DEVICE}@sas.tcontehub");
        assert_eq!(raw.plain(&user, &device_token()).await, 0);
        raw.start().await;
        raw.attach(0, "telemetry", &format!("/devices/{DEVICE}/messages/events"))
            .await;
        raw.expect(ATTACH).await;
        raw.expect(FLOW).await;
        raw.send(&transfer(0, false, false, &data(b"x"))).await;
        raw.expect(DISPOSITION).await;
        raw.send(&frame(0, CLOSE, &[], b"")).await;
        raw.expect(CLOSE).await;
        assert_eq!(hub.journal().snapshot().len(), number + 1);
    }
    hub.stop().await;
}

#[tokio::test]
async fn the_hubs_own_sub_protocol_is_preferred_and_the_standards_is_taken() {
    let hub = hub().await;
    for (offered, chosen) in [
        ("amqp, AMQPWSB10", "AMQPWSB10"),
        ("mqtt,AMQPWSB10", "AMQPWSB10"),
        ("amqp", "amqp"),
    ] {
        let (_, response) = ask(&hub, "/", Some(offered)).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], chosen, "{offered}");
    }
    for offered in [None, Some("mqtt"), Some("amqpwsb10")] {
        let Err(Error::Http(response)) = ask(&hub, "/", offered).await else {
            panic!("granted {offered:?}")
        };
        assert_eq!(response.status(), 400, "{offered:?}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn frames_may_be_split_over_messages_and_put_together_in_one() {
    let hub = hub().await;
    // Each byte a message of its own.
    let mut raw = Raw::on(stream(socket(&hub).await, 1));
    raw.start().await;
    // All in one message: the header, `open` and `begin`.
    let mut socket = socket(&hub).await;
    let open = frame(0, OPEN, &[string("raw"), string("localhost")], b"");
    let all = [AMQP.to_vec(), open, begin(0)].concat();
    socket.send(Message::binary(all)).await.unwrap();
    let mut raw = Raw::on(stream(socket, 4096));
    assert_eq!(raw.header().await, *AMQP);
    raw.expect(OPEN).await;
    raw.expect(BEGIN).await;
    hub.stop().await;
}

#[tokio::test]
async fn a_ping_is_answered_and_a_close_too() {
    let hub = hub().await;
    let mut socket = socket(&hub).await;
    socket.send(Message::Ping("are you there".into())).await.unwrap();
    assert_eq!(
        socket.next().await.unwrap().unwrap(),
        Message::Pong("are you there".into())
    );
    socket.send(Message::Close(None)).await.unwrap();
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    assert!(socket.next().await.is_none());
    let why = gone(&hub).await;
    assert!(
        why.starts_with("the connection broke before it was open"),
        "{why}"
    );
    hub.stop().await;
}

/// The hub's last words on the AMQP connection, then on the WebSocket.
#[tokio::test]
async fn a_refused_client_hears_the_outcome_and_then_a_close() {
    let hub = hub().await;
    let mut socket = socket(&hub).await;
    socket.send(Message::binary(SASL.to_vec())).await.unwrap();
    let init = sasl_frame(
        0x41,
        &[symbol("PLAIN"), binary(b"\0nobody@sas.tcontehub\0no token")],
    );
    socket.send(Message::binary(init)).await.unwrap();
    let mut heard = Vec::new();
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Binary(bytes) => heard.extend_from_slice(&bytes),
            Message::Close(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(heard.ends_with(&[0x50, 2]), "code 2: {heard:02x?}");
    hub.stop().await;
}

#[tokio::test]
async fn what_is_not_a_binary_message_of_bounded_size_ends_the_connection() {
    let hub = hub().await;
    let sent_text = async {
        let mut socket = socket(&hub).await;
        socket.send(Message::text("AMQP")).await.unwrap();
        socket
    };
    let sent_too_much = async {
        let mut socket = socket(&hub).await;
        let _ = socket.send(Message::binary(vec![0; 1024 * 1024 + 1])).await;
        socket
    };
    for mut socket in [sent_text.await, sent_too_much.await] {
        while let Some(Ok(_)) = socket.next().await {}
    }
    // A frame that says it is longer than it may be, and none of it.
    let (socket, _) = ask(&hub, "/", Some("AMQPWSB10")).await.unwrap();
    let mut bare = socket.into_inner();
    let endless = [&[0x82, 0xff][..], &u64::MAX.to_be_bytes()[..], &[1, 2, 3, 4]].concat();
    bare.write_all(&endless).await.unwrap();
    let mut rest = Vec::new();
    let _ = bare.read_to_end(&mut rest).await;
    // Another is served.
    Raw::on(stream(self::socket(&hub).await, 4096)).start().await;
    hub.stop().await;
}

/// The client's frames must be masked (RFC 6455 §5.1), and this one's are not.
#[tokio::test]
async fn an_unmasked_message_ends_the_connection() {
    let hub = hub().await;
    let mut bare = socket(&hub).await.into_inner();
    bare.write_all(&[0x82, 1, b'A']).await.unwrap();
    let mut rest = Vec::new();
    let _ = bare.read_to_end(&mut rest).await;
    let why = gone(&hub).await;
    assert!(why.contains("unmasked"), "{why}");
    hub.stop().await;
}

#[tokio::test]
async fn a_certificate_counts_over_websocket_too() {
    let credential = Credential::self_signed("any");
    let hub = builder()
        .device("d".parse().unwrap(), credential.thumbprints())
        .start()
        .await
        .unwrap();
    let config = credential.config(&hub, rustls::ALL_VERSIONS);
    let tls = tls_with(config, hub.https_address().unwrap(), "localhost")
        .await
        .unwrap();
    let mut request = "wss://localhost/$iothub/websocket".into_client_request().unwrap();
    request
        .headers_mut()
        .insert("Sec-WebSocket-Protocol", "AMQPWSB10".parse().unwrap());
    let (socket, _) = client_async_with_config(request, tls, Some(WebSocketConfig::default()))
        .await
        .unwrap();
    let mut raw = Raw::on(stream(socket, 4096));
    raw.start().await;
    crate::certificates::send(&mut raw, "d").await;
    let method = hub.journal().snapshot()[0].sender.auth_method;
    assert!(matches!(method, AuthMethod::Certificate(_)));
    hub.stop().await;
}

/// A WebSocket on which nothing is said is given up as a TCP connection is.
#[tokio::test]
async fn a_websocket_that_says_nothing_is_given_up_in_time() {
    let hub = hub().await;
    let mut silent = socket(&hub).await;
    // From here on time goes by whenever nothing else is to be done.
    tokio::time::pause();
    let before = tokio::time::Instant::now();
    while let Some(Ok(_)) = silent.next().await {}
    let took = before.elapsed().as_secs();
    assert!((14..=18).contains(&took), "{took} s");
    assert_eq!(gone(&hub).await, "the client took too long to open");
    hub.stop().await;
}
