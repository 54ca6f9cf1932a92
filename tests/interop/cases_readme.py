"""The programs that the README shows, as they stand there, in the environment that `iothub emulator env` makes."""

import json
import os
import shutil
import sys
from pathlib import Path

from cases import case
from harness import ENDS_WITHIN_S, HERE, HUB, NODE_MODULES, STARTS_WITHIN_S, Skipped, expect

DEVICE = "gateway-7"


@case
def the_readmes_node_program_sends_and_reads_its_twin(world):
    printed, event = runs(world, ["node", HERE / "examples" / "device.js"])
    expect("what it printed", printed, 'desired: {"$version":1}')
    expect("what the hub has", (event["device"], event["body"]), (DEVICE, "Hello from Node"))


@case
def the_readmes_python_program_sends_and_reads_its_twin(world):
    printed, event = runs(world, [sys.executable, HERE / "examples" / "device.py"])
    name, twin = printed.split(": ", 1)
    expect("what it printed", (name, json.loads(twin)["desired"]), ("twin", {"$version": 1}))
    expect("what the hub has", (event["device"], event["body"]), (DEVICE, "Hello from Python"))


@case
def the_readmes_shell_asks_the_registry(world):
    """The lines of the emulator's README, at the port that they name."""
    need_a_program("curl")
    readme = (HERE.parents[1] / "crates" / "iothub-emulator" / "README.md").read_text()
    (lines,) = [block.split("```")[0] for block in readme.split("```sh\n")[1:] if "curl" in block]
    state = world.folder("state")
    ports = ["--amqps-port", "0", "--https-port", "8443"]
    command = [world.iothub, "emulator", "run", "--hub", HUB, "--device", DEVICE, "--state-dir", state, *ports]
    hub = world.start("emulator", [*command, "-o", "json"])
    expect("`ready` of the emulator's first line", hub.json_line(STARTS_WITHIN_S).get("ready"), True)
    path = f"{Path(world.iothub).parent}:{os.environ['PATH']}"
    shell = ["bash", "-euc", lines.replace("target/hub", str(state))]
    peer = world.start("readme", shell, env={"PATH": path})
    answer = peer.json_line(ENDS_WITHIN_S)
    expect("what curl printed", answer, [{"deviceId": DEVICE, "status": "enabled"}])


def need_a_program(name):
    if shutil.which(name) is None:
        raise Skipped(f"there is no {name} here")


def runs(world, program):
    """Runs it in a shell that has taken what `emulator env` prints: the line that it printed, and the hub's first event."""
    state = world.folder("state")
    ports = ["--amqps-port", "0", "--https-port", "0"]
    command = [world.iothub, "emulator", "run", "--hub", HUB, "--device", DEVICE, "--state-dir", state, *ports]
    hub = world.start("emulator", [*command, "-o", "json"])
    expect("`ready` of the emulator's first line", hub.json_line(STARTS_WITHIN_S).get("ready"), True)
    script = 'eval "$("$1" emulator env --state-dir "$2")"; shift 2; exec "$@"'
    shell = ["bash", "-euc", script, "bash", world.iothub, state, *program]
    peer = world.start("readme", shell, env={"NODE_PATH": str(NODE_MODULES)})
    printed = peer.line(ENDS_WITHIN_S)
    expect("its exit code", peer.exit_code(ENDS_WITHIN_S), 0)
    return printed, hub.json_line(10)
