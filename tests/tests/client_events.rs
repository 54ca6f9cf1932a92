//! Goal: who reads a hub's events gets each once and in order, through cuts, and is told what is missing and who reads in
//! its place.
//! Method: the client against the emulator: in memory and virtual time where connections break or hours pass, over TLS on
//! loopback where the way there is what matters. What was sent is known by the device's own numbers.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use iothub_address::{ConnectionString, DeviceId, HubHost};
use iothub_amqp::{
    Batching, ConnectError, Event, Events, EventsClient, EventsClientBuilder, EventsError, Interruption,
    Message, Position, Proxies, Proxy, Read, Status, Transport,
};
use iothub_emulator::{Emulator, LogLimits};
use iothub_tests::memory::Memory;
use iothub_tests::proxy::TestProxy;
use tokio::time::{sleep, timeout};

/// Sends numbers as the bodies of one device's messages.
async fn send(memory: &Memory, device: usize, numbers: std::ops::Range<u64>) {
    let client = memory
        .device(device)
        .batching(Batching::On)
        .connect()
        .await
        .unwrap();
    let tickets: Vec<_> = numbers
        .map(|number| client.enqueue(Message::new(number.to_string())).unwrap())
        .collect();
    for ticket in tickets {
        ticket.await.unwrap();
    }
    client.close().await.unwrap();
}

fn number(event: &Event) -> u64 {
    std::str::from_utf8(&event.body).unwrap().parse().unwrap()
}

async fn next(events: &mut Events) -> Read {
    timeout(Duration::from_secs(600), events.next())
        .await
        .unwrap()
        .unwrap()
}

async fn next_event(events: &mut Events) -> Event {
    match next(events).await {
        Read::Event(event) => *event,
        other => panic!("{other:?}"),
    }
}

/// So many events, by the device.
async fn read(events: &mut Events, count: usize) -> BTreeMap<String, Vec<u64>> {
    let mut read: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for _ in 0..count {
        let event = next_event(events).await;
        let number = number(&event);
        read.entry(event.device.unwrap()).or_default().push(number);
    }
    read
}

