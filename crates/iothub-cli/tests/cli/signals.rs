//! Goal: Ctrl-C ends a command in order: a hub with 0, unfinished work with 130 and all that is known of it.
//! Method: signals to the process, sent once its output or its peer shows that it has come so far.

use std::io::Write;

use iothub_address::Scheme;
use iothub_tests::scripted::{Step, accept_and_play, listen};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use super::harness::{FAR, Hub, emulator_run, iothub, url};

#[test]
fn a_hub_stops_at_either_signal_with_0() {
    for signal in ["INT", "TERM"] {
        let mut hub = emulator_run([]).start();
        hub.line();
        assert_eq!(std::fs::read_dir(hub.runtime_dir()).unwrap().count(), 1);
        let runtime_dir = hub.runtime_dir().to_owned();
        hub.signal(signal);
        let (ran, _scratch) = hub.end_keeping_scratch();
        ran.expect_code(0);
        assert_eq!(std::fs::read_dir(runtime_dir).unwrap().count(), 0, "{signal}");
    }
}

#[test]
fn a_hub_stops_while_a_device_is_connected() {
    let mut hub = emulator_run([]).start();
    let ready = hub.json();
    let mut send = iothub(["device", "send", "--jsonl", "-", "--timeout", "5s"])
        .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
        .env(
            "IOTHUB_DEVICE_CONNECTION_STRING",
            ready["devices"]["myFirstDevice"].as_str().unwrap(),
        )
        .start();
    send.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
    assert!(send.line().starts_with("accepted "));
    hub.signal("INT");
    hub.end().expect_code(0);
}

#[test]
fn sending_that_is_interrupted_has_printed_what_it_knows() {
    let hub = Hub::start();
    let mut send = hub.send(["--jsonl", "-"]).start();
    send.stdin.as_mut().unwrap().write_all(b"a\n").unwrap();
    assert!(send.line().starts_with("accepted "));
    // Its end would be the end of the work.
    let _open = send.stdin.take();
    send.signal("INT");
    let ran = send.end().expect_error(130, &["interrupted"]);
    assert_eq!(ran.stdout, "");
}

/// Starts a send to a hub that falls silent after `last`, and interrupts it there.
fn interrupt_after(last: Step) -> super::harness::Ran {
    let runtime = Runtime::new().unwrap();
    let (listener, address) = runtime.block_on(listen()).unwrap();
    let (here, reached) = oneshot::channel();
    runtime.spawn(async move {
        let mut peer = accept_and_play(&listener, last).await.unwrap();
        here.send(()).unwrap();
        peer.until_gone().await;
    });
    let url = url(Scheme::Amqp, "127.0.0.1", address.port(), "dev", FAR);
    let send = iothub(["device", "send", "a"]).file("--url-file", url).start();
    runtime.block_on(reached).unwrap();
    send.signal("INT");
    send.end().expect_error(130, &["interrupted"])
}

#[test]
fn connecting_can_be_interrupted() {
    assert_eq!(interrupt_after(Step::SaslHeader).stdout, "");
}

#[test]
fn a_message_whose_outcome_is_awaited_is_told_as_unknown() {
    let ran = interrupt_after(Step::Transfer);
    assert!(ran.stdout.starts_with("unknown "), "{ran:?}");
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
}
