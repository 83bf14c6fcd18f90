#!/usr/bin/env python3
"""A long run stays as it began: memory to 1 MiB, open files, processor time a step, what --keep leaves on the disk.

A small model trains for SECONDS with everything on (validations, probes, the best weights, checkpoints) and is looked
at from outside. The first fifth is its own business; the last fifth is compared with the second. Then it is ended by
SIGTERM, resumed for a few steps, and drawn by --view with all its rows. Short runs with a leak of memory, of open files
and of time (tests/leak_shim.c) show that each would be found. Last, `small` trains with a busy loop beside it on every
core: no step takes longer than ten times the median, and one that is held up for longer is seen.

usage: tests/soak.py TRAIN LEAK_SHIM [SECONDS]   (default 40; the loaded machine gets as much, at most ten minutes)"""

import csv
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import time

OUT = pathlib.Path(os.environ.get("OUT", "build/soak"))
KEEP = 3
HOLDS, HELD = 4, 4  # times, seconds: longer than ten steps beside busy loops
ALL_ON = f"""--size tiny --layers 2 --batch 4 --steps 1000000000 --warmup 0 --decay constant --save-every 200 --keep {KEEP} --val-every 100
    --val-batches 1 --probe-every 200 --keep-best --threads 1 --tune off --quiet""".split()
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20


class Looked:
    """What is seen of a running process and its directory at one moment."""

    def __init__(self, process, run):
        proc = pathlib.Path(f"/proc/{process.pid}")
        self.memory = int((proc / "statm").read_text().split()[1]) * PAGE
        self.files = len(os.listdir(proc / "fd"))
        after_name = (proc / "stat").read_text().rpartition(")")[2].split()
        self.processor = (int(after_name[11]) + int(after_name[12])) / TICK
        self.checkpoints = len([name for name in os.listdir(run) if name.startswith("step-")])
        self.bests = len([name for name in os.listdir(run) if name.startswith("best-")])
        self.step = last_step(run / "metrics.csv")


def last_step(table):
    with open(table, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 400))
        rows = file.read().split(b"\n")[:-1]  # whole ones
    return int(rows[-1].split(b",")[0]) if rows and rows[-1][:1].isdigit() else 0


def soak(name, seconds, train, **environment):
    """Trains so long, looked at some 500 times. Returns what was seen."""
    run = OUT / name
    log = open(OUT / f"{name}.log", "w")
    process = subprocess.Popen([train, *ALL_ON, "--out", str(run)], stdout=log, stderr=log, env=os.environ | environment)
    try:
        seen, start = [], time.monotonic()
        while (passed := time.monotonic() - start) < seconds:
            time.sleep(max(0.02, seconds / 500))
            if process.poll() is not None:
                sys.exit(f"soak: {name} ended by itself after {passed:.0f} s: {(OUT / f'{name}.log').read_text()}")
            if (run / "metrics.csv").exists():
                seen.append(Looked(process, run))
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    finally:
        process.kill()
    if code != 128 + signal.SIGTERM:
        sys.exit(f"soak: {name} answered SIGTERM with exit code {code}: {(OUT / f'{name}.log').read_text()}")
    return seen


def judged(seen):
    """A line on what was seen, and a list of what is wrong with it."""
    fifth = len(seen) // 5
    early, late = seen[fifth:2 * fifth], seen[-fifth:]
    memory = [max(look.memory for look in part) for part in (early, late)]
    files = [min(look.files for look in part) for part in (early, late)]  # a checkpoint's come and go
    step = [1e3 * (part[-1].processor - part[0].processor) / max(1, part[-1].step - part[0].step) for part in (early, late)]
    checkpoints, bests = max(look.checkpoints for look in seen), max(look.bests for look in seen)
    wrong = []
    if memory[1] - memory[0] > MIB:
        wrong.append("memory")
    if files[1] != files[0]:
        wrong.append("files")
    # half as much again: another process on the core's other half slows a step by no more
    if not step[1] <= 1.5 * step[0]:
        wrong.append("time")
    # one more while it is written; each may need best weights of its own
    if checkpoints > KEEP + 1 or bests > KEEP + 2 or checkpoints < 2:
        wrong.append("disk")
    return (f"{seen[-1].step:,} steps, memory {memory[0] / MIB:.1f} MiB then {memory[1] / MIB:.1f}, open files {files[0]} then {files[1]}, "
            f"processor {step[0]:.2f} ms a step then {step[1]:.2f}, at most {checkpoints} checkpoints (--keep {KEEP}) and {bests} bests"), wrong


