"""Runs the cases against the `iothub` binary; `cargo xtask interop` prepares the ground and calls this.

Every function of a `cases_*.py` module that is decorated with `@case` is a case, named after it. One line a case, a
closing line with the counts, exit code 1 when one failed.
"""

import argparse
import fcntl
import importlib
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from cases import CASES
from harness import Failure, World, redacted

CASE_DEADLINE_S = 90
TAIL_LINES = 25


def main():
    options = arguments()
    if options.check_network:
        return check_network()
    if options.network == "own":
        bring_loopback_up()
    chosen = {name: run for name, run in all_cases().items() if options.only in name}
    if not chosen:
        print(f"no case is named *{options.only}*; there are:", *CASES, sep="\n  ", file=sys.stderr)
        return 2
    world = World(options.iothub.resolve(), options.work.resolve(), options.network == "own")
    try:
        failed = sum(not passes(name, run, world) for name, run in chosen.items())
        if world.has_hub():
            chosen["the-emulator-ends-cleanly"] = ends_cleanly
            failed += not passes("the-emulator-ends-cleanly", ends_cleanly, world)
    finally:
        world.close()
    print(f"{len(chosen) - failed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iothub", type=Path, help="the binary under test")
    parser.add_argument("--work", type=Path, help="a folder of this run's own; emptied first")
    parser.add_argument("--network", choices=["own", "shared"], default="shared", help="own: a new namespace, all ports free")
    parser.add_argument("--check-network", action="store_true", help="only see whether this is an own network that serves")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="only the cases whose name has it")
    options = parser.parse_args()
    if not options.check_network and not (options.iothub and options.work):
        parser.error("--iothub and --work are needed")
    return options


def all_cases():
    for module in sorted(Path(__file__).parent.glob("cases_*.py")):
        importlib.import_module(module.stem)
    return CASES


def passes(name, run, world):
    before = len(world.processes)
    started = time.monotonic()
    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(CASE_DEADLINE_S)
    try:
        run(world)
    except Failure as failure:
        print(f"FAIL {name} {failure}")
    except Exception as bug:  # a case that breaks is a case that fails, and the others still run
        print(redacted(f"FAIL {name} {type(bug).__name__}: {bug}"))
    else:
        print(f"ok {name} {time.monotonic() - started:.1f} s", flush=True)
        return True
    finally:
        signal.alarm(0)
        world.end_case(before)
    show_processes(world.processes_since(before))
    world.drop_hub()
    return False


def ends_cleanly(world):
    world.hub().stop()


def overdue(_signal, _frame):
    raise Failure(f"the case did not end within {CASE_DEADLINE_S} s")


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
