"""How long the command line takes to start and end, beside Node's doing nothing; and how large it is."""

import os
import shutil
import statistics
import subprocess
import time

from world import median, output, table

# Of each contender, in each round.
STARTS = 15
# Made up.
KEY = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="


def run(world):
    key = world.work / "startup.key"
    key.write_text(KEY)
    commands = {
        "`iothub --version`": [world.iothub, "--version"],
        "`iothub sas sign`": [world.iothub, "sas", "sign", "--hub", "myhub", "--device", "dev1", "--key-file", key],
        "`true`": ["true"],
    }
    contenders = {"node": ["node", "-e", "0"], **commands}
    results = {name: [] for name in contenders}
    for _ in range(STARTS):
        for name, found in world.rounds_of({name: lambda command=command: start(command) for name, command in contenders.items()}).items():
            results[name] += found
    rows = []
    for name in commands:
        cells = [name]
        for measure in (elapsed, cpu):
            ratios = [measure(ours) / measure(node) for ours, node in zip(results[name], results["node"])]
            quarters = statistics.quantiles(ratios, n=4)
            cells.append(f"{quarters[1]:.3f} ({quarters[0]:.3f}–{quarters[2]:.3f})")
        for which in (name, "node"):
            cells += [f"{median(measure, results[which]):.1f}" for measure in (elapsed, cpu)]
        rows.append(cells)
    columns = ("command", "time, ours / `node -e 0`", "CPU", "ours, ms", "CPU, ms", "Node, ms", "CPU, ms")
    pairs = STARTS * world.rounds
    table(f"Start to end of a process, {pairs} pairs: median (first–third quarter); `true` is what starting any program costs", columns, rows)

    stripped = world.work / "iothub.stripped"
    shutil.copy(world.iothub, stripped)
    subprocess.run(["strip", stripped], check=True)
    sizes = [f"{file.stat().st_size / 1e6:.1f} MB" for file in (world.iothub, stripped)]
    table(f"The program `iothub`, as released ({output('rustc', '--print', 'host-tuple')})", ("as built", "after `strip`"), [sizes])


def start(command):
    """A process that is started and waited for: (seconds, seconds of CPU)."""
    words = [str(word) for word in command]
    nothing = os.open(os.devnull, os.O_RDWR)
    started = time.perf_counter()
    # Not by subprocess, whose own part of the work is of the size of what is measured.
    actions = [(os.POSIX_SPAWN_DUP2, nothing, number) for number in (0, 1, 2)]
    process = os.posix_spawnp(words[0], words, os.environ, file_actions=actions)
    _, status, used = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    os.close(nothing)
    if status != 0:
        raise SystemExit(f"{' '.join(words)} failed")
    return seconds, used.ru_utime + used.ru_stime


def elapsed(result):
    return result[0] * 1000


def cpu(result):
    return result[1] * 1000
