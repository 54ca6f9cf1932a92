//! Goal: a connection that is replaced before its token ends costs nothing of what is on its way: no message, no word on what came
//! in, no answer to a call, no question to the twin.
//! Method: the supervisor itself, told facts in virtual time; then client, engines and hub in one process, also in virtual time, with
//! a hub that takes its time just then.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::{Duration, Instant};

use iothub_amqp::supervisor::{
    Action, DeliveryId, Epoch, Input, LaneId, LaneKind, Principal, Question, RequestId, SignIn, Supervisor,
    Verdict, Word,
};
use iothub_amqp::{DeviceClient, Status, TwinError};
use iothub_emulator::{Fault, FaultKind, MethodCall};
use iothub_tests::memory::{Memory, identity};
use iothub_tests::supervised::{LIMIT, SLOT, actions, arrives, joined, lane_up, subscribe, token, word};
use serde_json::json;
use tokio::time::{sleep, timeout};

/// A device by SASL PLAIN with all its links up, whose token nears its end: its credential is asked for another.
struct Renewing {
    supervisor: Supervisor,
    now: Instant,
    commands: (LaneId, Epoch),
    methods: (LaneId, Epoch),
    twin: (LaneId, Epoch),
}

impl Renewing {
    fn new() -> Self {
        let now = Instant::now();
        let mut supervisor = joined(SignIn::Plain, Principal::Device, 1, now);
        supervisor.handle(token(SLOT), now);
        supervisor.handle(Input::Up { conn: 1 }, now);
        lane_up(&mut supervisor, LaneKind::Telemetry, now);
        let mut listening = |kind| {
            let lane = subscribe(&mut supervisor, kind, now);
            (lane, lane_up(&mut supervisor, kind, now))
        };
        let (commands, methods) = (listening(LaneKind::Commands), listening(LaneKind::Methods));
        let mut renewing = Self {
            supervisor,
            now,
            commands,
            methods,
            twin: commands,
        };
        // The first question attaches the twin's links.
        renewing.ask(0, Question::Get);
        let lane = LaneId {
            slot: SLOT,
            kind: LaneKind::Twin,
        };
        renewing.twin = (lane, lane_up(&mut renewing.supervisor, lane.kind, now));
        renewing.answered(0);
        renewing.told();
        renewing.now = renewing.supervisor.poll_timeout().unwrap();
        renewing.supervisor.handle_timeout(renewing.now);
        assert_eq!(renewing.told(), [Action::FetchToken(SLOT)]);
        renewing
    }

    fn tell(&mut self, input: Input) {
        self.supervisor.handle(input, self.now);
    }

    fn told(&mut self) -> Vec<Action> {
        actions(&mut self.supervisor)
    }

    fn ask(&mut self, number: u64, question: Question) {
        let deadline = self.now + 2 * LIMIT;
        self.tell(Input::Request {
            slot: SLOT,
            request: RequestId(number),
            question,
            deadline,
            limit: 2 * LIMIT,
        });
    }

    fn answered(&mut self, number: u64) {
        let (lane, epoch) = self.twin;
        self.tell(Input::Answered {
            lane,
            epoch,
            request: RequestId(number),
            status: 200,
            desired: None,
        });
    }

    fn disposed(&mut self, (lane, epoch): (LaneId, Epoch), number: u64) {
        let delivery = DeliveryId(number);
        self.tell(Input::Disposed {
            lane,
            epoch,
            delivery,
        });
    }
}

fn leaves(told: &[Action]) -> bool {
    let leaving = |action: &Action| matches!(action, Action::CloseGently { conn: 1, .. });
    told.iter().any(leaving)
}

fn quieted(action: &Action) -> Option<(LaneId, Epoch)> {
    match action {
        Action::Quiet(lane, epoch) => Some((*lane, *epoch)),
        _ => None,
    }
}

#[test]
fn a_word_on_its_way_is_told_before_the_connection_is_left() {
    for (kind, verdict) in [
        (LaneKind::Commands, Verdict::Complete),
        (LaneKind::Commands, Verdict::Abandon),
        (LaneKind::Commands, Verdict::Reject),
        (LaneKind::Methods, Verdict::Respond),
    ] {
        let mut world = Renewing::new();
        let link = match kind {
            LaneKind::Methods => world.methods,
            _ => world.commands,
        };
        for number in 1..=3 {
            arrives(&mut world.supervisor, link, number, world.now);
        }
        // One is with the link when the connection is to be left, and another follows it; the third has none.
        world.tell(word(link, 1, verdict));
        world.told();
        world.tell(token(SLOT));
        let told = world.told();
        assert!(!leaves(&told), "{told:?}");
        // A message that came yet would be locked for nothing; calls and their answers come while they can.
        let quiet: Vec<_> = told.iter().filter_map(quieted).collect();
        assert_eq!(quiet, [world.commands]);
        world.tell(word(link, 2, verdict));
        let (lane, epoch) = link;
        let passed = Action::Dispose {
            lane,
            epoch,
            delivery: DeliveryId(2),
            verdict,
        };
        assert_eq!(world.told(), [passed]);
        world.disposed(link, 1);
        let taken = |number| Action::Disposed {
            lane,
            epoch,
            delivery: DeliveryId(number),
            word: Word::Taken,
        };
        assert_eq!(world.told(), [taken(1)]);
        world.disposed(link, 2);
        let told = world.told();
        assert_eq!(told[0], taken(2));
        assert!(leaves(&told), "{told:?}");
        // Only what it came by could have taken it.
        world.tell(word(link, 3, verdict));
        let too_late = Action::Disposed {
            lane,
            epoch,
            delivery: DeliveryId(3),
            word: Word::TooLate,
        };
        assert_eq!(world.told(), [too_late]);
    }
}

