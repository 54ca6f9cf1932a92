"""Many devices at once, between our client and our emulator: how long they take, and what memory each takes."""

import json
import subprocess
from pathlib import Path

from world import table

CASES = (("connection", 999), ("pool", 5_000), ("separate", 5_000))


def run(world):
    rows = []
    for how, devices in CASES:
        ca = world.work / f"fleet-{how}.pem"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        hub = world.start([world.bench, "hub", devices, ca], **pipes)
        port = json.loads(hub.stdout.readline())["port"]
        before = resident_kib(hub)
        fleet = world.start([world.bench, "fleet", port, ca, devices, how], **pipes)
        connected = json.loads(fleet.stdout.readline())
        hub_grew = resident_kib(hub) - before
        go_on(fleet)
        sent = json.loads(fleet.stdout.readline())
        go_on(fleet)
        fleet.wait(60)
        world.stop(hub)
        rows.append(
            (
                f"{devices:,} {NAMES[how]}",
                f"{connected['devices']:,}",
                f"{connected['seconds']:.1f} s",
                f"{sent['accepted']:,} in {sent['seconds']:.2f} s",
                f"{connected['resident_kib'] / devices:.1f} KiB",
                f"{hub_grew / devices:.1f} KiB",
            )
        )
    columns = ("devices", "connected", "within", "a message of each accepted", "client, a device", "emulator, a device")
    table("Many devices, TLS and CBS, once each: memory is what the process grew by, idle, over the devices", columns, rows)


NAMES = {
    "connection": "on one connection",
    "pool": "over a pool",
    "separate": "with a connection each",
}


def go_on(process):
    process.stdin.write("\n")
    process.stdin.flush()


def resident_kib(process):
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0
