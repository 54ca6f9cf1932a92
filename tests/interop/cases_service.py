"""What back ends do over AMQP: Microsoft's Node service SDK, and Qpid Proton where the SDK does not show it."""

from datetime import datetime, timedelta, timezone

import sas
from cases import case, cases_of
from device_hub import need_the_sdks_ports
from events_reader import hub_with_events, new_key
from harness import HERE, HOST, HUB, expect, node_environment
from proton_device import ProtonDevice
from told import Told

C2D = "/devices/valve/messages/devicebound"
UNAUTHORIZED = "amqp:unauthorized-access"


class NodeService(Told):
    def __init__(self, world, hub, key, policy="service", transport="tcp"):
        if transport == "ws":
            need_the_sdks_ports(hub)
        process = world.start(
            f"service-{transport}",
            ["node", HERE / "peers" / "hub_service.js"],
            told=True,
            env=node_environment(hub.ca, True),
        )
        string = f"HostName={hub.host()};SharedAccessKeyName={policy};SharedAccessKey={key}"
        super().__init__(process, {"connection_string": string, "transport": transport})

    def fates(self, count):
        """So many records of feedback, by message id."""
        fates = {}
        while len(fates) < count:
            said = self.saw("feedback")
            expect("what settling it said", said["error"], None)
            fates |= {record["originalMessageId"]: record for record in said["records"]}
        return fates


def service_of(world, transport="tcp", **setup):
    hub, key = hub_with_events(world, **setup)
    service = NodeService(world, hub, key, transport=transport)
    service.do("open")
    return hub, service


def send(service, name, to="valve", **more):
    service.do("send", to=to, message={"body": f"order {name}", "messageId": name, "ack": "full"} | more)


def device_that_settles(world, hub, outcomes):
    """The device receives as many, and settles each as it is said."""
    proton = ProtonDevice(world, hub)
    proton.signs_in(hub, "valve")
    proton.attach("c2d", "receiver", C2D, credit=len(outcomes))
    for outcome in outcomes:
        got = proton.saw("message", link="c2d")
        proton.do("settle", deliveries=[got["delivery"]], outcome=outcome)
    return proton


def service_hears_what_became_of_its_messages(world, transport):
    hub, service = service_of(world, transport)
    service.do("feedback", settle=["complete"])
    send(service, "done")
    send(service, "no")
    device_that_settles(world, hub, ["accepted", "rejected"])
    wait_until_settled(hub)
    hub.do("turn_clock", by_s=15)
    fates = service.fates(2)
    expect("the fates", {name: fate["statusCode"] for name, fate in fates.items()}, {"done": "Success", "no": "Rejected"})
    expect("the device", fates["done"]["deviceId"], "valve")
    expect("whether it has a generation", fates["done"]["deviceGenerationId"].isdigit(), True)
    datetime.fromisoformat(fates["done"]["enqueuedTimeUtc"].replace("Z", "+00:00"))


cases_of(service_hears_what_became_of_its_messages, "tcp", "ws")


def wait_until_settled(hub):
    for _ in range(100):
        if hub.do("waiting", whom="valve")["waiting"] == 0:
            return
    expect("messages that wait", hub.do("waiting", whom="valve")["waiting"], 0)


@case
def service_sends_with_all_its_properties(world):
    hub, service = service_of(world)
    send(service, "all", correlationId="c-1", contentType="application/json", contentEncoding="utf-8", properties={"own": "value"})
    proton = ProtonDevice(world, hub)
    proton.signs_in(hub, "valve")
    proton.attach("c2d", "receiver", C2D, credit=1)
    got = proton.saw("message", link="c2d")
    expect("body and id", (got["body"], got["id"]), ("order all", "all"))
    expect("correlation-id and to", (got["correlation_id"], got["to"]), ("c-1", C2D))
    expect("content-type", got["content_type"], "application/json")
    expect("properties", got["properties"], {"own": "value", "iothub-ack": "full"})


@case
def service_hears_that_a_message_has_expired(world):
    hub, service = service_of(world)
    service.do("feedback", settle=["complete"])
    soon = datetime.now(timezone.utc) + timedelta(seconds=60)
    send(service, "late", expiryTimeUtc=int(soon.timestamp() * 1000))
    hub.do("turn_clock", by_s=61)
    hub.do("turn_clock", by_s=15)
    expect("the fate", service.fates(1)["late"]["statusCode"], "Expired")


@case
def service_hears_that_a_message_was_delivered_too_often(world):
    hub, service = service_of(world, max_delivery_count=2)
    service.do("feedback", settle=["complete"])
    send(service, "again")
    device_that_settles(world, hub, ["released", "released"])
    wait_until_settled(hub)
    hub.do("turn_clock", by_s=15)
    expect("the fate", service.fates(1)["again"]["statusCode"], "DeliveryCountExceeded")