#[test]
fn a_question_on_its_way_is_answered_before_the_connection_is_left_and_a_new_one_waits_for_the_next() {
    for question in [Question::Report, Question::Get] {
        let mut world = Renewing::new();
        world.ask(2, question);
        let (lane, epoch) = world.twin;
        let asked = |epoch, number| Action::Ask {
            lane,
            epoch,
            request: RequestId(number),
            question,
        };
        assert_eq!(world.told(), [asked(epoch, 2)]);
        world.tell(token(SLOT));
        let told = world.told();
        assert!(!leaves(&told), "{told:?}");
        world.ask(4, question);
        assert_eq!(world.told(), []);
        world.answered(2);
        let told = world.told();
        assert_eq!(told[0], Action::CompleteRequest(RequestId(2), Ok(())));
        assert!(leaves(&told), "{told:?}");
        let result = Ok(());
        world.tell(Input::Closed { conn: 1, result });
        world.tell(Input::Up { conn: 2 });
        let now = world.now;
        lane_up(&mut world.supervisor, LaneKind::Telemetry, now);
        let next = lane_up(&mut world.supervisor, LaneKind::Twin, now);
        let told = world.told();
        assert!(told.contains(&asked(next, 4)), "{told:?}");
    }
}

#[test]
fn what_never_comes_keeps_a_connection_for_one_operation_timeout_and_no_longer() {
    let mut world = Renewing::new();
    let link = world.commands;
    arrives(&mut world.supervisor, link, 1, world.now);
    world.tell(word(link, 1, Verdict::Complete));
    world.ask(2, Question::Report);
    world.tell(token(SLOT));
    assert!(!leaves(&world.told()));
    let late = world.now + LIMIT;
    assert_eq!(world.supervisor.poll_timeout(), Some(late));
    world.supervisor.handle_timeout(late);
    let told = world.told();
    assert!(leaves(&told), "{told:?}");
    let unknown = |action: &Action| match action {
        Action::Disposed { word, .. } => *word == Word::Unknown,
        Action::CompleteRequest(RequestId(2), result) => matches!(result, Err(TwinError::Unknown(_))),
        _ => false,
    };
    assert_eq!(
        told.iter().filter(|action| unknown(action)).count(),
        2,
        "{told:?}"
    );
}

/// A closing has no use for the next connection if all that it waits for is told by this one.
#[test]
fn a_closing_meanwhile_is_closed_by_the_connection_that_was_to_be_replaced() {
    let mut world = Renewing::new();
    world.ask(2, Question::Report);
    world.tell(token(SLOT));
    let deadline = world.now + 2 * LIMIT;
    world.tell(Input::Close { deadline });
    assert!(!leaves(&world.told()));
    world.answered(2);
    let told = world.told();
    assert!(leaves(&told), "{told:?}");
    let result = Ok(());
    world.tell(Input::Closed { conn: 1, result });
    assert_eq!(world.told().last(), Some(&Action::Finished(Ok(()))));
}

#[test]
fn a_closing_between_the_two_connections_is_in_good_order() {
    let mut world = Renewing::new();
    world.tell(token(SLOT));
    assert!(leaves(&world.told()));
    let result = Ok(());
    world.tell(Input::Closed { conn: 1, result });
    assert_eq!(world.told(), [Action::Dial { conn: 2 }]);
    let deadline = world.now + LIMIT;
    world.tell(Input::Close { deadline });
    assert_eq!(world.told().last(), Some(&Action::Finished(Ok(()))));
}

/// Tokens that live a minute, so that each is replaced with its connection between its 45th and 51st second.
async fn renewed_every_minute(memory: &Memory) -> DeviceClient {
    let builder = memory.device_by_tokens_of(0, Duration::from_secs(60));
    builder.connect().await.unwrap()
}

/// The status says so once the connection is being replaced.
async fn renewal(client: &DeviceClient) {
    let mut status = client.status();
    let renewing = status.wait_for(|status| *status == Status::Renewing);
    timeout(Duration::from_secs(10), renewing).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_patch_that_the_hub_is_slow_to_answer_is_reported_and_not_left_in_doubt() {
    let memory = Memory::start(1).await;
    let client = renewed_every_minute(&memory).await;
    let twin = client.twin();
    twin.report(&json!({"round": 0})).await.unwrap();
    sleep(Duration::from_secs(44)).await;
    // It reads no byte until after the renewal would have begun.
    memory
        .inject(Fault::new(FaultKind::StopReading).duration(Duration::from_secs(10)))
        .await;
    let patch = json!({"round": 1});
    let (reported, ()) = tokio::join!(twin.report(&patch), renewal(&client));
    reported.unwrap();
    assert_eq!(memory.attempts().len(), 1);
    // The next connection does as well.
    twin.report(&json!({"round": 2})).await.unwrap();
    assert_eq!(memory.attempts().len(), 2);
    client.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_credit_reaches_its_caller_by_the_connection_that_is_replaced() {
    let memory = Memory::start(1).await;
    let client = renewed_every_minute(&memory).await;
    // The links for calls have none from the beginning.
    memory
        .inject(Fault::new(FaultKind::WithholdCredit).duration(Duration::from_secs(54)))
        .await;
    let mut methods = client.methods().await.unwrap();
    sleep(Duration::from_secs(43)).await;
    let call = memory.hub().call_method(identity(0), MethodCall::new("blink"));
    let answer = async {
        let call = methods.next().await.unwrap();
        let (responded, ()) = tokio::join!(call.respond(200, "true"), renewal(&client));
        responded
    };
    let (response, responded) = tokio::join!(call, answer);
    responded.unwrap();
    let response = response.unwrap();
    assert_eq!((response.status, &response.payload[..]), (200, &b"true"[..]));
    client.close().await.unwrap();
}
