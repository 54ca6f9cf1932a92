"""Cloud-to-device messages as Qpid Proton gets and settles them, by links made by hand."""

import re

from cases import case
from harness import expect
from proton_device import ProtonDevice, signed_in

C2D = "/devices/valve/messages/devicebound"


@case
def proton_reads_a_cloud_message_to_the_byte(world):
    hub, proton, (got,) = receiving(world, 1)
    expect("the body", (got["section"], got["body"]), ("data", "order 0"))
    expect("message-id and to", (got["id"], got["to"]), ("o-0", "/devices/valve/messages/devicebound"))
    expect("application properties", got["properties"], {"n": "0", "iothub-ack": "full"})
    expect("settled by the hub", got["settled"], False)
    annotations = got["annotations"]
    expect("iothub-deliverycount", annotations["iothub-deliverycount"], {"ubyte": 0})
    expect("type of x-opt-sequence-number", list(annotations["x-opt-sequence-number"]), ["ulong"])
    expect("type of iothub-enqueuedtime", list(annotations["iothub-enqueuedtime"]), ["timestamp"])
    # C# makes a Guid of the tag: 16 bytes, and no others.
    expect("bytes of the delivery-tag", tag_sizes(proton.frames()), [16])
    proton.do("settle", deliveries=[got["delivery"]], outcome="accepted")
    feedback_is(hub, ("o-0", "Success"))


@case
def proton_settles_each_way(world):
    """Accepted, rejected, released and modified, each on a message of its own; the last two come again."""
    hub, proton, got = receiving(world, 4)
    for message, outcome in zip(got, ["accepted", "rejected", "released", "modified"]):
        proton.do("settle", deliveries=[message["delivery"]], outcome=outcome)
    feedback_is(hub, ("o-0", "Success"), ("o-1", "Rejected"))
    proton.do("flow", link="c2d", credit=2)
    again = sorted((proton.saw("message", link="c2d") for _ in range(2)), key=lambda message: message["id"])
    expect("what comes again", [message["id"] for message in again], ["o-2", "o-3"])
    counts = [message["annotations"]["iothub-deliverycount"] for message in again]
    expect("how often it had come", counts, [{"ubyte": 1}, {"ubyte": 1}])
    proton.do("settle", deliveries=[message["delivery"] for message in again], outcome="accepted")
    feedback_is(hub, ("o-2", "Success"), ("o-3", "Success"))


@case
def proton_settles_second_as_csharp_does(world):
    """With rcv-settle-mode second the device's disposition is unsettled, and the hub's settled one is waited for."""
    hub, proton = signed_in(world)
    hub.do("send", whom="valve", message={"body": "once", "id": "o-0", "ack": "full"})
    proton.attach("c2d", "receiver", C2D, rcv=1, credit=50)
    got = proton.saw("message", link="c2d")
    proton.do("settle", deliveries=[got["delivery"]], outcome="accepted", settled=False)
    said = proton.saw("settled", delivery=got["delivery"])
    expect("what the hub made of it", (said["outcome"], said["settled"]), ("accepted", True))
    feedback_is(hub, ("o-0", "Success"))


@case
def proton_settles_after_the_lock_is_lost(world):
    """The message is somebody's again; the late word is answered with what C# takes for a lost lock."""
    hub, proton = signed_in(world)
    hub.do("send", whom="valve", message={"body": "slow", "id": "o-0"})
    proton.attach("c2d", "receiver", C2D, rcv=1, credit=50)
    got = proton.saw("message", link="c2d")
    hub.do("turn_clock", by_s=61)
    proton.do("settle", deliveries=[got["delivery"]], outcome="accepted", settled=False)
    said = proton.saw("settled", delivery=got["delivery"])
    expect("what the hub made of it", (said["outcome"], said["condition"]), ("rejected", "amqp:not-found"))
    again = proton.saw("message", link="c2d")
    expect("what comes again", (again["id"], again["annotations"]["iothub-deliverycount"]), ("o-0", {"ubyte": 1}))


@case
def proton_settles_a_range_by_one_disposition(world):
    hub, proton, got = receiving(world, 5)
    proton.do("settle", deliveries=[message["delivery"] for message in got], outcome="accepted")
    feedback_is(hub, *((f"o-{number}", "Success") for number in range(5)))
    ranges = re.findall(r"-> @disposition\(21\) \[role=true, first=0x([0-9a-f]+), last=0x([0-9a-f]+)", proton.frames())
    first, last = ranges[-1]
    expect("deliveries in the disposition", int(last, 16) - int(first, 16), 4)


