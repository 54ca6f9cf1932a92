"""Events read by Microsoft's Event Hubs SDK for Python, from the built-in event endpoint."""

from datetime import datetime, timezone

from cases import case, case_in_turn
from device_hub import need_the_sdks_ports
from events_reader import EventsReader, hub_with_events, new_key, send
from harness import HUB, expect

M = [f"m{number}" for number in range(10)]
STOLEN = "link:stolen"


def read(world, wanted, count=10, transport="tcp", **more):
    """Ten events in the partition of one device; a reader gets those that are wanted."""
    hub, key = hub_with_events(world)
    if transport == "ws":
        need_the_sdks_ports(hub)
    partition = send(world, hub, M[:count])
    reader = EventsReader(world, hub, key, transport=transport)
    position = more.pop("position", "-1")
    if callable(position):
        reader.do("read", reader="all", partition=partition)
        position = position(reader.events("all", count))
        reader.do("stop", reader="all")
        reader.seen.clear()
    reader.reads(wanted, partition=partition, position=position, **more)
    return reader


@case
def eventhub_reads_the_properties_of_the_hub(world):
    hub, key = hub_with_events(world)
    reader = EventsReader(world, hub, key)
    about = reader.do("hub")
    expect("name and partitions", (about["name"], about["partitions"]), (HUB, ["0", "1", "2", "3"]))
    age = datetime.now(timezone.utc) - datetime.fromisoformat(about["created"])
    expect("whether it was made just now", 0 <= age.total_seconds() < 100, True)


@case_in_turn
def eventhub_reads_with_the_connection_string_that_the_emulator_prints(world):
    about = EventsReader.of_program_hub(world).do("hub")
    expect("name and partitions", (about["name"], about["partitions"]), (HUB, ["0", "1", "2", "3"]))


@case
def eventhub_reads_the_properties_of_each_partition(world):
    hub, key = hub_with_events(world)
    reader = EventsReader(world, hub, key)
    partition = send(world, hub, M)
    for number in "0123":
        about = reader.do("partition", partition=number)
        expect("name and id", (about["name"], about["id"]), (HUB, number))
        if number == partition:
            expect("the numbers", (about["first"], about["last"], about["empty"]), (0, 9, False))
        else:
            wanted = (0, -1, True, "-1", "0001-01-01T00:00:00+00:00")
            said = tuple(about[name] for name in ("first", "last", "empty", "offset", "time"))
            expect("of an empty partition", said, wanted)


@case
def eventhub_asks_for_a_partition_that_is_not_there(world):
    hub, key = hub_with_events(world)
    answer = EventsReader(world, hub, key).tried("partition", partition="4")
    expect("whether it failed", answer["error"] is not None, True)
    # The SDK looks for the description under another name than it has, and finds none.
    expect("whether it says so", "Status code: 400" in answer["words"], True)


@case
def eventhub_reads_as_many_partitions_as_the_hub_has(world):
    hub, key = hub_with_events(world, partitions=7)
    expect("partitions", len(EventsReader(world, hub, key).do("hub")["partitions"]), 7)


@case
def eventhub_reads_from_the_start(world):
    read(world, M)


@case
def eventhub_reads_the_latest(world):
    hub, key = hub_with_events(world)
    partition = send(world, hub, M)
    reader = EventsReader(world, hub, key)
    reader.do("read", reader="one", partition=partition, position="@latest")
    reader.saw("silence", reader="one")
    send(world, hub, ["new"])
    expect("the body", reader.events("one", 1)[0]["body"], "new")
    expect("what else came", [fact for fact in reader.seen if fact["saw"] == "event"], [])


@case
def eventhub_reads_behind_an_offset(world):
    read(world, M[5:], position=lambda events: events[4]["offset"])


@case
def eventhub_reads_from_an_offset_on(world):
    read(world, M[4:], position=lambda events: events[4]["offset"], inclusive=True)


@case
def eventhub_reads_behind_a_sequence_number(world):
    read(world, M[4:], position=3)


@case
def eventhub_reads_from_a_sequence_number_on(world):
    read(world, M[3:], position=3, inclusive=True)


