"""How fast hubs take telemetry: our emulator against Proton's own broker, one Proton C sender to both."""

import shutil
import socket
import subprocess
import time

from world import DEVICE, EXAMPLES, HERE, SIZE, Emulator, median, rate, ratios, shown, table, thousands

import sas

COUNT, WINDOW = 60_000, 1_000
# Each of these waits for a disk.
COUNT_ON_DISK = 15_000
CREDIT_OF_THE_EXAMPLE = "const int WINDOW=5;"


def run(world):
    send = world.compile(HERE / "peers" / "proton_send.c", "proton_send")
    ca, certificate, key = world.certificate()
    in_memory = Emulator(world)
    on_disk = Emulator(world, "--state-dir", world.work / "state")
    rows = []
    for name, credit in (("as Debian ships it, credit 5", 5), (f"with credit {WINDOW}", WINDOW)):
        broker = Broker(world, credit, certificate, key)
        for tls in (False, True):
            contenders = {
                "broker": lambda: broker.measure(send, ca, tls),
                "memory": lambda: measure(world, send, in_memory, COUNT, tls),
                "disk": lambda: measure(world, send, on_disk, COUNT_ON_DISK, tls),
            }
            results = world.rounds_of(contenders)
            for ours, what in (("memory", "in memory"), ("disk", "`--state-dir`")):
                rows.append(
                    (
                        f"{'TLS' if tls else 'TCP'}, {what}",
                        name,
                        shown(ratios(rate, results[ours], results["broker"])),
                        thousands(median(rate, results[ours])),
                        thousands(median(rate, results["broker"])),
                    )
                )
        broker.stop()
    in_memory.stop()
    on_disk.stop()
    columns = ("emulator", "broker", "rate, ours / broker", "ours, messages/s", "broker, messages/s")
    table(f"Ingest: a Proton C sender, window {WINDOW:,}, {SIZE} B, SASL PLAIN at ours, none at the broker", columns, rows)


def measure(world, send, emulator, count, tls):
    port = emulator.ready["amqps_port" if tls else "amqp_port"]
    token = sas.sign(emulator.key(), "localhost", DEVICE)
    command = [send, "localhost", port, f"/devices/{DEVICE}/messages/events", count, SIZE, WINDOW]
    command += [emulator.ready["ca"] if tls else "-", f"{DEVICE}@sas.{emulator.ready['hub']}", token]
    return world.run(command)


class Broker:
    """Proton's example. It looks for its certificate by a fixed name, and takes TCP and TLS on one port."""

    def __init__(self, world, credit, certificate, key):
        self.world = world
        folder = world.work / f"broker-{credit}-{len(world.processes)}"
        (folder / "ssl-certs").mkdir(parents=True)
        shutil.copy(certificate, folder / "ssl-certs" / "tserver-certificate.pem")
        shutil.copy(key, folder / "ssl-certs" / "tserver-private-key.pem")
        source = (EXAMPLES / "broker.c").read_text()
        assert CREDIT_OF_THE_EXAMPLE in source
        changed = folder / "broker.c"
        changed.write_text(source.replace(CREDIT_OF_THE_EXAMPLE, f"const int WINDOW={credit};"))
        program = world.compile(changed, f"{folder.name}/broker", f"-I{EXAMPLES}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.command = [program, "127.0.0.1", str(self.port)]
        self.folder = folder
        self.process = None

    def start(self):
        self.process = self.world.start(self.command, cwd=self.folder, stdout=subprocess.DEVNULL)
        self._listens()

    def measure(self, send, ca, tls):
        # A new one each time: it keeps what it is sent, and nobody fetches it.
        self.start()
        command = [send, "localhost", self.port, "bench", COUNT, SIZE, WINDOW, ca if tls else "-"]
        result = self.world.run(command)
        self.stop()
        return result

    def _listens(self):
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise SystemExit("the broker does not listen")

    def stop(self):
        if self.process is not None:
            self.world.stop(self.process)
            self.process = None
