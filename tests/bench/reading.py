"""How fast events are read: from our emulator by Microsoft's Event Hubs SDK and by Proton C, and by Proton C from Proton's own
broker."""

import json
import re

from ingest import Broker
from world import HERE, PYTHON, SIZE, Emulator, cpu, median, rate, ratios, shown, table, thousands

# Enough devices that each of four partitions has some.
DEVICES = [f"device-{number}" for number in range(16)]
EACH = 12_500
COUNT = EACH * len(DEVICES)
# The broker is read by one link, what it was sent by another.
BROKER_COUNT = 60_000
CREDIT = 1_000
PARTITIONS = 4


def run(world):
    send = world.compile(HERE / "peers" / "proton_send.c", "proton_send")
    read = world.compile(HERE / "peers" / "proton_read.c", "proton_read")
    _, certificate, key = world.certificate()
    broker = Broker(world, CREDIT, certificate, key)
    more = [word for device in DEVICES for word in ("--device", device)] + ["--log-size", "2GiB"]
    rows = []
    for what, hub in (
        ("in memory", Emulator(world, *more)),
        ("`--state-dir`", Emulator(world, "--state-dir", world.work / "read-state", *more)),
    ):
        fill(world, hub, EACH)
        results = world.rounds_of(
            {
                "eventhub": lambda: by_event_hubs(world, hub),
                "proton": lambda: by_proton(world, read, hub),
                "broker": lambda: from_broker(world, send, read, broker),
            }
        )
        hub.stop()
        rows.append(
            (
                what,
                shown(ratios(rate, results["proton"], results["broker"])),
                shown(ratios(rate, results["proton"], results["eventhub"])),
                *(thousands(median(rate, results[name])) for name in ("broker", "proton", "eventhub")),
                *(f"{median(cpu, results[name]):.1f}" for name in ("broker", "proton", "eventhub")),
            )
        )
    columns = (
        "emulator",
        "Proton C, ours / broker",
        "Proton C / azure-eventhub",
        "Proton C from broker, messages/s",
        "from ours",
        "azure-eventhub from ours",
        "reader's CPU, µs",
        "from ours",
        "azure-eventhub",
    )
    table(
        f"Reading: {COUNT:,} events of {SIZE} B in {PARTITIONS} partitions, TLS; the broker's {BROKER_COUNT:,} in one queue, TCP",
        columns,
        rows,
    )


def fill(world, hub, each):
    port = hub.ready["amqps_port"]
    for device in DEVICES:
        string = re.sub("HostName=[^;]*", f"HostName=localhost:{port}", hub.ready["devices"][device])
        world.run([world.bench, "send", string, hub.ready["ca"], each, SIZE, 1_000, "batched"])


def parts_of(string):
    return dict(part.split("=", 1) for part in string.split(";"))


def by_event_hubs(world, hub):
    job = {
        "connection_string": hub.ready["events"],
        "endpoint": f"https://localhost:{hub.ready['amqps_port']}",
        "ca": hub.ready["ca"],
        "count": COUNT,
    }
    return world.run([PYTHON, HERE / "peers" / "eventhub_read.py"], json.dumps(job))


def by_proton(world, read, hub):
    parts = parts_of(hub.ready["events"])
    policy = (parts["SharedAccessKeyName"], parts["SharedAccessKey"])
    group = f"{parts['EntityPath']}/ConsumerGroups/$Default/Partitions"
    links = [f"{group}/{number}" for number in range(PARTITIONS)]
    return world.run([read, "localhost", hub.ready["amqps_port"], COUNT, CREDIT, hub.ready["ca"], *policy, *links])


def from_broker(world, send, read, broker):
    broker.start()
    world.run([send, "localhost", broker.port, "bench", BROKER_COUNT, SIZE, CREDIT])
    result = world.run([read, "localhost", broker.port, BROKER_COUNT, CREDIT, "-", "-", "-", "bench"])
    broker.stop()
    return result
