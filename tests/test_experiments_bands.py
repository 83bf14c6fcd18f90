"""data/bands.json is what bands.py makes of the recorded runs, and a run that the others do not know is normal."""
import json
import sys
import unittest
from math import log
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "experiments"))
import bands  # noqa: E402
import lab  # noqa: E402

WIDTH, LEAST = 4, {"loss": 0.005, "grad_norm": 0.02, "variance": 0.02}  # as src/jobs/bands.cpp


def recorded():
    return {r.row["name"]: r for r in lab.read(ROOT / "experiments/results/bands")}


def series(run):
    windows = range(bands.WINDOW, bands.STEPS + 1, bands.WINDOW)
    of = {column: [log(v) if column == "grad_norm" else v for _, v in run.series(column)] for column in ("loss", "grad_norm")}
    found = {column: [mean(values[end - bands.WINDOW:end]) for end in windows] for column, values in of.items()}
    return found | {"variance": [[log(v) for v in run.profile("hidden_variance", step).values()] for step in run.steps]}


class Bands(unittest.TestCase):
    def test_file(self):
        runs = recorded()
        for command, written in zip(bands.COMMANDS, json.loads((ROOT / "data/bands.json").read_text()), strict=True):
            made = json.loads(json.dumps(bands.band([runs[run.name] for run in bands.runs_of(command)])))
            for key, value in made.items():
                with self.subTest(command=command, key=key):
                    self.assertEqual(written[key], value)
            self.assertEqual(written["settings"]["norm"], command[1])
            self.assertEqual(written["settings"]["lr"], float(command[2]))

    def test_each_seed_is_normal_to_the_others(self):
        runs = recorded()

        def outside(value, others, least):
            return abs(value - mean(others)) > WIDTH * max(stdev(others), least)

        for command in bands.COMMANDS:
            made = [series(runs[run.name]) for run in bands.runs_of(command)]
            for i, one in enumerate(made):
                others = made[:i] + made[i + 1:]
                for column in ("loss", "grad_norm"):
                    out = [outside(value, [other[column][t] for other in others], LEAST[column])
                           for t, value in enumerate(one[column])]
                    self.assertEqual(len(out), 20)
                    self.assertFalse(any(a and b for a, b in zip(out, out[1:])), (command, i, column))
                self.assertEqual(len(one["variance"]), 11)
                for t, profile in enumerate(one["variance"]):
                    out = [outside(value, [other["variance"][t][s] for other in others], LEAST["variance"])
                           for s, value in enumerate(profile)]
                    self.assertLess(2 * sum(out), len(profile), (command, i, t))

    def test_readme(self):
        """What the README says of its picture."""
        runs, page = recorded(), " ".join((ROOT / "README.md").read_text().split())
        growth = {}
        for command in bands.COMMANDS[1:]:
            made = [runs[run.name] for run in bands.runs_of(command)]
            ends = [(r.profile("hidden_variance", 0)[24], r.profile("hidden_variance")[24]) for r in made]
            growth[command[1]] = sorted(end / start for start, end in ends), sorted(start for start, _ in ends)
        pre, starts = growth["pre"]
        self.assertIn(f"Pre-LN's variance grows {round(pre[0], -4):,.0f}- to {round(pre[-1], -4):,.0f}-fold", page)
        self.assertTrue(0.02 < starts[0] and starts[-1] < 0.03)
        peri, starts = growth["peri"]
        self.assertIn(f"Peri-LN's {peri[0]:.1f}- to {peri[-1]:.1f}-fold, from above 20", page)
        self.assertGreater(starts[0], 20)


if __name__ == "__main__":
    unittest.main()
