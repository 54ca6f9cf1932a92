"""Microsoft's Node device SDK, unmodified, as a case tells it to."""

import time

from device_hub import need_port_443
from harness import ENDS_WITHIN_S, HERE, Failure, expect, node_environment


class NodeDevice:
    """Orders are answered in turn; what it sees meanwhile is kept until it is asked for."""

    def __init__(self, world, hub, transport, trace=True, **job):
        if transport == "ws":
            need_port_443(hub)
        self.process = world.start(
            f"node-{transport}",
            ["node", HERE / "peers" / "node_device.js"],
            told=True,
            env=node_environment(hub.ca, trace),
        )
        self.seen = []
        self.process.tell({"transport": transport, **job})
        expect("that the client was made", self._answer("make")["error"], None)

    def do(self, do, **order):
        """Has it do something that must succeed."""
        answer = self.tried(do, **order)
        if answer["error"] is not None:
            raise Failure(f"Node would not {do}: {answer['error']}, {answer['description']}")
        return answer

    def tried(self, do, **order):
        self.process.tell({"do": do, **order})
        return self._answer(do)

    def saw(self, what):
        """The next of this kind that it has seen, or sees."""
        ends = time.monotonic() + ENDS_WITHIN_S
        while True:
            for at, fact in enumerate(self.seen):
                if fact["saw"] == what:
                    return self.seen.pop(at)
            self._read(ends)

    def frames(self):
        """What rhea wrote of the frames that came and went."""
        return self.process.stderr()

    def _answer(self, do):
        ends = time.monotonic() + ENDS_WITHIN_S
        while (fact := self._read(ends)) is None:
            pass
        expect("what was answered", fact["did"], do)
        return fact

    def _read(self, ends):
        fact = self.process.json_line(max(0.1, ends - time.monotonic()))
        if "saw" in fact:
            self.seen.append(fact)
            return None
        return fact
