"""Microsoft's Node service SDK over HTTPS, unmodified, as a case tells it to."""

import base64
import os

from device_hub import DeviceHub, need_the_sdks_ports
from harness import HERE, expect, node_environment
from told import Told

POLICIES = ("iothubowner", "service", "registryRead", "registryReadWrite")


class NodeRegistry(Told):
    def __init__(self, world, hub, **job):
        process = world.start(
            "node-registry",
            ["node", HERE / "peers" / "node_registry.js"],
            told=True,
            env=node_environment(hub.ca, trace=False),
        )
        super().__init__(process, job)
        expect("that the clients were made", self.answer("make")["error"], None)

    def call(self, on, name, *args):
        """The result of a method that must succeed."""
        return self.do("call", on=on, name=name, args=args)["result"]

    def registry(self, name, *args):
        return self.call("registry", name, *args)

    def refused(self, on, name, *args):
        """The class of the error, and the status and name that it came from."""
        answer = self.tried("call", on=on, name=name, args=args)
        return answer["error"], answer.get("status")

    def twin(self, device, **module):
        return self.do("twin", device=device, **module)["result"]

    def update_twin(self, device, patch, **etag):
        return self.do("update_twin", device=device, patch=patch, **etag)["result"]

    def query(self, sql, size=None, **how):
        return self.do("query", sql=sql, size=size, **how)["result"]


def service_hub(world, **setup):
    """A hub on the port that the SDK insists on, with policies whose keys are made here."""
    keys = {name: base64.b64encode(os.urandom(32)).decode() for name in POLICIES}
    hub = DeviceHub(world, policies=list(keys.items()), **setup)
    need_the_sdks_ports(hub)
    return hub, keys


def policy_string(hub, keys, policy="iothubowner", key=None):
    return f"HostName={hub.address};SharedAccessKeyName={policy};SharedAccessKey={key or keys[policy]}"


def owner_at(world, **setup):
    hub, keys = service_hub(world, **setup)
    return hub, NodeRegistry(world, hub, connection_string=policy_string(hub, keys))
