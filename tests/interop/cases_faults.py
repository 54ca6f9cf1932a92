"""The fault list of Microsoft's own end-to-end tests: a device asks for a fault by message properties, and sees it.

Proton shows what comes on the wire; the Node SDK, which asks in the same way, what a program on it notices.
"""

from cases import case, cases_of
from device_hub import DeviceHub
from harness import expect
from node_device import NodeDevice
from proton_device import ProtonDevice, events_of

D2C = events_of("pump")
C2D = "/devices/pump/messages/devicebound"
# Which of the device's links each of them detaches.
KILLED_LINKS = {
    "KillAmqpCBSLinkReq": "put",
    "KillAmqpCBSLinkResp": "replies",
    "KillAmqpD2CLink": "d2c",
    "KillAmqpC2DLink": "c2d",
    "KillAmqpTwinLinkReq": "ask",
    "KillAmqpTwinLinkResp": "told",
    "KillAmqpMethodReqLink": "calls",
    "KillAmqpMethodRespLink": "answers",
}
# What each of them refuses messages with, and the error that Node's SDK makes of it.
REFUSALS = {
    "InvokeThrottling": ("com.microsoft:device-container-throttled", "ThrottlingError"),
    "InvokeMaxMessageQuota": ("amqp:resource-limit-exceeded", "IotHubQuotaExceededError"),
    "InvokeAuthError": ("amqp:unauthorized-access", "UnauthorizedError"),
}


def fault(kind, reason="boom", **more):
    names = {"delay_s": "DelayInSecs", "duration_s": "DurationInSecs"}
    properties = {"AzIoTHub_FaultOperationType": kind, "AzIoTHub_FaultOperationCloseReason": reason}
    return properties | {f"AzIoTHub_FaultOperation{names[name]}": str(value) for name, value in more.items()}


def with_all_links(world):
    hub = DeviceHub(world)
    hub.device("pump")
    proton = ProtonDevice(world, hub)
    proton.signs_in(hub, "pump")
    proton.attach("d2c", "sender", D2C)
    proton.attach("c2d", "receiver", C2D, credit=5)
    for kind, path, links in [
        ("twin", "twin", ("ask", "told")),
        ("methods", "methods/devicebound", ("answers", "calls")),
    ]:
        pair = {"com.microsoft:channel-correlation-id": f"{kind}:1"}
        address = f"/devices/pump/{path}"
        proton.attach(links[0], "sender", address, properties=pair)
        proton.attach(links[1], "receiver", address, credit=5, properties=pair)
    return hub, proton


def proton_asks_for(world, kind):
    hub, proton = with_all_links(world)
    proton.send("d2c", body="trouble", properties=fault(kind))
    proton_sees[kind](hub, proton)
    expect("the message that asked", hub.event()["body"], {"data": "trouble"})


def link_is_detached(kind):
    def see(_, proton):
        expect("the condition", proton.saw("detach", link=KILLED_LINKS[kind])["condition"], "amqp:link:detach-forced")
        if kind != "KillAmqpD2CLink":
            proton.send("d2c", body="goes on")

    return see


def connection_is_closed(_, proton):
    expect("the condition", proton.saw("close")["condition"], "amqp:connection:forced")


def session_is_ended(_, proton):
    expect("the condition", proton.saw("end", session="")["condition"], "amqp:internal-error")


def tcp_is_reset(_, proton):
    proton.saw("broken")
    expect("frames that said so", "<- @close" in proton.frames(), False)


def messages_are_refused(kind):
    def see(hub, proton):
        proton.send("d2c", outcome="rejected", condition=REFUSALS[kind][0], body="no")
        hub.do("turn_clock", by_s=31)
        if kind == "InvokeAuthError":
            return
        proton.send("d2c", body="goes on")

    return see


proton_sees = {kind: link_is_detached(kind) for kind in KILLED_LINKS} | {
    kind: messages_are_refused(kind) for kind in REFUSALS
}
proton_sees |= {
    "KillTcp": tcp_is_reset,
    "KillAmqpConnection": connection_is_closed,
    "KillAmqpSession": session_is_ended,
    "ShutDownAmqp": connection_is_closed,
}
cases_of(proton_asks_for, *proton_sees)


@case
def proton_asks_for_a_graceful_close(world):
    _, proton = with_all_links(world)
    proton.send("d2c", body="trouble", properties=fault("KillAmqpConnection", "byebye"))
    expect("the condition", proton.saw("close")["condition"], None)


@case
def proton_asks_for_a_fault_later(world):
    """It comes by the hub's clock, and lasts as long as was asked."""
    hub, proton = with_all_links(world)
    proton.send("d2c", body="trouble", properties=fault("InvokeThrottling", delay_s=10, duration_s=60))
    proton.send("d2c", body="before")
    hub.do("turn_clock", by_s=11)
    proton.send("d2c", outcome="rejected", condition=REFUSALS["InvokeThrottling"][0], body="during")
    hub.do("turn_clock", by_s=50)
    proton.send("d2c", outcome="rejected", condition=REFUSALS["InvokeThrottling"][0], body="still")
    hub.do("turn_clock", by_s=10)
    proton.send("d2c", body="after")
    bodies = [event["body"]["data"] for event in hub.events(3)]
    expect("what came", bodies, ["trouble", "before", "after"])


def node_lives_through(world, kind):
    """With its own retry policy the SDK comes back by itself.

    Not so after a `close`: it waits 45 s for the answers to detaches that it sends after that. Proton sees the `close`.
    """
    hub = DeviceHub(world)
    hub.device("pump")
    node = NodeDevice(world, hub, "tcp", retry=True, connection_string=hub.connection_string("pump"))
    node.do("open")
    node.do("receive", settle=["complete"])
    node.do("send", message={"body": "first"})
    node.do("send", message={"body": "trouble", "properties": fault(kind)})
    hub.events(2)
    # Whatever is lost, it makes the whole connection anew.
    hub.do("await_connections", count=2, within_s=20)
    node.do("send", message={"body": "after"})
    expect("what came", hub.event()["body"], {"data": "after"})
    hub.do("send", whom="pump", message={"body": "order", "id": "o-1"})
    expect("the command", node.saw("message")["id"], "o-1")


cases_of(node_lives_through, "KillTcp", "KillAmqpSession", "KillAmqpD2CLink", "KillAmqpC2DLink")


def node_is_refused_by(world, kind):
    """Without its retry policy the SDK says what it takes the refusal for."""
    hub = DeviceHub(world)
    hub.device("pump")
    node = NodeDevice(world, hub, "tcp", connection_string=hub.connection_string("pump"))
    node.do("open")
    node.do("send", message={"body": "trouble", "properties": fault(kind)})
    hub.event()
    expect("the error", node.tried("send", message={"body": "no"})["error"], REFUSALS[kind][1])
    hub.no_event()


cases_of(node_is_refused_by, *REFUSALS)
