"""Microsoft's Node device SDK, unmodified, as a case tells it to."""

from device_hub import need_the_sdks_ports
from harness import HERE, expect, node_environment
from told import Told


class NodeDevice(Told):
    def __init__(self, world, hub, transport, trace=True, **job):
        if transport == "ws":
            need_the_sdks_ports(hub)
        process = world.start(
            f"node-{transport}",
            ["node", HERE / "peers" / "node_device.js"],
            told=True,
            env=node_environment(hub.ca, trace),
        )
        super().__init__(process, {"transport": transport, **job})
        expect("that the client was made", self.answer("make")["error"], None)
