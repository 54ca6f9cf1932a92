"""What a case stands on: processes that cannot outlive their deadline, the emulator, Proton's listener, the CLI."""

import itertools
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import quote

import sas

HERE = Path(__file__).resolve().parent
NODE_MODULES = HERE.parents[1] / ".interop" / "node" / "node_modules"
HUB = "tcontehub"
HOST = f"{HUB}.azure-devices.net"
DEVICE = "myFirstDevice"
OTHER_DEVICE = "myOtherDevice"

STARTS_WITHIN_S = 20
# A burst of thousands takes its time on a machine that has other things to do.
ENDS_WITHIN_S = 60


class Failure(Exception):
    """A case's expectation that did not hold; the text is one line and holds no secret."""


class Skipped(Exception):
    """A case that cannot be here, and why."""


def expect(what, actual, wanted):
    if actual != wanted:
        raise Failure(redacted(f"{what}: {actual!r} instead of {wanted!r}"))


def redacted(text):
    text = re.sub(r"(sig=)[^&\s\"']+", r"\1***", text)
    return re.sub(r"(SharedAccessKey=)[^;\s\"']+", r"\1***", text)


class Process:
    """A child whose stdout is read line by line; stderr goes to a file that is shown when the case fails."""

    def __init__(self, name, command, log, env=None, stdin=None, told=False):
        """`stdin` is written at once and is all; with `told`, lines are written later by `tell`."""
        self.name = name
        self.log = log
        with open(log, "wb") as errors:
            self.child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE if told or stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **(env or {})},
            )
        if stdin is not None:
            with self.child.stdin as pipe:
                pipe.write(stdin)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def tell(self, order):
        """Writes one line."""
        try:
            self.child.stdin.write(json.dumps(order) + "\n")
            self.child.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise Failure(f"{self.name} has ended, and was told to {order.get('do')}") from None

    def line(self, within_s):
        """The next line of stdout; a process that ends or stays silent instead is a failure."""
        try:
            line = self.lines.get(timeout=within_s)
        except queue.Empty:
            raise Failure(f"{self.name} printed nothing within {within_s} s") from None
        if line is None:
            self.lines.put(None)
            raise Failure(f"{self.name} ended with exit code {self.child.wait(5)} instead of a line")
        return line

    def json_line(self, within_s):
        line = self.line(within_s)
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise Failure(f"{self.name} printed a line that is no JSON: {redacted(line)!r}") from None

    def exit_code(self, within_s):
        try:
            return self.child.wait(within_s)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {within_s} s") from None

    def unread_lines(self):
        """What is left on the stdout of a process that has ended."""
        return list(iter(lambda: self.lines.get(timeout=5), None))

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def stderr(self):
        return Path(self.log).read_text(errors="replace")


class Run:
    """All cases of one run: its folder, its network, the programs under test, and the hub that some cases share."""

    def __init__(self, iothub, hub_program, client_program, work, own_network):
        self.iothub = iothub
        self.hub_program = hub_program
        self.client_program = client_program
        self.work = work
        self.own_network = own_network
        self.program_hub = None
        self.processes = []
        self.lock = threading.Lock()
        self.addresses = (f"127.1.{number // 250}.{number % 250 + 1}" for number in itertools.count())
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True, mode=0o700)

    def start(self, name, command, **more):
        with self.lock:
            log = self.work / f"{len(self.processes):03}-{name}.stderr"
            process = Process(name, command, log, **more)
            self.processes.append(process)
        return process

    def folder(self, name):
        with self.lock:
            folder = self.work / f"{len(list(self.work.iterdir())):03}-{name}"
            folder.mkdir(mode=0o700)
        return folder

    def address(self):
        """A loopback address that nobody else of this run has, with all its ports."""
        with self.lock:
            return next(self.addresses)

    def close(self):
        for process in reversed(self.processes):
            process.kill()


class World:
    """What one case stands on, and everything that must be dead at its end."""

    def __init__(self, run, name):
        self.run = run
        self.name = name
        self.processes = []
        self.at_program_hub = False

    @property
    def iothub(self):
        return self.run.iothub

    def start(self, name, command, **more):
        process = self.run.start(name, command, **more)
        self.processes.append(process)
        return process

    def folder(self, name):
        return self.run.folder(name)

    def hub(self):
        """`iothub emulator run`, one for the cases in turn: begun by the first of them, and anew after one failed."""
        self.at_program_hub = True
        if self.run.program_hub is None:
            self.run.program_hub = Hub(self.run)
        return self.run.program_hub

    def drop_hub(self):
        """Its journal may hold what a failed case did not read, which must not be taken for the next one's."""
        if self.at_program_hub and self.run.program_hub is not None:
            self.run.program_hub.process.kill()
            self.run.program_hub = None

    def peer(self, script, request):
        """Runs a peer to its end: the one JSON object that it printed, and its trace of frames."""
        peer = self.start(
            script,
            [sys.executable, HERE / "peers" / f"{script}.py"],
            stdin=json.dumps({"timeout_s": ENDS_WITHIN_S - 10, **request}),
            env={"PN_TRACE_FRM": "1"},
        )
        result = peer.json_line(ENDS_WITHIN_S)
        expect(f"exit code of {script}", peer.exit_code(5), 0)
        return result, peer.stderr()

    def node_peer(self, script, request, ca, trace=True):
        """Runs a peer of Node to its end: the one JSON object that it printed. `trace` has it write every frame."""
        peer = self.start(
            script, ["node", HERE / "peers" / f"{script}.js"], stdin=json.dumps(request), env=node_environment(ca, trace)
        )
        result = peer.json_line(ENDS_WITHIN_S)
        expect(f"exit code of {script}", peer.exit_code(5), 0)
        return result

    def used(self):
        """The processes of this case: what it started, and the hub that it shared."""
        shared = self.run.program_hub if self.at_program_hub else None
        return ([shared.process] if shared is not None else []) + self.processes

    def end(self):
        for process in self.processes:
            process.kill()


