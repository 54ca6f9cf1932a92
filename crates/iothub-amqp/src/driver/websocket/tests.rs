//! Goal: AMQP's bytes go through a WebSocket unchanged, and what is no hub's WebSocket is told apart.
//! Method: an in-memory pipe; at its other end the library's server side, or bytes written by hand.
#![allow(
    clippy::result_large_err,
    reason = "the library's callback gives back what it gives back"
)]

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::tungstenite::handshake::server;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{accept_hdr_async, tungstenite::protocol::CloseFrame};

use super::*;

const LIMIT: Duration = Duration::from_secs(30);

fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        host: "myhub.azure-devices.net".into(),
        port,
    }
}

/// An open WebSocket, and the server's end of it.
async fn open(capacity: usize) -> (WebSocket<DuplexStream>, WebSocketStream<DuplexStream>) {
    let (ours, theirs) = tokio::io::duplex(capacity);
    let answer = |_: &server::Request, mut response: server::Response| {
        let headers = response.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static("AMQPWSB10"));
        Ok(response)
    };
    let place = endpoint(443);
    let (client, server) = tokio::join!(upgrade(ours, &place, LIMIT), accept_hdr_async(theirs, answer));
    (client.unwrap(), server.unwrap())
}

/// What upgrading comes to when the server answers with these bytes and ends, and what it was asked.
async fn answered(answer: &[u8], port: u16) -> (ConnectError, String) {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    theirs.write_all(answer).await.unwrap();
    theirs.shutdown().await.unwrap();
    let error = upgrade(ours, &endpoint(port), LIMIT).await.map(drop).unwrap_err();
    let mut asked = String::new();
    theirs.read_to_string(&mut asked).await.unwrap();
    (error, asked)
}

#[tokio::test]
async fn the_request_is_one_for_iot_hub() {
    for (port, host) in [
        (443, "myhub.azure-devices.net"),
        (8443, "myhub.azure-devices.net:8443"),
    ] {
        let (_, asked) = answered(b"", port).await;
        let lines: Vec<_> = asked.split("\r\n").collect();
        assert_eq!(lines[0], "GET /$iothub/websocket HTTP/1.1");
        for line in [
            format!("Host: {host}"),
            "Upgrade: websocket".to_owned(),
            "Sec-WebSocket-Protocol: AMQPWSB10".to_owned(),
        ] {
            assert!(lines.contains(&line.as_str()), "{line} in {asked}");
        }
    }
}

#[tokio::test]
async fn each_answer_that_is_no_hubs_websocket_is_told_apart() {
    let upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    let refused = |status| WebSocketFailure::Refused { status };
    for (answer, expected) in [
        ("HTTP/1.1 404 Not Found\r\n\r\n".to_owned(), refused(404)),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
            refused(200),
        ),
        (
            String::new(),
            WebSocketFailure::Ended("unexpected end of file".into()),
        ),
    ] {
        match answered(answer.as_bytes(), 443).await.0 {
            ConnectError::WebSocket { why, .. } => assert_eq!(why, expected, "{answer}"),
            other => panic!("{other}"),
        }
    }
    for answer in ["AMQP\x03\x01\x00\x00\r\n\r\n", upgraded] {
        let (error, _) = answered(format!("{answer}\r\n").as_bytes(), 443).await;
        let ConnectError::WebSocket { why, .. } = &error else {
            panic!("{error}")
        };
        assert!(matches!(why, WebSocketFailure::NotWebSocket(_)), "{why:?}");
    }
}

