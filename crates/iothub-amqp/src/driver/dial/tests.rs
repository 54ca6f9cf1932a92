//! Goal: every address of a host gets its chance, anew at each attempt, and no longer than it may.
//! Method: a network of the test's own, with the clock paused; and the system's towards ports of this machine.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;
use crate::network::{Connecting, Resolving};
use crate::{Phase, SystemNetwork};

/// What an address does with who comes.
#[derive(Clone, Copy)]
enum Nature {
    Answers(Duration),
    Refuses,
    IsSilent,
}

/// Answers each question for the name with the next of these lists.
struct Scripted {
    answers: Mutex<Vec<Vec<SocketAddr>>>,
    natures: BTreeMap<SocketAddr, Nature>,
    tried: Mutex<Vec<(SocketAddr, Duration)>>,
    begun: Instant,
}

impl Scripted {
    fn new(answers: &[&[&str]], natures: &[(&str, Nature)]) -> Self {
        let parse = |text: &&str| text.parse().unwrap();
        Self {
            answers: Mutex::new(
                answers
                    .iter()
                    .map(|list| list.iter().map(parse).collect())
                    .collect(),
            ),
            natures: natures
                .iter()
                .map(|(text, nature)| (parse(text), *nature))
                .collect(),
            tried: Mutex::default(),
            begun: Instant::now(),
        }
    }

    fn tried(&self) -> Vec<(String, u128)> {
        let tried = std::mem::take(&mut *self.tried.lock().unwrap());
        tried
            .iter()
            .map(|(address, after)| (address.to_string(), after.as_millis()))
            .collect()
    }
}

impl Network for Scripted {
    fn resolve<'a>(&'a self, _host: &'a str, _port: u16) -> Resolving<'a> {
        Box::pin(async { Ok(self.answers.lock().unwrap().remove(0)) })
    }

    fn connect(&self, address: SocketAddr) -> Connecting<'_> {
        self.tried.lock().unwrap().push((address, self.begun.elapsed()));
        let nature = self.natures[&address];
        Box::pin(async move {
            match nature {
                Nature::Answers(after) => {
                    tokio::time::sleep(after).await;
                    Ok(Box::new(tokio::io::duplex(1).0) as Box<dyn ByteStream>)
                }
                Nature::Refuses => Err(io::ErrorKind::ConnectionRefused.into()),
                Nature::IsSilent => std::future::pending().await,
            }
        })
    }
}

fn hub() -> Endpoint {
    Endpoint {
        host: "hub.example".into(),
        port: 5671,
    }
}

const LIMIT: Duration = Duration::from_secs(30);
const AT_ONCE: Nature = Nature::Answers(Duration::ZERO);

async fn dial_hub(network: &Scripted) -> Result<(), ConnectError> {
    dial(network, &hub(), Reach::Anywhere, LIMIT).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_silent_address_holds_the_next_up_by_a_quarter_of_a_second_and_a_refusing_one_not_at_all() {
    let network = Scripted::new(
        &[&["[::1]:1", "[::2]:1", "1.1.1.1:1", "2.2.2.2:1"]],
        &[
            ("[::1]:1", Nature::IsSilent),
            ("1.1.1.1:1", Nature::Refuses),
            ("[::2]:1", Nature::IsSilent),
            ("2.2.2.2:1", AT_ONCE),
        ],
    );
    dial_hub(&network).await.unwrap();
    let expected = [
        ("[::1]:1", 0),
        ("1.1.1.1:1", 250),
        ("[::2]:1", 250),
        ("2.2.2.2:1", 500),
    ];
    let expected = expected.map(|(address, after)| (address.to_owned(), after));
    assert_eq!(network.tried(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_first_to_answer_wins_though_it_started_first_and_is_slow() {
    let slow = Nature::Answers(Duration::from_millis(400));
    let network = Scripted::new(
        &[&["1.1.1.1:1", "2.2.2.2:1"]],
        &[("1.1.1.1:1", slow), ("2.2.2.2:1", Nature::IsSilent)],
    );
    dial_hub(&network).await.unwrap();
    assert_eq!(network.begun.elapsed(), Duration::from_millis(400));
}

#[tokio::test(start_paused = true)]
async fn the_name_is_looked_up_anew_at_each_attempt() {
    let network = Scripted::new(
        &[&["1.1.1.1:1"], &["2.2.2.2:1"]],
        &[("1.1.1.1:1", Nature::Refuses), ("2.2.2.2:1", AT_ONCE)],
    );
    let error = dial_hub(&network).await.unwrap_err();
    assert!(matches!(error, ConnectError::Connect { endpoint, .. } if endpoint == "hub.example:5671"));
    dial_hub(&network).await.unwrap();
    assert_eq!(network.tried().last().unwrap().0, "2.2.2.2:1");
}

#[tokio::test(start_paused = true)]
async fn addresses_that_are_all_silent_time_out_and_none_at_all_is_an_error() {
    let network = Scripted::new(&[&["1.1.1.1:1"], &[]], &[("1.1.1.1:1", Nature::IsSilent)]);
    let error = dial_hub(&network).await.unwrap_err();
    assert!(matches!(
        error,
        ConnectError::TimedOut {
            phase: Phase::Connect,
            after: LIMIT
        }
    ));
    let error = dial_hub(&network).await.unwrap_err();
    assert!(
        matches!(error, ConnectError::Connect { source, .. } if source.kind() == io::ErrorKind::NotFound)
    );
}

#[tokio::test]
async fn the_systems_network_passes_over_a_port_where_nobody_listens() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap();
    let closed = {
        let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        gone.local_addr().unwrap()
    };
    connect_first(&SystemNetwork, vec![closed, open]).await.unwrap();
    listener.accept().await.unwrap();
    assert_eq!(
        connect_first(&SystemNetwork, vec![closed])
            .await
            .map(drop)
            .unwrap_err()
            .kind(),
        io::ErrorKind::ConnectionRefused
    );
}

#[tokio::test]
async fn plain_tcp_goes_to_this_machine_only() {
    // An address of the documentation range (RFC 5737): nothing is sent to it.
    let endpoint = Endpoint {
        host: "192.0.2.1".into(),
        port: 5672,
    };
    let limit = Duration::from_secs(1);
    let error = dial(&SystemNetwork, &endpoint, Reach::ThisMachine, limit)
        .await
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, ConnectError::NotLoopback(host) if host == "192.0.2.1"));
}
