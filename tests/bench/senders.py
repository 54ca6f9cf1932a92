"""How fast devices send: our client against Proton C to one listener, and against Microsoft's Node SDK to our emulator."""

import json
import subprocess

from world import DEVICE, HERE, NODE_MODULES, Emulator, cpu, median, rate, ratios, shown, table, thousands

# Made up.
KEY = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="

COUNTS = {1: 4_000, 16: 25_000, 256: 60_000, 1_000: 60_000}


def against_proton(world):
    send = world.compile(HERE / "peers" / "proton_send.c", "proton_send")
    listen = world.compile(HERE / "peers" / "proton_listen.c", "proton_listen")
    ca, certificate, key = world.certificate()
    rows = []
    for tls in (False, True):
        listener = world.start([listen, *([certificate, key] if tls else [])], stdout=subprocess.PIPE)
        port = listener.stdout.readline().strip()
        root = ca if tls else "-"
        connection = f"HostName=localhost:{port};DeviceId={DEVICE};SharedAccessKey={KEY}"
        for size in (256, 4096):
            for window, count in COUNTS.items():
                if size == 4096:
                    count = count // 3
                theirs = [send, "localhost", port, f"/devices/{DEVICE}/messages/events", count, size, window, root]
                ours = [world.bench, "send", connection, root, count, size, window]
                results = world.rounds_of(
                    {
                        "proton": lambda: world.run(theirs),
                        "single": lambda: world.run([*ours, "single"]),
                        "batched": lambda: world.run([*ours, "batched"]),
                    }
                )
                rows.append(row(f"{'TLS' if tls else 'TCP'}, {size} B, {window:,}", results, "proton", ("single", "batched")))
        world.stop(listener)
    columns = (
        "transport, body, window",
        "unbatched, rate",
        "CPU",
        "batched, rate",
        "CPU",
        "Proton C, messages/s",
        "µs",
        "ours, messages/s",
        "µs",
        "batched, messages/s",
        "µs",
    )
    table("Client: ours / a Proton C sender, to one Proton C listener; CPU is that of the sender a message", columns, rows)


def against_node(world):
    emulator = Emulator(world)
    connection = emulator.connection_string(emulator.ready["amqps_port"])
    ca = emulator.ready["ca"]
    environment = {"NODE_PATH": str(NODE_MODULES), "NODE_EXTRA_CA_CERTS": ca}
    rows = []
    for window, count in COUNTS.items():
        count = min(count, 20_000)
        job = {"connection_string": connection, "count": count, "size": 256, "window": window}
        ours = [world.bench, "send", connection, ca, count, 256, window]
        node = ["node", HERE / "peers" / "node_load.js"]
        results = world.rounds_of(
            {
                "node": lambda: world.run(node, json.dumps(job), environment),
                "single": lambda: world.run([*ours, "single"]),
                "batched": lambda: world.run([*ours, "batched"]),
            }
        )
        rows.append(row(f"TLS, 256 B, {window:,}", results, "node", ("single", "batched")))
    emulator.stop()
    columns = (
        "transport, body, window",
        "unbatched, rate",
        "CPU",
        "batched, rate",
        "CPU",
        "Node, messages/s",
        "µs",
        "ours, messages/s",
        "µs",
        "batched, messages/s",
        "µs",
    )
    table("Client: ours / Node's `azure-iot-device-amqp`, to our emulator", columns, rows)


def row(name, results, reference, contenders):
    cells = [name]
    for contender in contenders:
        cells += [shown(ratios(measure, results[contender], results[reference])) for measure in (rate, cpu)]
    for contender in (reference, *contenders):
        cells += [thousands(median(rate, results[contender])), f"{median(cpu, results[contender]):.1f}"]
    return cells
