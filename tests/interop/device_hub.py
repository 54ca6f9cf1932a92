"""A hub for one case: the emulator as a library, in a program that does what it is told.

It has a loopback address of its own, and there, where they can be bound, the ports that SDKs insist on: 5671, and 443
for AMQP over WebSocket.
"""

import base64
import os
import socket

import sas
from harness import HUB, STARTS_WITHIN_S, Failure, Skipped, expect

WITHIN_S = 20


class DeviceHub:
    def __init__(self, world, **setup):
        self.address = world.run.address()
        self.keys = {}
        ports = {"amqps_port": wanted_port(self.address, 5671), "https_port": wanted_port(self.address, 443)}
        self.process = world.start("interop-hub", [world.run.hub_program], told=True)
        self.process.tell({"hub": HUB, "listen": self.address} | ports | setup)
        self.ready = self.process.json_line(STARTS_WITHIN_S)
        expect("`ready` of the hub's first line", self.ready.get("ready"), True)
        self.ca = world.folder("ca") / "ca.pem"
        self.ca.write_text(self.ready["ca"])

    def do(self, do, **order):
        """Has it do something that must succeed."""
        answer = self.tried(do, **order)
        if "error" in answer:
            raise Failure(f"the hub would not {do}: {answer['error']}")
        return answer

    def tried(self, do, **order):
        self.process.tell({"do": do, **order})
        return self.process.json_line(WITHIN_S + order.get("within_s", 0) + order.get("connect_timeout_s", 0))

    def device(self, whom):
        """Registers a device, or a module as `DEVICE/MODULE`, with keys that are made here."""
        primary, secondary = (base64.b64encode(os.urandom(32)).decode() for _ in range(2))
        self.do("register", whom=whom, proof={"sas": [primary, secondary]})
        self.keys[whom] = primary
        return whom

    def host(self):
        """What `HostName` is for SDKs."""
        port = self.ready["amqps_port"]
        return self.address if port == 5671 else f"{self.address}:{port}"

    def place(self):
        """Where and whom to trust, as the peers take it."""
        return {"host": self.address, "port": self.ready["amqps_port"], "ca": str(self.ca)}

    def connection_string(self, whom, key=None):
        device, _, module = whom.partition("/")
        of_module = f"ModuleId={module};" if module else ""
        return f"HostName={self.host()};DeviceId={device};{of_module}SharedAccessKey={key or self.keys[whom]}"

    def certificate_string(self, device):
        return f"HostName={self.host()};DeviceId={device};x509=true"

    def token(self, whom, **more):
        return sas.sign(self.keys[whom], self.host(), whom.replace("/", "/modules/"), **more)

    def event(self):
        return self.events(1)[0]

    def events(self, count):
        events = self.do("events", count=count, within_s=WITHIN_S)["events"]
        expect("events at the hub", len(events), count)
        return events

    def no_event(self):
        """Nothing more has come than what was read."""
        expect("what else the hub has", self.do("events", count=1, within_s=0)["events"], [])

    def connections(self):
        return sum(what.startswith("came from") for what in self.do("activity")["activity"])


def wanted_port(address, port):
    """The port if it can be had, else 0 for a free one: binding 443 may take a right that nobody has given."""
    try:
        socket.create_server((address, port)).close()
    except OSError:
        return 0
    return port


def need_the_sdks_ports(hub):
    if (hub.ready["amqps_port"], hub.ready["https_port"]) != (5671, 443):
        raise Skipped("5671 and 443 cannot be bound here; the SDK looks for WebSocket at 443, and takes no port then")