@case
def proton_lets_go_of_a_command_by_closing_its_link(world):
    """What was not settled is delivered again over the next link."""
    hub, proton, (got,) = receiving(world, 1)
    proton.do("detach", link="c2d")
    proton.saw("detach", link="c2d")
    proton.attach("again", "receiver", C2D, credit=1)
    again = proton.saw("message", link="again")
    expect("what comes again", (again["id"], again["body"]), (got["id"], got["body"]))
    proton.do("settle", deliveries=[again["delivery"]], outcome="accepted")
    feedback_is(hub, ("o-0", "Success"))


@case
def proton_releases_a_command_too_often(world):
    hub, proton, (got,) = receiving(world, 1, max_delivery_count=2)
    proton.do("flow", link="c2d", credit=5)
    proton.do("settle", deliveries=[got["delivery"]], outcome="released")
    again = proton.saw("message", link="c2d")
    proton.do("settle", deliveries=[again["delivery"]], outcome="released")
    feedback_is(hub, ("o-0", "DeliveryCountExceeded"))
    expect("what still waits", hub.do("waiting", whom="valve")["waiting"], 0)


@case
def proton_comes_too_late_for_a_command(world):
    hub, proton = signed_in(world)
    hub.do("send", whom="valve", message={"body": "soon", "id": "o-0", "ack": "negative", "ttl_s": 60})
    hub.do("turn_clock", by_s=61)
    feedback_is(hub, ("o-0", "Expired"))
    hub.do("send", whom="valve", message={"body": "now", "id": "o-1"})
    proton.attach("c2d", "receiver", C2D, credit=5)
    expect("what comes", proton.saw("message", link="c2d")["id"], "o-1")


@case
def proton_grants_no_more_credit_than_it_wants(world):
    """One command is delivered, and the others wait for the next credit."""
    hub, proton, (first,) = receiving(world, 1)
    for number in (1, 2):
        hub.do("send", whom="valve", message={"body": "later", "id": f"o-{number}"})
    expect("what waits, with what is out", hub.do("waiting", whom="valve")["waiting"], 3)
    expect("what has come", [fact for fact in proton.seen if fact["saw"] == "message"], [])
    proton.do("flow", link="c2d", credit=2)
    expect("what comes then", [proton.saw("message", link="c2d")["id"] for _ in range(2)], ["o-1", "o-2"])


@case
def proton_opens_a_second_receiver_of_commands(world):
    """There is one at a time: the newer one is the one that gets them."""
    hub, first = signed_in(world)
    first.attach("c2d", "receiver", C2D, credit=5)
    second = ProtonDevice(world, hub)
    second.signs_in(hub, "valve")
    second.attach("c2d", "receiver", C2D, credit=5)
    expect("why the older is gone", first.saw("detach", link="c2d")["condition"], "amqp:link:stolen")
    hub.do("send", whom="valve", message={"body": "for the newer", "id": "o-0"})
    expect("who gets it", second.saw("message", link="c2d")["id"], "o-0")


def receiving(world, count, **setup):
    """A device with `count` cloud-to-device messages that it has not settled yet."""
    hub, proton = signed_in(world, **setup)
    for number in range(count):
        message = {"body": f"order {number}", "id": f"o-{number}", "properties": {"n": str(number)}, "ack": "full"}
        hub.do("send", whom="valve", message=message)
    proton.attach("c2d", "receiver", C2D, credit=count)
    return hub, proton, [proton.saw("message", link="c2d") for _ in range(count)]


def feedback_is(hub, *wanted):
    seen = [hub.do("feedback", within_s=10)["feedback"] for _ in wanted]
    expect("feedback", [(record["id"], record["fate"]) for record in seen], list(wanted))


def tag_sizes(frames):
    """How many bytes the tags of transfers have that came unsettled: `delivery-tag=b"\\x12…"`."""
    unsettled = r'<- @transfer\(20\) \[[^\n]*?delivery-tag=b"((?:[^"\\]|\\.)*)"[^\n]*?settled=false'
    return [len(re.sub(r"\\x[0-9a-f]{2}|\\.", "?", tag)) for tag in re.findall(unsettled, frames)]