#[tokio::test]
async fn a_server_that_confirms_another_sub_protocol_or_none_is_no_hub() {
    for protocol in [None, Some("amqp")] {
        let (ours, theirs) = tokio::io::duplex(4096);
        let answer = move |_: &server::Request, mut response: server::Response| {
            if let Some(protocol) = protocol {
                let value = HeaderValue::from_static(protocol);
                response.headers_mut().insert("Sec-WebSocket-Protocol", value);
            }
            Ok(response)
        };
        let place = endpoint(443);
        let (client, _server) = tokio::join!(upgrade(ours, &place, LIMIT), accept_hdr_async(theirs, answer));
        let error = client.map(drop).unwrap_err();
        let told = |why: &WebSocketFailure| *why == WebSocketFailure::SubProtocol;
        assert!(
            matches!(&error, ConnectError::WebSocket { why, .. } if told(why)),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_times_out() {
    let (ours, _theirs) = tokio::io::duplex(4096);
    let error = upgrade(ours, &endpoint(443), LIMIT).await.map(drop).unwrap_err();
    assert!(matches!(
        error,
        ConnectError::TimedOut {
            phase: Phase::WebSocket,
            after: LIMIT
        }
    ));
}

#[tokio::test]
async fn bytes_go_both_ways_whatever_the_messages_borders() {
    // A pipe that is narrower than a message, so that every step has to wait.
    let (client, mut server) = open(97).await;
    let sent: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
    let (mut reader, mut writer) = tokio::io::split(client);

    let up = async {
        writer.write_all(&sent).await.unwrap();
        writer.flush().await.unwrap();
    };
    let received = async {
        let mut received = Vec::new();
        while received.len() < sent.len() {
            let message = server.next().await.unwrap().unwrap();
            assert!(message.is_binary());
            received.extend(message.into_data());
        }
        received
    };
    let ((), received) = tokio::join!(up, received);
    assert_eq!(received, sent);

    use futures_util::SinkExt;
    let down = async {
        for piece in [&sent[..1], &[], &sent[1..70_000], &sent[70_000..]] {
            server
                .send(Message::Binary(Bytes::copy_from_slice(piece)))
                .await
                .unwrap();
        }
    };
    let mut arrived = vec![0; sent.len()];
    let (_, ()) = tokio::join!(reader.read_exact(&mut arrived), down);
    assert_eq!(arrived, sent);
}

#[tokio::test]
async fn a_ping_is_answered_while_the_stream_is_read() {
    use futures_util::SinkExt;
    let (client, mut server) = open(4096).await;
    let reading = tokio::spawn(async move {
        let (mut client, mut buffer) = (client, [0; 8]);
        client.read(&mut buffer).await
    });
    server
        .send(Message::Ping(Bytes::from_static(b"are you there")))
        .await
        .unwrap();
    let answer = server.next().await.unwrap().unwrap();
    assert_eq!(answer, Message::Pong(Bytes::from_static(b"are you there")));
    reading.abort();
}

#[tokio::test]
async fn the_servers_close_is_answered_and_is_the_end() {
    let (mut client, mut server) = open(4096).await;
    let frame: Option<CloseFrame> = None;
    server.close(frame).await.unwrap();
    let (read, heard) = tokio::join!(client.read_u8(), server.next());
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert!(matches!(heard, Some(Ok(Message::Close(_)))), "{heard:?}");
}

#[tokio::test]
async fn shutting_down_sends_a_close_frame() {
    let (mut client, mut server) = open(4096).await;
    client.shutdown().await.unwrap();
    assert!(matches!(server.next().await, Some(Ok(Message::Close(_)))));
}

#[tokio::test]
async fn text_a_cut_and_a_message_without_bound_are_errors() {
    use futures_util::SinkExt;
    let (mut client, mut server) = open(4096).await;
    server.send(Message::text("AMQP")).await.unwrap();
    assert_eq!(
        client.read_u8().await.unwrap_err().kind(),
        io::ErrorKind::InvalidData
    );

    let (mut client, server) = open(4096).await;
    drop(server);
    assert_eq!(
        client.read_u8().await.unwrap_err().kind(),
        io::ErrorKind::UnexpectedEof
    );

    let (ours, mut theirs) = tokio::io::duplex(4096);
    let mut client = WebSocket {
        stream: WebSocketStream::from_raw_socket(ours, Role::Client, Some(config())).await,
        unread: Bytes::new(),
        closed: false,
    };
    // A binary message of 2^40 bytes (RFC 6455 §5.2).
    theirs
        .write_all(&[0x82, 127, 0, 0, 1, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    assert_eq!(
        client.read_u8().await.unwrap_err().kind(),
        io::ErrorKind::InvalidData
    );
}