def node_environment(ca, trace):
    """For Node: where packages are, whom to trust, and whether rhea writes every frame."""
    environment = {"NODE_PATH": str(NODE_MODULES), "NODE_EXTRA_CA_CERTS": str(ca)}
    return environment | ({"DEBUG": "rhea:frames"} if trace else {})


class Hub:
    """`iothub emulator run` with two devices; its stdout is the ready object and then the journal."""

    def __init__(self, run):
        ports = [] if run.own_network else ["--amqps-port", "0", "--https-port", "0"]
        self.process = run.start(
            "emulator",
            [run.iothub, "emulator", "run", "--hub", HUB, "--device", DEVICE, "--device", OTHER_DEVICE]
            + ["--state-dir", run.folder("hub"), "-o", "json", *ports],
        )
        self.ready = self.process.json_line(STARTS_WITHIN_S)
        expect("`ready` of the emulator's first line", self.ready.get("ready"), True)
        if run.own_network:
            expect("the port for AMQP over TLS where 5671 is free", self.ready["amqps_port"], 5671)

    def place(self):
        """Where and whom to trust, as the peers take it."""
        return {"host": self.ready["host"], "port": self.ready["amqps_port"], "ca": self.ready["ca"]}

    def key(self, device=DEVICE):
        parts = dict(part.split("=", 1) for part in self.ready["devices"][device].split(";"))
        return parts["SharedAccessKey"]

    def token(self, device=DEVICE, **more):
        return sas.sign(self.key(device), HOST, device, **more)

    def connection_string(self, device=DEVICE, key=None):
        string = self.ready["devices"][device]
        return string if key is None else string.replace(self.key(device), key)

    def next_event(self):
        return self.process.json_line(10)

    def stop(self):
        """SIGTERM, as a service manager would; the journal must hold nothing but what the cases have read."""
        self.process.child.send_signal(signal.SIGTERM)
        expect("exit code of the emulator", self.process.exit_code(ENDS_WITHIN_S), 0)
        expect("what else the emulator has received", self.process.unread_lines(), [])


class Listener:
    """Proton's listener for one message of one user, with a certificate and a password file of its own."""

    def __init__(self, world, user, password):
        self.folder = world.folder("listener")
        self.ca, certificate, key = server_certificate(self.folder)
        self.process = world.start(
            "proton_listen",
            [sys.executable, HERE / "peers" / "proton_listen.py"],
            stdin=json.dumps(
                {
                    "host": "127.0.0.1",
                    "port": 0,
                    "certificate": str(certificate),
                    "key": str(key),
                    "sasl_dir": str(password_file(self.folder, user, password)),
                    "messages": 1,
                    "timeout_s": ENDS_WITHIN_S,
                }
            ),
            env={"PN_TRACE_FRM": "1"},
        )
        self.port = self.process.json_line(STARTS_WITHIN_S)["port"]

    def message(self):
        return self.process.json_line(10)


def server_certificate(folder):
    """A CA and a leaf of it for `localhost`: rustls takes no CA certificate as a server's own."""
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    leaf, leaf_key = folder / "leaf.pem", folder / "leaf.key"
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    new += ["-nodes", "-days", "2"]
    run(*new, "-keyout", ca_key, "-out", ca, "-subj", "/CN=interop CA")
    signed = ["-CA", ca, "-CAkey", ca_key, "-keyout", leaf_key, "-out", leaf, "-subj", "/CN=localhost"]
    extensions = ["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"]
    run(*new, *signed, *extensions)
    return ca, leaf, leaf_key


def password_file(folder, user, password):
    """Cyrus SASL checks PLAIN against its own small database, which needs no daemon.

    A user name with "@" is a name and a realm to Cyrus, so `DEVICE@sas.HUB` is stored as DEVICE in the realm
    `sas.HUB`. The password goes in by stdin.
    """
    folder = folder / "sasl"
    folder.mkdir()
    database = folder / "users"
    (folder / "proton-server.conf").write_text(
        f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database}\nmech_list: PLAIN\n"
    )
    name, realm = user.split("@")
    run("saslpasswd2", "-p", "-c", "-f", database, "-u", realm, name, stdin=password)
    return folder


def url_of(user, token, place, device=DEVICE):
    """The double-"@" URL as the post writes it: the user bare, the token percent-encoded."""
    return f"amqps://{user}:{quote(token)}@{place}/devices/{device}/messages/events"


def run(*command, stdin=None):
    """A tool that must succeed and has nothing to say."""
    ran = subprocess.run(
        [str(part) for part in command], input=stdin, text=True, capture_output=True, timeout=ENDS_WITHIN_S
    )
    if ran.returncode != 0:
        raise Failure(f"{command[0]} ended with {ran.returncode}: {redacted(ran.stderr.strip())}")
