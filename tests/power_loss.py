#!/usr/bin/env python3
"""Power fails while a run trains: whatever of its writes has reached the disk by then, it goes on.

A run is recorded (tests/fault_shim.c, FAULT_LOG): each change of a file or a directory, in order, with its
data. Then power is cut after any of them. What a file or directory had before its last fsync is on the disk;
of what came later any part may be. A directory is made that holds what the disk then would, `--resume auto`
must bring it to the bits of a run that was never cut, from the newest checkpoint that had been completed.

usage: tests/power_loss.py TRAIN SHIM [POINTS]   POINTS: how many places (default 40, 0: every one), each tried
       with nothing of what is uncertain, with all, and torn: any part of it, drawn with a fixed seed"""

import csv
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys

FLAGS = """--size tiny --layers 1 --width 8 --heads 2 --ffn 12 --batch 2 --seq 17 --val-batches 1 --keep-best
    --quiet --steps 7 --save-every 2 --val-every 2 --probe-every 4 --keep 2 --tune off --threads 1""".split()
OUT = pathlib.Path(os.environ.get("OUT", "build/power-loss")).absolute()
BOX = OUT / "box"
RUN = BOX / "run"


# ---- what was recorded ---------------------------------------------------------------------------


class Operation:
    """One change; `on` is the file or directory whose fsync makes it certain."""

    def __init__(self, kind, on, **rest):
        self.kind, self.on, self.certain_from = kind, on, None
        self.__dict__.update(rest)


class Disk:
    """Files are numbers: bytes of each, or of a directory its names and the numbers behind them."""

    def __init__(self, start):
        self.content = [{}]
        if start:
            self.read(0, start)

    def read(self, directory, path):
        for entry in sorted(path.iterdir()):
            number = self.new({} if entry.is_dir() else bytearray(entry.read_bytes()))
            self.content[directory][entry.name] = number
            if entry.is_dir():
                self.read(number, entry)

    def new(self, content):
        self.content.append(content)
        return len(self.content) - 1

    def find(self, path):
        number = 0
        for name in pathlib.Path(path).relative_to(BOX).parts:
            number = self.content[number][name]
        return number

    def apply(self, o, part=1.0):
        """A change that has reached the disk, or where it is a write the first part of it. One of names is all
        or nothing, and does nothing where another has not come that it needs."""
        while len(self.content) <= max(o.on, getattr(o, "number", 0)):
            self.content.append(None)
        where = self.content[o.on]
        if o.kind in ("create", "mkdir"):
            if self.content[o.number] is None:
                self.content[o.number] = {} if o.kind == "mkdir" else bytearray()
            where[o.name] = o.number
        elif o.kind == "write":
            data = o.data[: int(len(o.data) * part)]
            where.extend(bytes(max(0, o.offset + len(data) - len(where))))
            where[o.offset : o.offset + len(data)] = data
        elif o.kind == "cut":
            del where[o.size :]
            where.extend(bytes(o.size - len(where)))
        elif o.kind == "rename":
            if where.get(o.name) == o.number:
                del where[o.name]
                where[o.to] = o.number
        elif o.kind == "remove":
            if where.get(o.name) == o.number and not (isinstance(self.content[o.number], dict) and self.content[o.number]):
                del where[o.name]

    def write_out(self, number, path):
        path.mkdir()
        for name, of in self.content[number].items():
            if isinstance(self.content[of], dict):
                self.write_out(of, path / name)
            else:
                (path / name).write_bytes(self.content[of])


def recorded(log, start):
    """The operations of a log, and a list of (number of operations, step) of completed checkpoints."""
    disk, operations, completed, renamed = Disk(start), [], [], {}
    data, at = log.read_bytes(), 0

    def add(operation):
        operations.append(operation)
        disk.apply(operation)

    while at < len(data):
        end = data.index(b"\n", at)
        kind, path, *rest = data[at:end].decode().split(" ")
        at = end + 1
        parent, name = disk.find(os.path.dirname(path)) if path != str(BOX) else 0, os.path.basename(path)
        if kind in ("create", "mkdir"):
            add(Operation(kind, parent, name=name, number=len(disk.content)))
        elif kind == "write":
            offset, size = map(int, rest)
            add(Operation(kind, disk.find(path), offset=offset, data=data[at : at + size]))
            at += size
        elif kind in ("truncate", "cut"):
            add(Operation("cut", disk.find(path), size=int(rest[0]) if rest else 0))
        elif kind == "rename":
            assert os.path.dirname(rest[0]) == os.path.dirname(path), "a rename between directories"
            add(Operation(kind, parent, name=name, to=os.path.basename(rest[0]), number=disk.find(path)))
            if step := re.fullmatch(r"step-(\d+)", operations[-1].to):
                renamed[parent] = renamed.get(parent, []) + [int(step[1])]
        elif kind == "remove":
            add(Operation(kind, parent, name=name, number=disk.find(path)))
        elif kind == "fsync":
            number = disk.find(path)
            for operation in operations:
                if operation.on == number and operation.certain_from is None:
                    operation.certain_from = len(operations)
            completed += [(len(operations), step) for step in renamed.pop(number, [])]
    return operations, completed


