"""`iothub` at an operator's terminal: `iothub emulator run` for one case, and the command line that talks to it as a service."""

import json

from device_hub import wanted_port
from harness import ENDS_WITHIN_S, HUB, STARTS_WITHIN_S, expect


class OwnHub:
    """`iothub emulator run` on a loopback address of the case's own, with the ports that SDKs insist on where they are free."""

    def __init__(self, world, *devices):
        self.world = world
        self.address = world.run.address()
        self.state = world.folder("state")
        ports = ["--amqps-port", wanted_port(self.address, 5671), "--https-port", wanted_port(self.address, 443)]
        names = [word for device in devices for word in ("--device", device)]
        command = [world.iothub, "emulator", "run", "--hub", HUB, "--listen", self.address, "--state-dir", self.state]
        self.process = world.start("emulator", [*command, *ports, *names, "-o", "json"])
        self.ready = self.process.json_line(STARTS_WITHIN_S)
        expect("`ready` of the emulator's first line", self.ready.get("ready"), True)
        self.ca = self.ready["ca"]

    def connection_string(self, device):
        return self.ready["devices"][device]

    def key(self, device):
        return self.connection_string(device).split("SharedAccessKey=")[1]

    def place(self):
        """Where and whom to trust, as the peers take it."""
        return {"host": self.address, "port": self.ready["amqps_port"], "ca": self.ca}

    def start(self, *words, **environment):
        """A command of the operator's, with the service's connection string in its environment."""
        given = {
            "IOTHUB_SERVICE_CONNECTION_STRING": self.ready["service"],
            "IOTHUB_CA_FILE": self.ca,
            "IOTHUB_HTTPS_PORT": str(self.ready["https_port"]),
        }
        return self.world.start(f"iothub-{words[0]}", [self.world.iothub, *words], env=given | environment)

    def run(self, *words, code=0, **environment):
        """Runs a command to its end, which must be this exit code: the lines of JSON that it printed."""
        return ended(self.start(*words, "-o", "json", **environment), code)

    def object(self, *words, **more):
        (line,) = self.run(*words, **more)
        return line

    def error(self, code, *words):
        """Runs a command that must fail so: its error."""
        process = self.start(*words, "-o", "json")
        expect("what it printed", ended(process, code), [])
        return json.loads(process.stderr())["error"]

    def turn_clock(self, span):
        turn = ["emulator", "clock", "turn", span, "--state-dir", self.state]
        process = self.world.start("iothub-clock", [self.world.iothub, *turn])
        expect("exit code of turning the clock", process.exit_code(ENDS_WITHIN_S), 0)

    def wait_until_settled(self, device):
        """No message waits for the device any more."""
        for _ in range(200):
            if (waiting := self.object("registry", "show", device)["messages"]) == 0:
                return
        expect("messages that wait", waiting, 0)


def ended(process, code=0):
    """The lines of JSON that a command has printed when it has ended with this exit code."""
    got = process.exit_code(ENDS_WITHIN_S)
    said = process.stderr().strip()
    expect(f"exit code of {process.name}, which said {said!r}", got, code)
    return [json.loads(line) for line in process.unread_lines()]
