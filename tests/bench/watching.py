"""How fast the command `iothub events watch -o json` shows events, against Microsoft's Event Hubs SDK reading them, and what
memory it takes for many of them."""

import os
import subprocess
import time
from pathlib import Path

from reading import COUNT, DEVICES, EACH, PARTITIONS, by_event_hubs, fill
from world import SIZE, Emulator, cpu, median, rate, ratios, shown, table, thousands

# For the memory.
FEW, MANY = 100_000, 1_000_000


def run(world):
    hub = started(world)
    fill(world, hub, EACH)
    results = world.rounds_of(
        {
            "eventhub": lambda: by_event_hubs(world, hub),
            "watch": lambda: watch(world, hub, COUNT),
        }
    )
    hub.stop()
    columns = (
        "`events watch -o json` / azure-eventhub, rate",
        "CPU",
        "ours, events/s",
        "µs",
        "azure-eventhub, events/s",
        "µs",
    )
    row = [shown(ratios(measure, results["watch"], results["eventhub"])) for measure in (rate, cpu)]
    for name in ("watch", "eventhub"):
        row += [thousands(median(rate, results[name])), f"{median(cpu, results[name]):.1f}"]
    title = f"Watching: {COUNT:,} events of {SIZE} B in {PARTITIONS} partitions, TLS, from the first that is shown to the last; CPU an event"
    table(title, columns, [row])

    hub = started(world)
    fill(world, hub, -(-MANY // len(DEVICES)))
    few, many = (watch(world, hub, count)["peak_kib"] for count in (FEW, MANY))
    hub.stop()
    mib = [f"{peak / 1024:.1f} MiB" for peak in (few, many)]
    table("Memory of `events watch -o json`, at most", (f"{FEW:,} events", f"{MANY:,} events"), [mib])


def started(world):
    more = [word for device in DEVICES for word in ("--device", device)]
    return Emulator(world, *more, "--log-size", "2GiB")


def watch(world, hub, count):
    """Reads so many events, a line each, and looks at the process while it waits for more."""
    command = [world.iothub, "events", "watch", "--since", "start", "-o", "json"]
    environment = {
        **os.environ,
        "IOTHUB_SERVICE_CONNECTION_STRING": hub.ready["service"],
        "IOTHUB_CA_FILE": hub.ready["ca"],
    }
    process = world.start(command, stdout=subprocess.PIPE, env=environment)
    pipe = process.stdout.fileno()
    came = os.read(pipe, CHUNK)
    started, spent = time.monotonic(), cpu_us(process.pid)
    lines, size = came.count(b"\n"), len(came)
    while lines < count:
        came = os.read(pipe, CHUNK)
        if not came:
            raise SystemExit(f"the watch ended at {lines} events")
        lines += came.count(b"\n")
        size += len(came)
    seconds, spent = time.monotonic() - started, cpu_us(process.pid) - spent
    peak = peak_kib(process.pid)
    world.stop(process)
    return {"count": lines, "bytes": size, "seconds": seconds, "cpu_us": spent, "peak_kib": peak}


def cpu_us(pid):
    """Of all threads that there are."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1000


def peak_kib(pid):
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmHWM:")).split()[1])


CHUNK = 1 << 20
