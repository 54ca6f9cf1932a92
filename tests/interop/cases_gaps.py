"""What does not work, and stands in the ledger with the reason: each of these fails as long as it does not."""

import re

from cases import case
from cases_faults import fault
from device_hub import DeviceHub
from harness import expect
from node_device import NodeDevice
from proton_device import ProtonDevice, events_of


@case
def proton_sees_the_real_hubs_mechanisms(world):
    """The real hub names EXTERNAL first, to everyone (a frame of it was published)."""
    hub = DeviceHub(world)
    hub.device("pump")
    proton = ProtonDevice(world, hub)
    proton.signs_in(hub, "pump")
    expect("the mechanisms", proton.mechanisms(), ["EXTERNAL", "MSSBCBS", "ANONYMOUS", "PLAIN"])


@case
def proton_notices_that_mqtt_is_shut_down(world):
    hub = DeviceHub(world)
    hub.device("pump")
    proton = ProtonDevice(world, hub)
    proton.signs_in(hub, "pump")
    proton.attach("d2c", "sender", events_of("pump"))
    proton.send("d2c", body="trouble", properties=fault("ShutDownMqtt"))
    proton.send("d2c", body="goes on")
    expect("whether anything was noticed", re.search(r"<- @(detach|end|close)", proton.frames()) is not None, True)


@case
def node_sends_a_batch(world):
    hub = DeviceHub(world)
    hub.device("pump")
    node = NodeDevice(world, hub, "tcp", connection_string=hub.connection_string("pump"))
    node.do("open")
    expect("the error", node.tried("batch", messages=[{"body": "one"}, {"body": "two"}])["error"], None)
    expect("events", len(hub.events(2)), 2)


@case
def node_sends_its_user_id(world):
    hub = DeviceHub(world)
    hub.device("pump")
    node = NodeDevice(world, hub, "tcp", connection_string=hub.connection_string("pump"))
    node.do("open")
    node.do("send", message={"body": "b", "user_id": "somebody"})
    expect("user-id", hub.event()["system"].get("user-id"), "somebody")


@case
def node_takes_an_input_by_its_name(world):
    """What an Edge hub routes to a module names the input; there is no routing here, so a message comes without."""
    hub = DeviceHub(world)
    hub.device("gateway")
    hub.device("gateway/filter")
    node = NodeDevice(world, hub, "tcp", module=True, connection_string=hub.connection_string("gateway/filter"))
    node.do("open")
    node.do("inputs")
    hub.do("send", whom="gateway/filter", message={"body": "routed", "properties": {"input": "hot"}})
    expect("the input's name", node.saw("input").get("input"), "hot")
