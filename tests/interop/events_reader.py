"""Microsoft's Event Hubs SDK for Python as a reader of the hub's events."""

import base64
import os
import sys

from device_hub import DeviceHub
from harness import HERE, HUB, expect
from proton_device import ProtonDevice, events_of
from told import Told


class EventsReader(Told):
    def __init__(self, world, hub, key, policy="service", transport="tcp", host=None):
        port = hub.ready["amqps_port" if transport == "tcp" else "https_port"]
        string = f"Endpoint=sb://{host or hub.host()}/;SharedAccessKeyName={policy};SharedAccessKey={key};EntityPath={HUB}"
        endpoint = f"https://{hub.address}:{port}"
        self.start(world, {"connection_string": string, "endpoint": endpoint, "ca": str(hub.ca), "transport": transport})

    @classmethod
    def of_program_hub(cls, world):
        """At the hub of `iothub emulator run`, by the connection string that it prints."""
        ready = world.hub().ready
        reader = cls.__new__(cls)
        # Where it has the port that the SDK insists on, nothing else needs to be said.
        endpoint = None if ready["amqps_port"] == 5671 else f"https://{ready['host']}:{ready['amqps_port']}"
        reader.start(world, {"connection_string": ready["events"], "endpoint": endpoint, "ca": ready["ca"]})
        return reader

    def start(self, world, job):
        process = world.start("events_reader", [sys.executable, HERE / "peers" / "events_reader.py"], told=True)
        super().__init__(process, job)

    def events(self, reader, count):
        """The next events of a reader, and then that there is no other for a second."""
        events = [self.saw("event", reader=reader) for _ in range(count)]
        return events

    def reads(self, wanted, **more):
        """A new reader gets these bodies, and nothing else."""
        self.do("read", reader="one", **more)
        bodies = [event["body"] for event in self.events("one", len(wanted))]
        expect("the bodies in order", bodies, wanted)
        self.saw("silence", reader="one")
        expect("what else came", [fact for fact in self.seen if fact["saw"] == "event"], [])

    def refused(self, condition, words, **more):
        """A new reader is refused. The SDK makes one error of all links that are detached, and keeps the condition."""
        self.do("read", reader="refused", **more)
        self.is_in_trouble("refused", condition, words)

    def is_in_trouble(self, reader, condition, words=""):
        said = self.saw("trouble", reader=reader)
        expect("the condition", said["condition"], condition)
        expect(f"whether it says {words!r}", words in said["words"], True)


def new_key():
    return base64.b64encode(os.urandom(32)).decode()


def hub_with_events(world, count=0, policy="service", **setup):
    """A hub with one device whose telemetry is all in one partition, and the key of a policy; messages `m0` and on."""
    key = new_key()
    hub = DeviceHub(world, policies=[[policy, key]], **setup)
    hub.device("valve")
    hub.policy_key = key
    if count:
        send(world, hub, [f"m{number}" for number in range(count)])
    return hub, key


def send(world, hub, bodies, whom="valve", **more):
    """Has a device send these, and gives the partition that they are in."""
    proton = ProtonDevice(world, hub)
    proton.signs_in(hub, whom)
    proton.attach("events", "sender", events_of(whom))
    for number, body in enumerate(bodies):
        proton.send("events", body=body, id=f"id-{number}", properties={"n": str(number)}, **more)
    proton.do("close")
    return str(hub.events(len(bodies))[0]["partition"])