@case
def service_hears_nothing_it_did_not_ask_for(world):
    """Feedback of four kinds of messages, each of which the device completes and rejects."""
    hub, service = service_of(world)
    service.do("feedback", settle=["complete"])
    acks = ["none", "positive", "negative", "full"]
    for ack in acks:
        send(service, f"{ack}-yes", ack=ack)
        send(service, f"{ack}-no", ack=ack)
    device_that_settles(world, hub, ["accepted", "rejected"] * 4)
    wait_until_settled(hub)
    hub.do("turn_clock", by_s=15)
    expect("what is told", sorted(service.fates(4)), ["full-no", "full-yes", "negative-no", "positive-yes"])


@case
def service_sends_to_a_device_that_is_not_there(world):
    hub, service = service_of(world)
    answer = service.tried("send", to="nobody", message={"body": "x"})
    expect("the error", answer["error"], "DeviceNotFoundError")


@case
def service_sends_to_a_queue_that_is_full(world):
    hub, service = service_of(world)
    for number in range(50):
        send(service, f"o-{number}")
    answer = service.tried("send", to="valve", message={"body": "one more"})
    expect("the error", answer["error"], "DeviceMaximumQueueDepthExceededError")


@case
def service_sends_what_is_too_large(world):
    hub, service = service_of(world)
    answer = service.tried("send", to="valve", message={"body": "x" * 70_000})
    expect("the error", answer["error"], "MessageTooLargeError")


@case
def service_abandons_feedback_and_gets_it_again(world):
    hub, service = service_of(world)
    service.do("feedback", settle=["abandon", "complete"])
    send(service, "done")
    device_that_settles(world, hub, ["accepted"])
    wait_until_settled(hub)
    hub.do("turn_clock", by_s=15)
    for word in ("abandon", "complete"):
        said = service.saw("feedback")
        expect("word and error", (said["word"], said["error"]), (word, None))
        expect("the record", said["records"][0]["originalMessageId"], "done")


@case
def service_gets_64_records_at_once(world):
    hub, service = service_of(world)
    hub.device("pump")
    for whom in ("valve", "pump"):
        for number in range(35):
            send(service, f"{whom}-{number}", to=whom)
    service.do("feedback", settle=["complete"])
    for whom in ("valve", "pump"):
        hub.do("purge", whom=whom)
    first = service.saw("feedback")
    expect("records at once", len(first["records"]), 64)
    expect("their fate", {record["statusCode"] for record in first["records"]}, {"Purged"})
    hub.do("turn_clock", by_s=15)
    expect("the rest", len(service.saw("feedback")["records"]), 6)


@case
def service_receives_no_news_of_files(world):
    _, service = service_of(world)
    service.do("files")
    service.do("close")
    expect("what was seen", service.seen, [])


@case
def service_is_refused_with_a_policy_that_may_not(world):
    hub, key = hub_with_events(world, policy="registryRead")
    service = NodeService(world, hub, key, policy="registryRead")
    service.do("open")
    answer = service.tried("send", to="valve", message={"body": "x"})
    expect("the error", answer["error"], "UnauthorizedError")


@case
def service_is_refused_with_a_wrong_key(world):
    hub, _ = hub_with_events(world)
    answer = NodeService(world, hub, new_key()).tried("open")
    # The SDK has no word of its own for a token that `$cbs` refuses.
    expect("the error", (answer["error"], answer["description"]), ("Error", "AMQP Transport: Could not connect"))
    refusals = [what for what in hub.do("activity")["activity"] if "was refused" in what]
    expect("what the hub saw", any("signature was made with another key" in what for what in refusals), True)


def policy_by_plain(world, hub, key, policy="service"):
    """As the C service SDK comes: the policy's token as a password."""
    token = sas.sign_resource(key, HOST, policy=policy)
    return ProtonDevice(world, hub, mech="PLAIN", user=f"{policy}@sas.root.{HUB}", password=token)


@case
def proton_sends_to_a_module_as_the_service(world):
    hub, key = hub_with_events(world)
    hub.device("valve/motor")
    proton = policy_by_plain(world, hub, key)
    proton.attach("commands", "sender", "amqps://localhost:5671/messages/deviceBound")
    for to in ("/devices/valve/modules/motor/messages/devicebound", "/devices/valve/modules/motor/messages/deviceBound"):
        proton.send("commands", body="on", to=to)
    expect("messages that wait", hub.do("waiting", whom="valve/motor")["waiting"], 2)
    to = "/devices/valve/modules/nobody/messages/devicebound"
    proton.send("commands", outcome="rejected", condition="amqp:not-found", body="on", to=to)
    proton.send("commands", outcome="rejected", condition="com.microsoft:argument-error", body="on")


