"""What a benchmark stands on: the peers that it builds, processes that cannot outlive it, rounds, and rows."""

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "interop"))

PYTHON = ROOT / ".interop" / "venv" / "bin" / "python"
NODE_MODULES = ROOT / ".interop" / "node" / "node_modules"
EXAMPLES = Path("/usr/share/proton/examples/c")
PROTON = ["-l:libqpid-proton-core.so.10", "-l:libqpid-proton-proactor.so.1"]

HUB = "tcontehub"
DEVICE = "myFirstDevice"
# Of a message's body, in bytes.
SIZE = 256
STARTS_WITHIN_S = 20
ENDS_WITHIN_S = 120


class World:
    def __init__(self, iothub, bench, work, rounds):
        self.iothub = iothub
        self.bench = bench
        self.work = work
        self.rounds = rounds
        self.processes = []
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, mode=0o700)

    def start(self, command, **more):
        """A process that lasts until it is stopped; what it says on stderr is in a file."""
        with open(self.work / f"{len(self.processes):03}-{Path(command[0]).name}.stderr", "wb") as errors:
            process = subprocess.Popen([str(part) for part in command], stderr=errors, text=True, **more)
        self.processes.append(process)
        return process

    def run(self, command, stdin="", env=None):
        """A process that is run to its end: the one JSON object that it prints."""
        done = subprocess.run(
            [str(part) for part in command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=ENDS_WITHIN_S,
            env={**os.environ, **(env or {})},
        )
        if done.returncode != 0:
            raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def stop(self, process):
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def compile(self, source, name, *flags):
        """A program of C, built by the system's compiler."""
        program = self.work / name
        command = ["cc", "-O2", "-std=gnu11", str(source), "-o", str(program), *flags, *PROTON, "-lpthread"]
        subprocess.run(command, check=True)
        return program

    def certificate(self):
        """A CA and a leaf of it for `localhost`: (CA, certificate, key)."""
        ca, ca_key, leaf, leaf_key = (self.work / name for name in ("ca.pem", "ca.key", "leaf.pem", "leaf.key"))
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        signed = ["-CA", ca, "-CAkey", ca_key, "-subj", "/CN=localhost"]
        extensions = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
        run_quietly(*new, "-keyout", ca_key, "-out", ca, "-subj", "/CN=bench CA")
        run_quietly(*new, *signed, "-keyout", leaf_key, "-out", leaf, *extensions)
        return ca, leaf, leaf_key

    def rounds_of(self, contenders):
        """Runs each contender once a round, the first of a round being another each time: name -> results."""
        results = {name: [] for name in contenders}
        names = list(contenders)
        for number in range(self.rounds):
            turned = names[number % len(names) :] + names[: number % len(names)]
            for name in turned:
                results[name].append(contenders[name]())
        return results

    def print_header(self):
        proton = output("dpkg-query", "-W", "-f=${Version}", "libqpid-proton11-dev") or "unknown"
        print(
            f"{time.strftime('%Y-%m-%d')}, {output('rustc', '--version')}, {os.cpu_count()} {platform.machine()} cores "
            f"({processor()}), Proton C {proton}, Node {output('node', '--version')}, "
            f"{self.rounds} interleaved rounds, load before: {os.getloadavg()[0]:.1f}.\n"
        )


class Emulator:
    """`iothub emulator run` as people run it; what it prints of events goes nowhere."""

    def __init__(self, world, *more):
        self.world = world
        runtime = world.work / f"runtime-{len(world.processes)}"
        runtime.mkdir(mode=0o700)
        command = [world.iothub, "emulator", "run", "--hub", HUB, "--device", DEVICE]
        ports = ["--amqps-port", "0", "--https-port", "0", "--amqp-port", "0"]
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime)}
        directories = [Path(part) for part in more if str(part).startswith("/")] + [runtime]
        command = [*command, *ports, *more]
        self.process = world.start(command, stdout=subprocess.DEVNULL, env=environment)
        self.ready = self._ready(directories)

    def _ready(self, directories):
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            for directory in directories:
                for found in directory.rglob("emulator.json"):
                    return json.loads(found.read_text())
            time.sleep(0.05)
        raise SystemExit("the emulator does not get ready")

    def connection_string(self, port):
        return re.sub("HostName=[^;]*", f"HostName=localhost:{port}", self.ready["devices"][DEVICE])

    def key(self):
        parts = dict(part.split("=", 1) for part in self.ready["devices"][DEVICE].split(";"))
        return parts["SharedAccessKey"]

    def stop(self):
        self.world.stop(self.process)


def run_quietly(*command):
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def rate(result):
    return result["count"] / result["seconds"]


def cpu(result):
    """Microseconds a message."""
    return result["cpu_us"] / result["count"]


def ratios(measure, ours, theirs):
    return sorted(measure(our) / measure(their) for our, their in zip(ours, theirs))


def shown(values):
    """`median (min–max)`"""
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def median(measure, results):
    return statistics.median(measure(result) for result in results)


def thousands(value):
    return f"{value / 1000:.0f} k" if value >= 10_000 else f"{value / 1000:.1f} k"


def table(title, columns, rows):
    print(f"### {title}\n")
    print("| " + " | ".join(columns) + " |")
    print("| " + " | ".join("---" for _ in columns) + " |")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)
