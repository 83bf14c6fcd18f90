#!/usr/bin/env python3
"""A run's CSV files as TensorBoard's event files, once or while it trains.

    pip install tensorboard
    python3 data/events.py --follow runs/peri runs/pre &
    tensorboard --logdir runs

Writes DIR/events.out.tfevents.*.peri, in place of those that it wrote before. Scalars are loss, grad_norm, lr,
tokens_per_s, mfu, memory_mib of every step, validation/loss, and probe/QUANTITY or probe/QUANTITY/LAYER of every
probe (docs/measurements.md). What is not a number stays out, as does a line that is being written.
"""
import argparse
import csv
import math
import sys
import time
from pathlib import Path

try:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
except ImportError:
    sys.exit("events.py: Python has no package tensorboard: pip install tensorboard")

METRICS = ("loss", "grad_norm", "lr", "tokens_per_s", "mfu", "memory_mib")
SUFFIX = ".peri"
SECONDS = 2  # between two looks


class Rows:
    """The rows of a CSV file that have come since the last look."""

    def __init__(self, path):
        self.path, self.read, self.header = path, 0, None

    def new(self):
        if not self.path.exists():
            return []
        if self.path.stat().st_size < self.read:
            raise Shortened  # a run that was resumed from an earlier step
        with open(self.path, "rb") as file:
            file.seek(self.read)
            text = file.read()
        text = text[:text.rfind(b"\n") + 1]  # without a line that is being written
        self.read += len(text)
        rows = list(csv.reader(text.decode(errors="replace").splitlines()))
        if self.header is None and rows:
            self.header = rows.pop(0)
        return [dict(zip(self.header, row)) for row in rows if len(row) == len(self.header)]


class Shortened(Exception):
    pass


class Run:
    def __init__(self, directory):
        self.directory = directory
        for old in directory.glob(f"events.out.tfevents.*{SUFFIX}"):
            old.unlink()
        self.writer = EventFileWriter(str(directory), filename_suffix=SUFFIX)
        self.metrics, self.validation, self.probe = (
            Rows(directory / f"{name}.csv") for name in ("metrics", "validation", "probe"))
        begun = [path for path in (directory / "config.json", directory / "metrics.csv") if path.exists()]
        self.start = begun[0].stat().st_mtime
        self.seconds = {0: 0.0}  # after each step, as metrics.csv tells them

    def scalar(self, tag, step, value):
        try:
            step, value = int(step), float(value)
        except ValueError:
            return
        if math.isfinite(value):
            wall = self.start + self.seconds.get(step, 0)
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            self.writer.add_event(Event(wall_time=wall, step=step, summary=summary))

    def update(self):
        """Writes what has come. Returns how many rows that was."""
        metrics = self.metrics.new()
        for row in metrics:
            step = int(row["step"])
            self.seconds[step] = self.seconds.get(step - 1, 0) + float(row["ms"]) / 1000
            for name in METRICS:
                if name in row:  # earlier versions had fewer
                    self.scalar(name, step, row[name])
        validation, probe = self.validation.new(), self.probe.new()
        for row in validation:
            self.scalar("validation/loss", row["step"], row["loss"])
        for row in probe:
            layer = f"/{int(row['layer']):03}" if row["layer"].isdigit() else ""
            self.scalar(f"probe/{row['quantity']}{layer}", row["step"], row["value"])
        self.writer.flush()
        return len(metrics) + len(validation) + len(probe)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="DIR", help="a directory that --out of ./train had")
    parser.add_argument("--follow", action="store_true", help="goes on as the runs do; Ctrl-C ends it")
    given = parser.parse_args()
    for directory in given.runs:
        if not (directory / "metrics.csv").exists():
            print(f"events.py: {directory} holds no run (metrics.csv): name a directory that --out had", file=sys.stderr)
            sys.exit(2)
    runs = {directory: Run(directory) for directory in given.runs}
    try:
        while True:
            for directory in given.runs:
                try:
                    runs[directory].update()
                except Shortened:
                    runs[directory] = Run(directory)
            if not given.follow:
                return
            time.sleep(SECONDS)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