@case
def proton_follows_the_redirect_to_the_events(world):
    """First hop as older monitors come, by PLAIN; second hop where the redirect says, by the policy's name and key."""
    hub, key = hub_with_events(world, 3)
    partition = str(next(number for number in range(4) if _count(world, hub, key, number) == 3))
    asked = f"ConsumerGroups/$Default/Partitions/{partition}"
    first = policy_by_plain(world, hub, key)
    first.attach("events", "receiver", f"amqps://{HOST}/messages/events/{asked}")
    said = first.saw("detach", link="events")
    expect("the condition", (said["condition"], said["description"]), ("amqp:link:redirect", None))
    port = hub.ready["amqps_port"]
    wanted = {
        "hostname": HOST,
        "network-host": HOST,
        "port": {"int": port},
        "address": f"amqps://{HOST}:{port}/{HUB}/{asked}",
    }
    expect("where to", said["info"], wanted)
    second = ProtonDevice(world, hub, mech="PLAIN", user="service", password=key)
    second.attach("events", "receiver", said["info"]["address"], credit=10)
    bodies = [second.saw("message", link="events")["body"] for _ in range(3)]
    expect("the bodies", bodies, ["m0", "m1", "m2"])


def _count(world, hub, key, partition):
    """How many events a partition has, as `$management` says."""
    proton = ProtonDevice(world, hub, mech="PLAIN", user="service", password=key)
    proton.attach("ask", "sender", "$management")
    proton.attach("answers", "receiver", "$management", credit=10)
    about = {"operation": "READ", "type": "com.microsoft:partition", "name": HUB, "partition": str(partition)}
    proton.do("send", link="ask", message={"id": "1", "value": None, "properties": about})
    answer = proton.saw("message", link="answers")
    expect("status", (answer["properties"]["status-code"], answer["correlation_id"]), ({"int": 200}, "1"))
    # The map as Python prints it.
    proton.do("close")
    return int(answer["body"].split("'last_enqueued_sequence_number': ")[1].split(",")[0].split("}")[0]) + 1


@case
def proton_reads_events_by_a_token_at_cbs_and_both_descriptors(world):
    """The token is signed with the key's text for the event hub; the selector is described by symbol, then by number."""
    hub, key = hub_with_events(world, 3, partitions=1)
    address = f"{HUB}/ConsumerGroups/$Default/Partitions/0"
    proton = ProtonDevice(world, hub)
    proton.open_cbs()
    audience = f"sb://{HOST}/{HUB}"
    proton.put_token(sas.sign_by_text(key, audience, "service"), audience)
    for link, descriptor in (
        ("symbol", {"symbol": "apache.org:selector-filter:string"}),
        ("number", {"ulong": 0x468C00000004}),
    ):
        selector = [descriptor, "amqp.annotation.x-opt-sequence-number > '0'"]
        proton.attach(link, "receiver", address, selector=selector, credit=10)
        got = [proton.saw("message", link=link) for _ in range(2)]
        expect(f"the bodies by {link}", [message["body"] for message in got], ["m1", "m2"])
        annotations = got[0]["annotations"]
        expect("x-opt-sequence-number", annotations["x-opt-sequence-number"], {"long": 1})
        expect("type of x-opt-offset", type(annotations["x-opt-offset"]), str)


@case
def proton_takes_a_partition_over_by_its_epoch(world):
    hub, key = hub_with_events(world, 1, partitions=1)
    address = f"{HUB}/ConsumerGroups/$Default/Partitions/0"
    proton = ProtonDevice(world, hub, mech="PLAIN", user="service", password=key)
    epoch = lambda number: {"com.microsoft:epoch": {"long": number}}
    proton.attach("shared", "receiver", address)
    proton.attach("five", "receiver", address, properties=epoch(5))
    expect("what the one without hears", proton.saw("detach", link="shared")["condition"], "amqp:link:stolen")
    proton.refused("four", "receiver", address, "amqp:link:stolen", properties=epoch(4))
    proton.attach("six", "receiver", address, properties=epoch(6), credit=1)
    expect("what the lower one hears", proton.saw("detach", link="five")["condition"], "amqp:link:stolen")
    expect("the body", proton.saw("message", link="six")["body"], "m0")


@case
def proton_is_refused_the_events_with_a_policy_that_may_not(world):
    hub, key = hub_with_events(world, policy="device")
    proton = policy_by_plain(world, hub, key, policy="device")
    for number, address in enumerate(
        ["/messages/events/$management", f"{HUB}/ConsumerGroups/$Default/Partitions/0", "/messages/serviceBound/feedback"]
    ):
        proton.refused(f"l{number}", "receiver", address, UNAUTHORIZED)
    proton.refused("sender", "sender", "/messages/devicebound", UNAUTHORIZED)