/// That nothing comes for a while of virtual time.
async fn assert_silent(events: &mut Events) {
    let more = timeout(Duration::from_secs(60), events.next()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_is_redirected_and_reads_all_partitions_as_one_stream() {
    let memory = Memory::start(6).await;
    for device in 0..6 {
        send(&memory, device, 0..50).await;
    }
    let client = memory.events().await.connect().await.unwrap();
    assert_eq!(client.event_hub(), "emulator");
    assert_eq!(client.partitions(), [0, 1, 2, 3]);
    let mut events = client.events(Position::Earliest).open().await.unwrap();
    let all = read(&mut events, 300).await;
    assert_eq!(all.len(), 6);
    for (device, numbers) in all {
        assert_eq!(numbers, (0..50).collect::<Vec<_>>(), "{device}");
    }
    for progress in events.progress() {
        assert_eq!(progress.lag(), Some(0), "{progress:?}");
    }
    assert_silent(&mut events).await;
    client.close().await.unwrap();
    assert_eq!(memory.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn every_position_begins_where_it_says() {
    let memory = Memory::start(1).await;
    send(&memory, 0, 0..10).await;
    sleep(Duration::from_secs(10)).await;
    let between = SystemTime::UNIX_EPOCH
        + Duration::from_millis(u64::try_from(memory.hub().now().await.unwrap().as_millis()).unwrap());
    sleep(Duration::from_secs(10)).await;
    send(&memory, 0, 10..20).await;
    let client = memory.events().await.connect().await.unwrap();
    let mut all = client.events(Position::Earliest).open().await.unwrap();
    let mut offsets = Vec::new();
    let mut partition = 0;
    for sequence in 0..20 {
        let event = next_event(&mut all).await;
        assert_eq!(
            (event.sequence_number, number(&event)),
            (sequence, sequence as u64)
        );
        partition = event.partition;
        offsets.push(event.offset);
    }
    drop(all);
    let positions = [
        (Position::Sequence(7), 7),
        (Position::AfterSequence(7), 8),
        (Position::AfterOffset(offsets[4].clone()), 5),
        (Position::Time(between), 10),
    ];
    for (position, first) in positions {
        let reading = client.events(position.clone()).partitions([partition]);
        let mut events = reading.open().await.unwrap();
        for expected in first..20 {
            assert_eq!(number(&next_event(&mut events).await), expected, "{position:?}");
        }
        assert_silent(&mut events).await;
    }
    let mut latest = client.events(Position::Latest).open().await.unwrap();
    assert_silent(&mut latest).await;
    send(&memory, 0, 20..21).await;
    assert_eq!(number(&next_event(&mut latest).await), 20);
    let state = client.partition(partition).await.unwrap();
    assert_eq!((state.first, state.last), (0, Some(20)));
    assert_eq!(
        client.partition(99).await.unwrap_err(),
        EventsError::NoSuchPartition(99)
    );
}

#[tokio::test(start_paused = true)]
async fn cuts_while_events_are_read_lose_none_and_give_none_twice() {
    const EACH: u64 = 1_000;
    let memory = Memory::start(4).await;
    let client = memory.events().await.connect().await.unwrap();
    // Opened before anything is sent: what comes while a link is gone is not missed either.
    let mut events = client.events(Position::Latest).buffer(100).open().await.unwrap();
    let mut sending = tokio::task::JoinSet::new();
    for device in 0..4 {
        let client = memory.device(device).connect().await.unwrap();
        sending.spawn(async move {
            for number in 0..EACH {
                client.send(Message::new(number.to_string())).await.unwrap();
            }
        });
    }
    let (mut read, mut cuts) = (BTreeMap::<String, Vec<u64>>::new(), 0);
    let mut numbers_seen = std::collections::BTreeSet::new();
    let mut count = 0;
    let is_done = |read: &BTreeMap<String, Vec<u64>>| {
        read.values()
            .filter(|numbers| numbers.contains(&(EACH - 1)))
            .count()
            == 4
    };
    while !is_done(&read) {
        let event = next_event(&mut events).await;
        assert!(
            numbers_seen.insert((event.partition, event.sequence_number)),
            "{event:?}"
        );
        count += 1;
        read.entry(event.device.clone().unwrap())
            .or_default()
            .push(number(&event));
        if count % 35 == 20 {
            memory.down();
            memory.up();
            cuts += 1;
        }
    }
    while let Some(sent) = sending.join_next().await {
        sent.unwrap();
    }
    assert!(cuts > 100, "{cuts}");
    assert_eq!(read.len(), 4);
    for (device, mut numbers) in read {
        // The devices are cut too, so that the hub may have taken a message twice; each is an event then.
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers, (0..EACH).collect::<Vec<_>>(), "{device}");
    }
    let hub = memory.bodies().len();
    assert_eq!(numbers_seen.len(), hub, "the hub has as many as were read");
}

#[tokio::test(start_paused = true)]
async fn what_the_hub_has_dropped_is_told_and_nothing_else_is() {
    let limits = LogLimits::new(100, 1 << 20);
    let memory = Memory::start_with(1, |builder| builder.partitions(1).journal_limits(limits)).await;
    send(&memory, 0, 0..10).await;
    let client = memory.events().await.connect().await.unwrap();
    let mut events = client.events(Position::Earliest).open().await.unwrap();
    read(&mut events, 10).await;
    // While the link is gone the log goes on without its reader.
    memory.down();
    let sender = memory.device(0).batching(Batching::On);
    memory.up();
    let sender = sender.connect().await.unwrap();
    for number in 10..500_u64 {
        let _ = sender.send(Message::new(number.to_string())).await;
    }
    let mut at = 9;
    let mut missing = 0;
    while at < 499 {
        match next(&mut events).await {
            Read::Event(event) => {
                assert_eq!(event.sequence_number, at + 1);
                at = event.sequence_number;
            }
            Read::Gap(gap) => {
                assert_eq!((gap.partition, gap.first), (0, at + 1));
                missing += gap.last - gap.first + 1;
                at = gap.last;
            }
            other => panic!("{other:?}"),
        }
    }
    // And from a number that is gone.
    let late = memory.events().await.connect().await.unwrap();
    let mut events = late.events(Position::Sequence(0)).open().await.unwrap();
    let Read::Gap(gap) = next(&mut events).await else {
        panic!("no gap, {missing} missing before");
    };
    assert_eq!((gap.first, gap.last), (0, 399));
    assert_eq!(next_event(&mut events).await.sequence_number, 400);
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_a_partition_by_its_owner_level_is_told_to_who_had_it() {
    let memory = Memory::start(1).await;
    let one = memory.events().await.connect().await.unwrap();
    let two = memory.events().await.seed(7).connect().await.unwrap();
    let reading = |client: &EventsClient, level| {
        let reading = client.events(Position::Earliest).partitions([2]);
        reading.owner_level(level).open()
    };
    let mut first = reading(&one, 1).await.unwrap();
    // The endpoint attaches the link first, and refuses it then.
    let mut lower = reading(&two, 0).await.unwrap();
    let Read::Ended(refused) = next(&mut lower).await else {
        panic!("it reads beside its owner");
    };
    assert!(
        matches!(refused.why, EventsError::Stolen { partition: 2, .. }),
        "{}",
        refused.why
    );
    let again = one.events(Position::Earliest).partitions([2]).open().await;
    assert_eq!(again.unwrap_err(), EventsError::AlreadyOpen(2));
    let mut second = reading(&two, 2).await.unwrap();
    let Read::Ended(ended) = next(&mut first).await else {
        panic!("it was not told");
    };
    assert!(
        matches!(ended.why, EventsError::Stolen { partition: 2, .. }),
        "{}",
        ended.why
    );
    assert!(first.next().await.is_none());
    // The client itself goes on, and so does who took it.
    one.partition(2).await.unwrap();
    assert_silent(&mut second).await;
}

#[tokio::test(start_paused = true)]
async fn tokens_are_renewed_for_as_long_as_events_are_read() {
    let memory = Memory::start(1).await;
    let client = memory.events().await.connect().await.unwrap();
    let mut events = client.events(Position::Latest).open().await.unwrap();
    let attempts = memory.attempts().len();
    for hour in 0..10 {
        sleep(Duration::from_secs(60 * 60)).await;
        send(&memory, 0, hour..hour + 1).await;
        assert_eq!(number(&next_event(&mut events).await), hour);
    }
    // Those of the sender, and no other.
    assert_eq!(memory.attempts().len(), attempts + 10);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_stops_the_hub_at_the_buffer() {
    let memory = Memory::start(1).await;
    let client = memory.events().await.connect().await.unwrap();
    let mut events = client.events(Position::Latest).buffer(10).open().await.unwrap();
    send(&memory, 0, 0..1_000).await;
    sleep(Duration::from_secs(60)).await;
    let first = next_event(&mut events).await;
    assert_eq!(number(&first), 0);
    // With each event the hub says how far the partition was when it was sent. The first ones were sent at once, and what
    // is behind the buffer only now that there is room: after all had come.
    let mut lags = Vec::new();
    for _ in 1..1_000 {
        next_event(&mut events).await;
        lags.push(
            events
                .progress()
                .filter_map(|progress| progress.lag())
                .max()
                .unwrap(),
        );
    }
    assert!(lags[20..].windows(2).all(|two| two[1] == two[0] - 1), "{lags:?}");
    assert_eq!(*lags.last().unwrap(), 0);
}

/// The credit itself: what the hub has sent is counted in the stream of bytes.
#[tokio::test(start_paused = true)]
async fn the_hub_sends_no_more_of_a_partition_than_the_buffer_has_places_for() {
    const BUFFER: u32 = 10;
    const EACH: u64 = 50;
    let memory = Memory::start(4).await;
    let mut devices = Vec::new();
    for device in 0..4 {
        devices.push(memory.device(device).connect().await.unwrap());
    }
    let client = memory.events().await.connect().await.unwrap();
    let mut events = client
        .events(Position::Latest)
        .buffer(BUFFER)
        .open()
        .await
        .unwrap();
    let before = memory.transfers();
    for number in 0..EACH {
        for device in &devices {
            device.send(Message::new(number.to_string())).await.unwrap();
        }
    }
    sleep(Duration::from_secs(60)).await;
    let log = memory.hub().journal().snapshot();
    let partitions: std::collections::BTreeSet<_> = log.iter().map(|event| event.partition).collect();
    assert!(
        partitions.len() > 1,
        "one would not tell a partition's buffer from all"
    );
    let places = u64::from(BUFFER) * partitions.len() as u64;
    assert_eq!(memory.transfers() - before, places, "nothing was read yet");
    // Each that is taken makes room for another, and all come.
    for taken in 0..EACH * 4 {
        let sent = memory.transfers() - before;
        assert!(sent <= places + taken, "{sent} were sent, {taken} taken");
        next_event(&mut events).await;
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(memory.transfers() - before, EACH * 4);
    assert_silent(&mut events).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_or_may_not_read_says_so() {
    let memory = Memory::start(1).await;
    let client = memory.events().await.connect().await.unwrap();
    let mut events = client.events(Position::Latest).open().await.unwrap();
    client.close().await.unwrap();
    for _ in 0..4 {
        let Read::Ended(ended) = next(&mut events).await else {
            panic!("it goes on");
        };
        let EventsError::Ended { why, .. } = ended.why else {
            panic!("{}", ended.why);
        };
        assert_eq!(why, Interruption::Stopped);
    }
    assert!(events.next().await.is_none());

    let policy = "registryRead".parse().unwrap();
    let string = memory.hub().policy_connection_string(&policy).await.unwrap();
    let refused = EventsClient::with(&string)
        .unwrap()
        .plain_tcp_to_this_machine()
        .network(memory.clone())
        .connect()
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("unauthorized"), "{refused}");
    let device = ConnectionString::parse("HostName=localhost;DeviceId=d;SharedAccessKey=AAECAw==").unwrap();
    assert!(matches!(
        EventsClient::with(&device),
        Err(ConnectError::NotAServicesConnection)
    ));
}

/// Polls a future so many times, and drops it unless it is ready.
async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_of_a_reader_loses_no_event_and_leaves_nothing_behind() {
    let memory = Memory::start(1).await;
    send(&memory, 0, 0..100).await;
    for polls in 0..12 {
        let _ = drop_after(polls, memory.events().await.connect()).await;
    }
    sleep(Duration::from_secs(120)).await;
    assert_eq!(memory.open(), 0, "what is not made leaves nothing behind");
    let client = memory.events().await.connect().await.unwrap();
    for polls in 0..6 {
        let _ = drop_after(polls, client.partition(0)).await;
        let _ = drop_after(polls, client.events(Position::Earliest).open()).await;
        sleep(Duration::from_secs(10)).await;
    }
    // Each time what was opened is free again.
    for _ in 0..2 {
        let mut events = client.events(Position::Earliest).open().await.unwrap();
        let mut at = 0;
        while at < 100 {
            let read = match drop_after(1, events.next()).await {
                Some(read) => read.unwrap(),
                None => next(&mut events).await,
            };
            let Read::Event(event) = read else {
                panic!("{read:?}");
            };
            assert_eq!(event.sequence_number, at);
            at += 1;
        }
        drop(events);
        sleep(Duration::from_secs(10)).await;
    }
    let _ = drop_after(1, client.clone().close()).await;
    let _ = drop_after(1, client.close_within(Duration::from_secs(1))).await;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(memory.open(), 0, "a close that is polled once goes on by itself");
}

/// A hub on loopback with one device that has sent one message.
async fn hub() -> Emulator {
    let id: DeviceId = "dev".parse().unwrap();
    let hub = Emulator::builder()
        .amqps_port(0)
        .https_port(0)
        .device(id.clone(), None)
        .start()
        .await
        .unwrap();
    let string = hub.connection_string(&id.into()).await.unwrap();
    let device = iothub_amqp::DeviceClient::with(&string)
        .unwrap()
        .root_certificate(hub.root_certificate_der().to_vec().into())
        .connect()
        .await
        .unwrap();
    let message = Message::new("hello").property("colour", "blue");
    device.send(message).await.unwrap();
    device.close().await.unwrap();
    hub
}

async fn read_one(builder: EventsClientBuilder, hub: &Emulator) -> Event {
    let client = builder
        .root_certificate(hub.root_certificate_der().to_vec().into())
        .connect()
        .await
        .unwrap();
    let mut events = client.events(Position::Earliest).open().await.unwrap();
    let event = next_event(&mut events).await;
    client.close().await.unwrap();
    event
}

/// The engine answers a detach before the link hears of it: credit that the link gives until then must not go out, or the
/// hub ends the connection for it, and with it the links that fare well. It takes threads for the two to meet, and turns.
#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_group_that_is_not_there_is_told_for_every_partition_and_costs_no_connection() {
    let hub = hub().await;
    let policy = "service".parse().unwrap();
    let service = hub.policy_connection_string(&policy).await.unwrap();
    for turn in 0..25 {
        let client = EventsClient::with(&service)
            .unwrap()
            .consumer_group("nobody".parse().unwrap())
            .root_certificate(hub.root_certificate_der().to_vec().into())
            .connect()
            .await
            .unwrap();
        let mut told = Vec::new();
        match client.events(Position::Earliest).open().await {
            Ok(mut events) => {
                while let Some(read) = timeout(Duration::from_secs(10), events.next()).await.unwrap() {
                    let Read::Ended(ended) = read else {
                        panic!("{turn}: {read:?}");
                    };
                    told.push(ended.why);
                }
                assert_eq!(told.len(), 4, "{turn}: {told:?}");
            }
            Err(why) => told.push(why),
        }
        for why in told {
            let EventsError::Ended { why, .. } = why else {
                panic!("{turn}: {why}");
            };
            assert!(
                matches!(&why, Interruption::Refused(condition) if condition.name == "amqp:not-found"),
                "{turn}: {why}"
            );
        }
        let status = client.status().borrow().clone();
        assert!(
            matches!(status, Status::Connected { after: None }),
            "{turn}: {status:?}"
        );
        client.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_leads_to_the_events() {
    let hub = hub().await;
    let policy = "service".parse().unwrap();
    let service = hub.policy_connection_string(&policy).await.unwrap();
    let compatible = hub.events_connection_string(&policy).await.unwrap();
    let proxy = TestProxy::start(None).await;
    let proxies = || {
        let url = format!("http://127.0.0.1:{}", proxy.address.port());
        Proxies::all(Proxy::parse(&url).unwrap())
    };
    let https = hub.https_address().unwrap().port();
    let by_redirect = || EventsClient::with(&service).unwrap();
    let directly = || EventsClient::with(&compatible).unwrap();
    let ways = [
        by_redirect(),
        directly(),
        by_redirect()
            .plain(policy.clone())
            .hub("emulator".parse().unwrap()),
        by_redirect().transport(Transport::WebSocket).port(https),
        directly().transport(Transport::WebSocket).port(https),
        by_redirect().proxies(proxies()),
        by_redirect()
            .transport(Transport::WebSocket)
            .port(https)
            .proxies(proxies()),
    ];
    for (way, builder) in ways.into_iter().enumerate() {
        let event = read_one(builder, &hub).await;
        assert_eq!(event.body, b"hello", "way {way}");
        assert_eq!(event.device.as_deref(), Some("dev"));
        assert_eq!(event.source.as_deref(), Some("Telemetry"));
        assert_eq!(
            event.property("colour"),
            Some(&iothub_amqp::EventValue::Text("blue".to_owned()))
        );
    }
    // To the hub and to its event endpoint, each time.
    assert_eq!(proxy.asked().len(), 4);
    assert_eq!(HubHost::parse("localhost").unwrap(), *service.host());
    hub.stop().await;
}
