"""Qpid Proton as a device whose links and messages are made by hand."""

import re
import sys

from device_hub import DeviceHub
from harness import HERE, HOST, expect
from told import Told

NODE_TYPE = "servicebus.windows.net:sastoken"
CSHARP_TYPE = "azure-devices.net:sastoken"


class ProtonDevice(Told):
    def __init__(self, world, hub, mech="ANONYMOUS", **job):
        process = world.start(
            "proton_device",
            [sys.executable, HERE / "peers" / "proton_device.py"],
            told=True,
            env={"PN_TRACE_FRM": "1"},
        )
        super().__init__(process, hub.place() | {"virtual_host": HOST, "mech": mech} | job)

    def attach(self, link, role, address, **more):
        """Attaches a link by its address, and waits until it is open."""
        where = "target" if role == "sender" else "source"
        self.do("attach", link=link, role=role, **{where: address}, **more)
        self.saw("attach", link=link)

    def open_cbs(self, session="", **more):
        self.attach("put", "sender", "$cbs", session=session, **more)
        self.attach("replies", "receiver", "$cbs", session=session, credit=50)

    def put_token(self, token, name, message_id="put 1", kind=NODE_TYPE, settled=False, status=200, properties=None):
        """Shows a token: the reply must be this status, and have the id that went, in its type."""
        about = {"operation": "put-token", "type": kind, "name": name} | (properties or {})
        message = {"id": message_id, "value": token, "properties": about, "to": "$cbs", "reply_to": "cbs"}
        self.do("send", link="put", message=message, settled=settled)
        reply = self.saw("message", link="replies")
        expect(
            "status and correlation",
            (reply["properties"]["status-code"], reply["correlation_id"]),
            ({"int": status}, message_id),
        )
        return reply["properties"]["status-description"]

    def signs_in(self, hub, whom):
        """Opens `$cbs` and shows a token of this device or module."""
        self.open_cbs()
        self.put_token(hub.token(whom), f"{HOST}/devices/{whom}")

    def send(self, link, outcome="accepted", condition=None, **message):
        """Sends one message, and waits for its outcome."""
        self.do("send", link=link, message=message)
        said = self.saw("outcome", link=link)
        expect("outcome and condition", (said["outcome"], said["condition"]), (outcome, condition))
        expect("settled by the hub", said["settled"], True)
        return said

    def refused(self, link, role, address, condition, **more):
        """Attaches a link that the hub answers and then detaches, with this condition."""
        self.attach(link, role, address, **more)
        said = self.saw("detach", link=link)
        expect(f"the condition for {address}", said["condition"], condition)
        return said["description"]

    def mechanisms(self):
        """What the hub offered, in its order."""
        offered = re.search(r"<- @sasl-mechanisms\(64\) (.*)", self.frames())[1]
        return re.findall(r"\b(EXTERNAL|MSSBCBS|ANONYMOUS|PLAIN)\b", offered)


def events_of(device, module=None):
    """The address of its telemetry."""
    return f"/devices/{device}" + (f"/modules/{module}" if module else "") + "/messages/events"


def signed_in(world, whom="valve", **setup):
    """A hub with one device, which has shown its token."""
    hub = DeviceHub(world, **setup)
    hub.device(whom)
    proton = ProtonDevice(world, hub)
    proton.signs_in(hub, whom)
    return hub, proton