@case
def eventhub_reads_behind_a_time(world):
    """The hub's clock is turned between two halves, so that their times are far apart."""
    hub, key = hub_with_events(world)
    partition = send(world, hub, M[:5])
    hub.do("turn_clock", by_s=60)
    send(world, hub, M[5:])
    reader = EventsReader(world, hub, key)
    reader.do("read", reader="all", partition=partition)
    events = reader.events("all", 10)
    reader.do("stop", reader="all")
    reader.seen.clear()
    between = (events[4]["time_ms"] + events[5]["time_ms"]) // 2
    reader.reads(M[5:], partition=partition, position={"time_ms": between})


@case
def eventhub_reads_from_a_time_on(world):
    read(world, M, position=lambda events: {"time_ms": events[0]["time_ms"]}, inclusive=True)


@case
def eventhub_reads_an_event_as_it_was_sent(world):
    reader = EventsReader(*_sent_one(world))
    reader.do("read", reader="one")
    (event,) = reader.events("one", 1)
    expect("body and its kind", (event["body"], event["body_type"]), ("m0", "DATA"))
    expect("application properties", event["properties"], {"n": "0"})
    system = event["system"]
    expect("message-id", system["message-id"], "id-0")
    expect("iothub-connection-device-id", system["iothub-connection-device-id"], "valve")
    method = '{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}'
    expect("iothub-connection-auth-method", system["iothub-connection-auth-method"], method)
    expect("iothub-message-source", system["iothub-message-source"], "Telemetry")
    expect("whether it has a generation", system["iothub-connection-auth-generation-id"].isdigit(), True)
    expect("numbers", (event["sequence_number"], event["offset"]), (0, "0"))
    expect("both times", system["iothub-enqueuedtime"], system["x-opt-enqueued-time"])


def _sent_one(world):
    hub, key = hub_with_events(world, 1)
    return world, hub, key


@case
def eventhub_is_told_how_far_the_partition_has_come(world):
    hub, key = hub_with_events(world)
    partition = send(world, hub, M)
    reader = EventsReader(world, hub, key)
    about = reader.do("partition", partition=partition)
    reader.do("read", reader="one", partition=partition, metric=True)
    metric = reader.saw("metric", reader="one")
    expect("number and offset", (metric["sequence_number"], metric["offset"]), (9, about["offset"]))
    expect("when the last one came", metric["times"][0], about["time"])


@case
def eventhub_takes_a_partition_over_by_a_higher_epoch(world):
    hub, key = hub_with_events(world)
    partition = send(world, hub, M[:1])
    older, newer = EventsReader(world, hub, key), EventsReader(world, hub, key)
    older.do("read", reader="one", partition=partition, epoch=3)
    older.events("one", 1)
    newer.do("read", reader="one", partition=partition, epoch=4)
    newer.events("one", 1)
    older.is_in_trouble("one", STOLEN, "with epoch '3' is getting disconnected")


@case
def eventhub_is_refused_with_a_lower_epoch(world):
    hub, key = hub_with_events(world)
    partition = send(world, hub, M[:1])
    first, second = EventsReader(world, hub, key), EventsReader(world, hub, key)
    first.do("read", reader="one", partition=partition, epoch=3)
    first.events("one", 1)
    second.refused(STOLEN, "higher epoch '3' already exists", partition=partition, epoch=2)


@case
def eventhub_is_refused_without_an_epoch_beside_one_that_has_one(world):
    hub, key = hub_with_events(world)
    partition = send(world, hub, M[:1])
    first, second = EventsReader(world, hub, key), EventsReader(world, hub, key)
    first.do("read", reader="one", partition=partition, epoch=0)
    first.events("one", 1)
    second.refused(STOLEN, "non-epoch receiver is not allowed", partition=partition)


@case
def eventhub_is_refused_as_the_sixth_reader(world):
    hub, key = hub_with_events(world)
    partition = send(world, hub, M[:1])
    reader = EventsReader(world, hub, key)
    for number in range(5):
        reader.do("read", reader=f"r{number}", partition=partition)
        reader.events(f"r{number}", 1)
    sixth = EventsReader(world, hub, key)
    sixth.refused("resource-limit-exceeded", "maximum number of allowed receivers", partition=partition)


