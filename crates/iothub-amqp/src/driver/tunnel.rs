//! A tunnel through an HTTP proxy, by `CONNECT` (RFC 9110 §9.3.6).

use std::io;
use std::time::Duration;

use iothub_address::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::dial::Endpoint;
use crate::error::{ConnectError, Phase, ProxyFailure};
use crate::{ByteStream, Proxy};

/// Asks the proxy at the other end of `stream` for a tunnel to `endpoint`.
pub(crate) async fn open_tunnel(
    stream: &mut dyn ByteStream,
    proxy: &Proxy,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<(), ConnectError> {
    let asked = timeout(limit, async {
        stream
            .write_all(request(proxy, endpoint).expose().as_bytes())
            .await?;
        stream.flush().await?;
        read_head(stream).await
    });
    let failed = |why| ConnectError::Proxy {
        proxy: proxy.to_string(),
        why,
    };
    let head = asked
        .await
        .map_err(|_| ConnectError::TimedOut {
            phase: Phase::Proxy,
            after: limit,
        })?
        .map_err(|error| failed(ProxyFailure::Ended(error.kind().to_string())))?;
    match status(&head) {
        Some(200..=299) => Ok(()),
        Some(407) => Err(failed(ProxyFailure::Unauthorized)),
        Some(status) => Err(failed(ProxyFailure::Refused { status })),
        None => Err(failed(ProxyFailure::NotHttp)),
    }
}

fn request(proxy: &Proxy, endpoint: &Endpoint) -> Secret {
    let head = format!("CONNECT {endpoint} HTTP/1.1\r\nHost: {endpoint}\r\n");
    let authorization = proxy.authorization();
    Secret::new(match &authorization {
        Some(value) => [&head, "Proxy-Authorization: ", value.expose(), "\r\n\r\n"].concat(),
        None => head + "\r\n",
    })
}

/// Reads up to the empty line, and not a byte of what comes behind it: that is the tunnel's.
async fn read_head(stream: &mut dyn ByteStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while head.len() < LONGEST_HEAD && !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}

fn status(head: &[u8]) -> Option<u16> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => response.code,
        _ => None,
    }
}

/// In bytes; more is no proxy's answer.
const LONGEST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            host: "hub.example".into(),
            port: 5671,
        }
    }

    async fn answered(proxy: &str, answer: &[u8]) -> (Result<(), ConnectError>, String, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(64 * 1024);
        theirs.write_all(answer).await.unwrap();
        let proxy = Proxy::parse(proxy).unwrap();
        let limit = Duration::from_secs(5);
        let opened = open_tunnel(&mut ours, &proxy, &endpoint(), limit).await;
        drop(theirs.shutdown().await);
        let mut rest = Vec::new();
        ours.read_to_end(&mut rest).await.unwrap();
        drop(ours);
        let mut asked = String::new();
        theirs.read_to_string(&mut asked).await.unwrap();
        (opened, asked, rest)
    }

    #[tokio::test]
    async fn what_comes_behind_the_answer_is_the_tunnels() {
        let answer = b"HTTP/1.0 200 Connection established\r\nX-Proxy: 1\r\n\r\nAMQP";
        let (opened, asked, rest) = answered("http://Aladdin:open%20sesame@p", answer).await;
        opened.unwrap();
        assert_eq!(
            asked,
            "CONNECT hub.example:5671 HTTP/1.1\r\nHost: hub.example:5671\r\n\
             Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
        );
        assert_eq!(rest, b"AMQP");
    }

    #[tokio::test]
    async fn each_refusal_is_told_apart() {
        let endless = [&b"HTTP/1.1 200 OK\r\nX: "[..], &[b'x'; LONGEST_HEAD]].concat();
        for (answer, expected) in [
            (
                &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
                ProxyFailure::Unauthorized,
            ),
            (
                b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
                ProxyFailure::Refused { status: 403 },
            ),
            (
                b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
                ProxyFailure::Refused { status: 502 },
            ),
            (b"SSH-2.0-OpenSSH\r\n\r\n", ProxyFailure::NotHttp),
            (&endless, ProxyFailure::NotHttp),
        ] {
            let (opened, ..) = answered("p:3128", answer).await;
            match opened.unwrap_err() {
                ConnectError::Proxy { proxy, why } => {
                    assert_eq!((proxy.as_str(), why), ("http://p:3128", expected));
                }
                other => panic!("{other}"),
            }
        }
    }

    #[tokio::test]
    async fn a_proxy_that_ends_or_says_nothing_is_told_apart() {
        let proxy = Proxy::parse("p").unwrap();
        let limit = Duration::from_millis(20);
        let (mut ours, theirs) = tokio::io::duplex(1024);
        let silent = open_tunnel(&mut ours, &proxy, &endpoint(), limit).await;
        assert!(matches!(
            silent,
            Err(ConnectError::TimedOut {
                phase: Phase::Proxy,
                ..
            })
        ));
        drop(theirs);
        let gone = open_tunnel(&mut ours, &proxy, &endpoint(), limit).await;
        let why = |why: &ProxyFailure| matches!(why, ProxyFailure::Ended(_));
        assert!(matches!(gone, Err(ConnectError::Proxy { why: told, .. }) if why(&told)));
    }
}
