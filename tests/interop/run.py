"""Runs the cases against the `iothub` binary; `cargo xtask interop` prepares the ground and calls this.

Every function of a `cases_*.py` module that is decorated as one is a case, named after it. Some run beside each other.
One line a case, a closing line with the counts, exit code 1 when one failed.
"""

import argparse
import fcntl
import importlib
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ledger
from cases import CASES, IN_TURN
from harness import Failure, Run, Skipped, World, redacted

CASE_DEADLINE_S = 120
# Most of a case is waiting: for a program to start, and for its peer.
SIDE_BY_SIDE = 4
TAIL_LINES = 25

printing = threading.Lock()


def main():
    options = arguments()
    if options.check_network:
        return check_network()
    if options.network == "own":
        bring_loopback_up()
    all_cases()
    gaps = ledger.read(options.ledger, CASES)
    chosen = {name: case for name, case in CASES.items() if options.only in name}
    if not chosen:
        print(f"no case is named *{options.only}*; there are:", *CASES, sep="\n  ", file=sys.stderr)
        return 2
    programs = [path.resolve() for path in (options.iothub, options.hub, options.client)]
    run = Run(*programs, options.work.resolve(), options.network == "own")
    in_turn = [name for name in chosen if name in IN_TURN]
    beside = [name for name in chosen if name not in IN_TURN]
    try:
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            turns = pool.submit(lambda: [judged(name, chosen[name], run, gaps) for name in in_turn])
            verdicts = list(pool.map(lambda name: judged(name, chosen[name], run, gaps), beside))
            verdicts += turns.result()
        if run.program_hub is not None:
            verdicts.append(judged("the-emulator-ends-cleanly", lambda world: world.hub().stop(), run, gaps))
    finally:
        run.close()
    count = {verdict: verdicts.count(verdict) for verdict in ("passed", "failed", "gap", "skipped")}
    known = f", {count['gap']} known gaps" if count["gap"] else ""
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    print(f"{count['passed']} passed, {count['failed']} failed{known}{skipped}", flush=True)
    return 1 if count["failed"] else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iothub", type=Path, help="the binary under test")
    parser.add_argument("--hub", type=Path, help="the program that hosts the emulator as a library")
    parser.add_argument("--client", type=Path, help="the program that hosts the client as a library")
    parser.add_argument("--work", type=Path, help="a folder of this run's own; emptied first")
    parser.add_argument("--ledger", type=Path, default=Path(__file__).parents[1] / "ledger.toml", help="the known gaps")
    parser.add_argument("--network", choices=["own", "shared"], default="shared", help="own: a new namespace, all ports free")
    parser.add_argument("--check-network", action="store_true", help="only see whether this is an own network that serves")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="only the cases whose name has it")
    options = parser.parse_args()
    if not options.check_network and not (options.iothub and options.hub and options.client and options.work):
        parser.error("--iothub, --hub, --client and --work are needed")
    return options


def all_cases():
    for module in sorted(Path(__file__).parent.glob("cases_*.py")):
        importlib.import_module(module.stem)


def judged(name, case, run, gaps):
    """Runs a case, says what came of it, and gives that in a word."""
    started = time.monotonic()
    world = World(run, name)
    overdue = threading.Timer(CASE_DEADLINE_S, world.end)
    overdue.start()
    try:
        case(world)
        trouble = None
    except Skipped as why:
        return said("skipped", f"skip {name} {why}", world)
    except Failure as failure:
        trouble = str(failure)
    except Exception as bug:  # a case that breaks is a case that fails, and the others still run
        return said("failed", f"FAIL {name} {type(bug).__name__}: {bug}", world)
    finally:
        overdue.cancel()
        world.end()
    took = f"{time.monotonic() - started:.1f} s"
    gap = gaps.get(name)
    if gap is not None:
        verdict, line = gap.judged(trouble)
        return said(verdict, f"{line} {took}", world)
    if trouble is not None:
        return said("failed", f"FAIL {name} {trouble}", world)
    return said("passed", f"ok {name} {took}", world)


def said(verdict, line, world):
    with printing:
        print(redacted(line), flush=True)
        if verdict == "failed":
            show_processes(world.used())
    if verdict == "failed":
        world.drop_hub()
    return verdict


def show_processes(processes):
    for process in processes:
        said = redacted(process.stderr()).splitlines()
        print(f"     {process.name} said on stderr:" if said else f"     {process.name} said nothing on stderr")
        if len(said) > TAIL_LINES:
            print(f"       … {len(said) - TAIL_LINES} lines more, in {process.log}")
        for line in said[-TAIL_LINES:]:
            print(f"       {line[:400]}")
    sys.stdout.flush()


def check_network():
    """In a namespace of one's own nobody listens on 443, and binding it needs no root."""
    bring_loopback_up()
    with socket.create_server(("127.0.0.1", 443)), socket.create_connection(("127.0.0.1", 443), timeout=5):
        return 0


def bring_loopback_up():
    """A new network namespace has its `lo` down: `ip link set lo up`, without asking for iproute2.

    From netdevice(7): struct ifreq is a name of 16 bytes and then the flags.
    """
    SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack("16xH22x", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))


if __name__ == "__main__":
    sys.exit(main())