@case
def eventhub_reads_in_two_consumer_groups(world):
    hub, key = hub_with_events(world, consumer_groups=["second"])
    partition = send(world, hub, M)
    reader = EventsReader(world, hub, key)
    for group, epoch in (("$Default", 1), ("second", 1)):
        reader.do("read", reader=group, partition=partition, group=group, epoch=epoch)
        expect(f"the bodies in {group}", [event["body"] for event in reader.events(group, 10)], M)
    expect("what went wrong", [fact for fact in reader.seen if fact["saw"] == "trouble"], [])


@case
def eventhub_is_refused_in_a_group_that_is_not_there(world):
    hub, key = hub_with_events(world, 1)
    EventsReader(world, hub, key).refused("not-found", "could not be found", partition="0", group="nobody")


@case
def eventhub_is_refused_behind_what_the_partition_has(world):
    """A checkpoint of a hub that is no more."""
    hub, key = hub_with_events(world)
    partition = send(world, hub, M[:1])
    reader = EventsReader(world, hub, key)
    reader.refused("argument-error", "The last offset in the system", partition=partition, position="1000000")


@case
def eventhub_reads_over_websocket(world):
    read(world, M, transport="ws")


@case
def eventhub_reads_properties_over_websocket(world):
    hub, key = hub_with_events(world)
    need_the_sdks_ports(hub)
    reader = EventsReader(world, hub, key, transport="ws")
    expect("partitions", reader.do("hub")["partitions"], ["0", "1", "2", "3"])


@case
def eventhub_reads_by_the_hubs_own_name(world):
    """The connection string names the hub as a real one's would; the address is dialled."""
    hub, key = hub_with_events(world, 1)
    reader = EventsReader(world, hub, key, host=f"{HUB}.azure-devices.net")
    expect("the name", reader.do("hub")["name"], HUB)


@case
def eventhub_is_refused_with_a_wrong_key(world):
    hub, _ = hub_with_events(world)
    answer = EventsReader(world, hub, new_key()).tried("hub")
    expect("the error", answer["error"], "AuthenticationError")


@case
def eventhub_is_refused_with_a_policy_that_may_not(world):
    hub, key = hub_with_events(world, policy="registryRead")
    answer = EventsReader(world, hub, key, policy="registryRead").tried("hub")
    expect("whether it failed", answer["error"] is not None, True)


@case
def eventhub_reads_all_partitions_each_event_once_and_in_order(world):
    """Eight devices of a hundred events each, read over all partitions at once."""
    hub, key = hub_with_events(world)
    devices = [hub.device(f"sensor-{number}") for number in range(8)]
    for whom in devices:
        send(world, hub, [f"{whom} {number}" for number in range(100)], whom)
    reader = EventsReader(world, hub, key)
    reader.do("read", reader="all")
    events = reader.events("all", 800)
    expect("partitions that have some", len({event["partition"] for event in events}) > 1, True)
    for whom in devices:
        own = [event for event in events if event["body"].startswith(f"{whom} ")]
        expect(f"the events of {whom}", [event["body"] for event in own], [f"{whom} {number}" for number in range(100)])
        expect(f"partitions of {whom}", len({event["partition"] for event in own}), 1)
    for partition in {event["partition"] for event in events}:
        numbers = [event["sequence_number"] for event in events if event["partition"] == partition]
        expect(f"numbers in partition {partition}", numbers, list(range(len(numbers))))


@case
def eventhub_reads_over_a_thousand_of_a_partition_and_settles_none(world):
    """The SDK asks to settle what it gets, and then says nothing of it."""
    hub, key = hub_with_events(world)
    bodies = [str(number) for number in range(1500)]
    partition = send(world, hub, bodies)
    reader = EventsReader(world, hub, key)
    reader.do("read", reader="one", partition=partition)
    expect("the bodies in order", [event["body"] for event in reader.events("one", len(bodies))], bodies)