def after_cut(operations, cut, start, how, draw):
    """The disk after power failed behind `cut` operations."""
    disk = Disk(start)
    for o in operations[:cut]:
        certain = o.certain_from is not None and o.certain_from <= cut
        if certain or how == "all":
            disk.apply(o)
        elif how == "torn" and draw.random() < 0.6:
            disk.apply(o, draw.choice([0.5, 0.5, 1.0]))
        elif o.kind in ("create", "mkdir"):  # its name is not there, what is written to it later has a place
            while len(disk.content) <= o.number:
                disk.content.append(None)
            disk.content[o.number] = {} if o.kind == "mkdir" else bytearray()
    return disk


# ---- the program -----------------------------------------------------------------------------------


def train(program, *flags, **variables):
    return subprocess.run([program, *FLAGS, "--data", OUT / "text.txt", "--out", RUN, *flags], capture_output=True, text=True,
                          errors="replace", timeout=60, env={**os.environ, "GOMP_SPINCOUNT": "0", **variables})


def result(run):
    """What has to be the same: all but the times."""
    files = {name: (run / name).read_bytes() for name in ("validation.csv", "probe.csv")}
    with open(run / "metrics.csv", newline="") as rows:
        files["metrics.csv"] = [row[:5] for row in csv.reader(rows)]
    for directory in (sorted(run.glob("step-????????"))[-1], sorted(run.glob("best-????????"))[-1]):
        for file in sorted(directory.iterdir()):
            if file.name != "rows.txt":  # checksums of times
                files[f"{directory.name}/{file.name}"] = file.read_bytes()
    return files


def complaint(program, newest, whole):
    """What is wrong with a run that goes on from RUN, "" where nothing is."""
    ended = train(program, "--resume", "auto")
    said = ended.stderr.strip()
    if ended.returncode != 0:
        return f"exit code {ended.returncode}: {said}"
    resumed = re.search(r"^resumed .*step-(\d+)", ended.stdout, re.MULTILINE)
    if newest and (not resumed or int(resumed[1]) < newest):
        return f"step {newest} had been completed, and it goes on from {resumed[1] if resumed else 'the start'}; {said}"
    if newest == 0:  # what is told of rows before the first checkpoint
        said = "\n".join(line for line in said.splitlines() if "no checkpoint goes with its rows" not in line)
    if said:
        return said
    now = result(RUN)
    return ", ".join(name for name in whole if now.get(name) != whole[name])


def main():
    program, shim = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    points = int(sys.argv[3]) if len(sys.argv) > 3 else 40
    shutil.rmtree(OUT, ignore_errors=True)
    BOX.mkdir(parents=True)
    (OUT / "text.txt").write_bytes(pathlib.Path("README.md").read_bytes()[:20000])
    shimmed = {"LD_PRELOAD": shim, "FAULT_UNDER": str(BOX)}

    # A run from its beginning, and one that is resumed behind its second checkpoint
    first = train(program, FAULT_LOG=str(OUT / "train.log"), FAULT_LIST=str(OUT / "calls"), **shimmed)
    assert first.returncode == 0, first.stderr
    whole = result(RUN)
    shutil.rmtree(RUN)
    rows = [line.split() for line in open(OUT / "calls")]
    rows = [number for number, call, path in rows if call == "write" and path.endswith("/metrics.csv")]
    assert train(program, FAULT_KIND="exit", FAULT_AT=rows[5], **shimmed).returncode == 99
    shutil.copytree(BOX, OUT / "cut")
    assert train(program, "--resume", "auto", FAULT_LOG=str(OUT / "resume.log"), **shimmed).returncode == 0

    wrong = tried = places = 0
    for name, start in (("train", None), ("resume", OUT / "cut")):
        operations, completed = recorded(OUT / f"{name}.log", start)
        before = max((int(p.name[5:]) for p in start.glob("run/step-*")), default=0) if start else 0
        every = max(1, round(2 * len(operations) / points)) if points else 1
        for cut in range(random.Random(name).randrange(every), len(operations) + 1, every):
            places += 1
            newest = max([step for at, step in completed if at <= cut] + [before])
            for how in ("none", "all", "torn"):
                tried += 1
                shutil.rmtree(BOX)
                after_cut(operations, cut, start, how, random.Random(f"{name} {cut}")).write_out(0, BOX)
                if text := complaint(program, newest, whole):
                    wrong += 1
                    last = operations[cut - 1].__dict__ if cut else {}
                    last = {key: value for key, value in last.items() if key in ("kind", "name", "to", "offset")}
                    print(f"{name}, cut after {cut} of {len(operations)} changes {last}, {how} of the rest there: {text}")
    print(f"power failed at {places} places, {tried} states of the disk, each resumed and compared: {wrong} wrong")
    assert places > 20, "too few: is the shim loaded?"
    sys.exit(wrong > 0)


main()
