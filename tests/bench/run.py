"""Measures our client and our emulator against software that we did not write, and prints the rows of BENCHMARKS.md.

Machines differ and change their speed, so what counts is ratios within a round: in each round every contender of a case
runs once, in an order that turns, and each ratio is that of two runs of one round.
"""

import argparse
import sys
import time
from pathlib import Path

import fleets
import ingest
import reading
import senders
import startup
import watching
from world import World

SECTIONS = {
    "ingest": ingest.run,
    "reading": reading.run,
    "client": senders.against_proton,
    "node": senders.against_node,
    "fleet": fleets.run,
    "startup": startup.run,
    "watch": watching.run,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iothub", required=True, type=Path, help="the program `iothub`, release")
    parser.add_argument("--bench", required=True, type=Path, help="the program `iothub-bench`, release")
    parser.add_argument("--work", required=True, type=Path, help="a folder, emptied first")
    parser.add_argument("--only", choices=SECTIONS, help="only this section")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()

    started = time.monotonic()
    world = World(options.iothub, options.bench, options.work.resolve(), options.rounds)
    try:
        world.print_header()
        for name, section in SECTIONS.items():
            if options.only in (None, name):
                section(world)
    finally:
        world.close()
    print(f"{time.monotonic() - started:.0f} s")


sys.exit(main())
