"""How the runs of the README's commands lie over seeds: what ./train and its page (--view) compare a run with.

Not of the paper. data/bands.csv, which the program carries inside, is written here from these runs.
"""
from dataclasses import dataclass

from lab import FAST, TRAIN, Run, text

SECTION = "Is my curve normal?"
SEEDS = (1, 2) if FAST else (1, 2, 3, 4, 5, 6, 7, 8)
PROBE = 20


@dataclass(frozen=True)
class Readme(Run):
    """A command of the README: all that its flags leave out is ./train's default."""

    def settings(self):
        settings = {"norm": self.norm, "lr": self.lr, "seed": self.seed, "steps": 200}
        if self.scale == "book":
            settings["data"] = text()
        if FAST:
            settings.update(size="tiny", steps=30)
        return settings

    def command(self, out):
        words = [TRAIN]
        for flag, value in self.settings().items():
            words += [f"--{flag}", str(value)]
        return words + ["--save-every", "0", "--probe-every", str(PROBE), "--threads", "1",
                        "--tune", "off", "--quiet", "--out", str(out)]

    def estimate(self):
        """Seconds on one core (AMD EPYC, Zen 3)."""
        return 1 if FAST else 110


COMMANDS = (("stories", "peri", "4e-3"), ("book", "peri", "8e-3"), ("book", "pre", "8e-3"))


def runs_of(scale, norm, lr):
    return [Readme(scale, norm, lr, seed, probe=PROBE) for seed in SEEDS]


def wanted():
    return sorted((run for command in COMMANDS for run in runs_of(*command)),
                  key=lambda run: run.seed)


def figures():
    return []


def claims():
    return []
