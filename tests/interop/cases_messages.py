"""Telemetry by hand: addresses, bodies, ids, sizes and frames."""

import re

from cases import case
from device_hub import DeviceHub
from harness import HOST, expect
from proton_device import ProtonDevice, events_of, signed_in

UUID = {"uuid": "12345678-9abc-4ef0-9234-56789abcdef0"}
C2D = "/devices/valve/messages/devicebound"


@case
def proton_writes_addresses_in_every_form(world):
    hub, proton = signed_in(world)
    for number, address in enumerate(
        [
            "devices/valve/messages/events",
            f"amqps://{HOST}/devices/valve/messages/events",
            f"amqps://{HOST}:5671/devices/valve/Messages/Events",
        ]
    ):
        proton.attach(f"l-{number}", "sender", address)
        proton.send(f"l-{number}", body=f"{number}")
        expect("what came", hub.event()["body"], {"data": f"{number}"})


@case
def proton_sends_each_kind_of_body_and_id(world):
    hub, proton = signed_in(world)
    proton.attach("d2c", "sender", events_of("valve"))
    for message_id in ("text", {"ulong": 7}, UUID):
        proton.send("d2c", id=message_id, correlation_id=message_id, body="b", properties={"k": "v"})
        system = hub.event()["system"]
        expect("the ids", (system["message-id"], system["correlation-id"]), (message_id, message_id))
    proton.send("d2c", value="a string", properties={"n": {"int": 5}, "t": True})
    event = hub.event()
    expect("an amqp-value", event["body"], {"value": "a string"})
    expect("typed properties", event["properties"], {"n": {"int": 5}, "t": True})
    component = {"dt-subject": "thermostat1", "iothub-interface-id": "urn:azureiot:Security:SecurityAgent:1"}
    proton.send("d2c", body="b", annotations=component)
    expect("annotations", hub.event()["annotations"], component)


@case
def proton_sends_a_sequence(world):
    hub, proton = signed_in(world)
    proton.attach("d2c", "sender", events_of("valve"))
    proton.send("d2c", sequence=["one", {"int": 2}])
    expect("the body", hub.event()["body"], {"sequence": [["one", {"int": 2}]]})


@case
def proton_sends_more_than_a_message_may_be(world):
    hub, proton = signed_in(world)
    proton.attach("d2c", "sender", events_of("valve"))
    too_large = "amqp:link:message-size-exceeded"
    proton.send("d2c", outcome="rejected", condition=too_large, body="x" * (256 * 1024 + 1))
    proton.send("d2c", body="after")
    hub.event()
    proton.do("send", link="d2c", message={"body": "x" * (1024 * 1024 + 1)})
    expect("the condition", proton.saw("detach", link="d2c")["condition"], too_large)
    hub.no_event()


@case
def proton_has_frames_of_4096(world):
    """Java's frame size: what is larger goes in many frames, both ways."""
    hub = DeviceHub(world)
    hub.device("valve")
    proton = ProtonDevice(world, hub, max_frame=4096, idle_s=230)
    proton.signs_in(hub, "valve")
    proton.attach("d2c", "sender", events_of("valve"))
    body = "0123456789abcdef" * 12_000
    proton.send("d2c", body=body)
    expect("the body that came", hub.event()["body"] == {"data": body}, True)
    order = "fedcba9876543210" * 3_500
    hub.do("send", whom="valve", message={"body": order, "id": "large"})
    proton.attach("c2d", "receiver", C2D, credit=5)
    got = proton.saw("message", link="c2d")
    expect("the body that went", got["body"] == order, True)
    parts = re.findall(r"<- @transfer\(20\) \[.*?more=true", proton.frames())
    expect("that it came in many frames", len(parts) >= 13, True)


@case
def proton_aborts_a_transfer(world):
    """Half a message that is given up is no message."""
    hub, proton = signed_in(world)
    proton.attach("d2c", "sender", events_of("valve"))
    proton.do("abort", link="d2c", body="x" * 100_000)
    proton.send("d2c", body="whole")
    expect("what came", hub.event()["body"], {"data": "whole"})
    hub.no_event()