def used(run):
    return sum(path.stat().st_size for path in run.rglob("*") if path.is_file() and path.suffix != ".csv")


def goes_on(run, train):
    """What a long run is good for after it: it is resumed, and drawn."""
    step = last_step(run / "metrics.csv")
    times = []
    for flags in (["--resume", "auto", "--out", run, "--steps", step + 3, "--quiet"], ["--view", run]):
        start = time.monotonic()
        done = subprocess.run([train, *map(str, flags)], capture_output=True, text=True)
        times.append(time.monotonic() - start)
        if done.returncode or done.stderr:
            sys.exit(f"soak: {' '.join(map(str, flags))}: exit code {done.returncode}: {done.stderr}")
    with open(run / "metrics.csv") as file:
        rows = sum(1 for _ in file) - 1
    if rows != step + 3:
        sys.exit(f"soak: {rows} rows of metrics.csv after {step + 3} steps")
    page = (run / "view.html").stat().st_size
    print(f"soak: resumed from {step:,} rows in {times[0]:.1f} s, drawn in {times[1]:.1f} s ({page / MIB:.1f} MiB); "
          f"{used(run) / MIB:.1f} MiB beside the tables")


def loaded(seconds, train):
    """The run's steps with a busy loop on every core: their number, and the longest beside the median."""
    run = OUT / "loaded"
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count())]
    try:
        # as a user starts it: all cores, the waits of the system's OpenMP
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
        process = subprocess.Popen([train, "--steps", "1000000", "--batch", "4", "--val-every", "0", "--out", str(run), "--quiet"],
                                   stdout=subprocess.DEVNULL, env=environment)
        time.sleep(seconds)
        for _ in range(HOLDS):  # and steps that are held up; one in twelve holds falls between two steps
            process.send_signal(signal.SIGSTOP)
            time.sleep(HELD)
            process.send_signal(signal.SIGCONT)
            time.sleep(1.3)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        for one in [*loops, process]:
            one.kill()
    with open(run / "metrics.csv") as file:
        times = [float(row["ms"]) for row in csv.DictReader(file)]
    held = [ms for ms in times if ms >= 1000 * HELD]
    median = statistics.median(times)
    longest = max(ms for ms in times if ms < 1000 * HELD)
    print(f"soak: {os.cpu_count()} busy loops beside it: {len(times)} steps, median {median:.0f} ms, longest {longest:.0f} ms "
          f"({longest / median:.1f} times it); held up for {HELD} s: {len(held)} of {HOLDS} holds in a step")
    if not 1 <= len(held) <= HOLDS:
        sys.exit(f"soak: steps that were held up for {HELD} s do not show in metrics.csv")
    if not longest <= 10 * median:
        sys.exit("soak: on a loaded machine a step took more than ten times the median")


def main(train, shim, seconds=40):
    seconds = float(seconds)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    for leak in ("memory", "files", "time"):
        what, wrong = judged(soak(f"leak-{leak}", 6, train, LEAK=leak, LD_PRELOAD=shim))
        if leak not in wrong:
            sys.exit(f"soak: a leak of {leak} was not seen: {what}")
        print(f"soak: a planted leak of {leak} was seen", flush=True)
    what, wrong = judged(soak("long", seconds, train))
    print(f"soak: {seconds / 3600:.2f} hours: {what}", flush=True)
    if wrong:
        sys.exit(f"soak: does not stay as it was: {', '.join(wrong)}")
    goes_on(OUT / "long", train)
    loaded(min(max(seconds / 2, 15), 600), train)
    shutil.rmtree(OUT)


main(*sys.argv[1:])
