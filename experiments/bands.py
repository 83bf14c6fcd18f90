#!/usr/bin/env python3
"""Is my curve normal? How the runs of the README's commands lie over eight seeds.

    bands.py [--minutes N]    does the runs that are missing, then writes data/bands.json

What the program carries inside and compares runs with (src/jobs/bands.h): means and standard deviations over the
seeds of the loss and of the logarithms of gradient norm and hidden variance. No claim of the report rests on it.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from math import log
from pathlib import Path
from statistics import mean, stdev

from lab import HERE, RESULTS, TRAIN, Run, read, record, text, train

SEEDS = (1, 2, 3, 4, 5, 6, 7, 8)
COMMANDS = (("stories", "peri", "4e-3"), ("book", "peri", "8e-3"), ("book", "pre", "8e-3"))
STEPS, PROBE, WINDOW = 200, 20, 10
OUTPUT = HERE.parent / "data/bands.json"


@dataclass(frozen=True)
class Readme(Run):
    """A command of the README, of which only what changes no result is set otherwise."""

    def settings(self):
        settings = {"norm": self.norm, "lr": self.lr, "seed": self.seed, "steps": STEPS}
        return settings | ({"data": text()} if self.scale == "book" else {})

    def command(self, out):
        words = [TRAIN] + [str(word) for flag, value in self.settings().items()
                           for word in (f"--{flag}", value)]
        return words + ["--save-every", "0", "--probe-every", str(PROBE), "--threads", "1",
                        "--tune", "off", "--quiet", "--out", str(out)]


def runs_of(command):
    return [Readme(*command, seed) for seed in SEEDS]


def config(run):
    """The settings that ./train takes the command to mean, but for the place of the data."""
    with tempfile.TemporaryDirectory() as folder:
        started = subprocess.Popen(run.command(folder), stdout=subprocess.DEVNULL)
        path = Path(folder) / "config.json"
        while not path.exists() and started.poll() is None:
            time.sleep(0.1)
        started.kill()
        started.wait()
        return json.loads(path.read_text()) | {"data": ""}


def spread(values):
    """[mean, standard deviation] of what the seeds have, to four digits."""
    return [float(f"{value:.4g}") for value in (mean(values), stdev(values))]


def over_windows(runs, column, of=lambda v: v):
    """{step: spread} of the mean over the steps up to it."""
    series = [[of(value) for _, value in run.series(column)] for run in runs]
    return {step: spread([mean(values[step - WINDOW:step]) for values in series])
            for step in range(WINDOW, STEPS + 1, WINDOW)}


def band(runs):
    """What the runs of a command show."""
    layers = sorted(runs[0].profile("hidden_variance"))
    variance = lambda step: [spread([log(run.profile("hidden_variance", step)[s]) for run in runs])
                             for s in layers]
    return {"window": WINDOW, "seeds": len(runs),
            "loss": over_windows(runs, "loss"),
            "log_grad_norm": over_windows(runs, "grad_norm", log),
            "log_hidden_variance": {step: variance(step) for step in runs[0].steps}}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, help="start no further run after so many")
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes if given.minutes is not None else float("inf")
    done = lambda: {result.row["name"]: result for result in read(RESULTS / "bands")}
    for run in (run for command in COMMANDS for run in runs_of(command)):
        if run.name not in done() and time.monotonic() < end:
            out, code, seconds = train(run)
            record("bands", run, out, code, seconds)
            print(f"{run.name}: exit code {code}, {seconds:.0f} s", flush=True)
    found = done()
    bands = []
    for command in COMMANDS:
        runs = runs_of(command)
        if any(run.name not in found for run in runs):
            sys.exit(f"runs of {command} are missing: go on with experiments/bands.py")
        bands.append({"settings": config(runs[0]),
                      "data_bytes": text().stat().st_size if command[0] == "book" else 0}
                     | band([found[run.name] for run in runs]))
    OUTPUT.write_text(json.dumps(bands, separators=(",", ":")).replace('{"settings"', '\n{"settings"')
                      + "\n")


if __name__ == "__main__":
    main()
