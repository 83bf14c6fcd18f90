"""Runs of ./train, each done once, and what was measured in them.

A recipe (growth.py, learning_rate.py, ...) names runs by their settings. `perform` does those that
are missing, as many at a time as there are cores, a thread each, and appends what they measured to
results/RECIPE/*.csv, which stay in the repository:

    runs.csv     a run a row: number, name, exit code, losses, seconds, machine, the command
    metrics.csv  run, step, loss, grad_norm
    probe.csv    run, step, layer, quantity, value     (./train's probe.csv, thinned)
    validation.csv  run, step, loss
    rounded.csv  run, format, loss   of the finished model, evaluated with --fake-quant

A line holds a whole series (of a run of more than 1,000 steps every tenth alone): its numbers, with spaces between, are those of the named step (in
probe.csv: layer) and of the ones that follow.

Only Python's own library is used. Equal runs of several recipes are one run; what a recipe needs to
see of runs that others name as well, it says in its needs(run), and report.py heeds that.
"""
import csv
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, pairwise
from pathlib import Path

HERE = Path(__file__).resolve().parent
FAST = bool(os.environ.get("FAST"))  # everything small: shows that the machinery works, no more
RESULTS = Path(os.environ.get("RESULTS", HERE.parent / "build/experiments/results" if FAST
                              else HERE / "results"))
WORK = Path(os.environ.get("RUNS", HERE.parent / "build/experiments/runs" if FAST  # what ./train writes
                           else HERE.parent / "runs/experiments"))
TEXTS = WORK / "texts/*.txt"  # of training that is long enough
TRAIN = str(Path(os.environ.get("TRAIN", HERE.parent / "train")).resolve())
JOBS = int(os.environ.get("JOBS", os.cpu_count()))

STEPS = 30 if FAST else 300
# Two widths; all else is ./train's default (AdamW, decay 0.033, clip 1, cosine after 10 % warmup).
SCALES = {
    "S64": dict(layers=12, width=64, heads=4, ffn=192, seq=64, batch=16, steps=STEPS),
    "S128": dict(layers=12, width=128, heads=4, ffn=384, seq=64, batch=16, steps=STEPS),
}


def parameters(layers, width, ffn):
    """Without the embedding's, the head's and the norms'."""
    return layers * (4 * width * width + 3 * width * ffn)


def long_enough(width, batch=32, seq=64, bytes_a_parameter=20):
    """A scale that sees so many bytes for each parameter, none twice."""
    steps = STEPS if FAST else -(-bytes_a_parameter * parameters(12, width, 3 * width) // (batch * seq))
    return dict(layers=12, width=width, heads=4, ffn=3 * width, seq=seq, batch=batch, steps=steps)


# Widths of training that is long enough to count; on all texts, each window once.
SCALES |= {f"C{width}": long_enough(width) for width in (24, 32, 48, 64, 96)}

THREE = ("post", "pre", "peri")
# Best rates are chosen on SEEDS; what compares placements at these uses LATER (claims.md).
SEEDS = (11, 12) if FAST else (11, 12, 13)
LATER = (14, 15) if FAST else (14, 15, 16, 17, 18, 19, 20)
RATES = ("2e-3", "8e-3") if FAST else ("1e-3", "2e-3", "4e-3", "8e-3", "1.6e-2", "3.2e-2", "6.4e-2")

# Seconds of a training step of S64 on one core, for estimates only (AMD EPYC, Zen 3).
SECONDS_A_STEP = 0.11


@dataclass(frozen=True)
class Run:
    """One run. `flags` are those in which it differs from its scale. Runs are the same if their
    names are, however often they are looked at: probed every so many steps (`probe`), probed as
    often but with little kept of it (`watch`), validated (`validate`), 0: at the ends alone; and
    evaluated at the end with these formats (`rounded`); `sharp`: the steps between measurements of
    the Hessians."""
    scale: str
    norm: str
    lr: str
    seed: int
    flags: tuple = ()
    probe: int = field(default=0, compare=False)
    watch: int = field(default=0, compare=False)
    validate: int = field(default=0, compare=False)
    rounded: tuple = field(default=(), compare=False)
    sharp: int = field(default=0, compare=False)

    @property
    def name(self):
        parts = [self.scale, self.norm, self.lr, str(self.seed)]
        return " ".join(parts + [f"{flag}={value}" for flag, value in self.flags])

    def settings(self):
        settings = dict(SCALES[self.scale], norm=self.norm, lr=self.lr, seed=self.seed)
        settings.update((flag.replace("_", "-"), value) for flag, value in self.flags)
        if FAST:
            settings.update(layers=min(settings["layers"], 3), width=16, heads=2, ffn=24, seq=16,
                            batch=2, steps=STEPS)
        return settings

    def command(self, out):
        """The words of the command, which gives the same bits on every machine of a kind."""
        words, data = [TRAIN], text()
        if self.scale.startswith("C"):
            words, data = [TRAIN, "--draw", "once"], TEXTS
        for flag, value in self.settings().items():
            words += [f"--{flag}"] if value is True else [f"--{flag}", str(value)]
        steps = self.settings()["steps"]
        probe = self.probe or self.watch or steps
        probe = min(probe, steps // 3) if FAST else probe
        validate = self.validate or steps
        save = steps if self.rounded else 0
        sharp = min(self.sharp, steps // 3) if FAST else self.sharp
        words += ["--sharpness-every", str(sharp)] if sharp else []
        return words + ["--data", str(data), "--val-batches", "16", "--val-every", str(validate),
                        "--save-every", str(save), "--probe-every", str(probe), "--threads", "1",
                        "--tune", "off", "--quiet", "--out", str(out)]

    def told(self):
        """The command as runs.csv has it."""
        words = ["./train"] + self.command("DIR")[1:]
        for path, name in ((TEXTS, "'texts/*.txt'"), (WORK / "gcide.txt", "gcide.txt")):
            words = [name if word == str(path) else word for word in words]
        return " ".join(words)

    def estimate(self):
        """Seconds on one core."""
        s, base = self.settings(), SCALES["S64"]
        work = lambda s: s["layers"] * s["width"] ** 1.5 * s["seq"] * s["batch"]  # as measured
        return SECONDS_A_STEP * s["steps"] * work(s) / work(base) * (0.01 if FAST else 1)


def runs(scale, norms, rates, seeds, probe=0, **flags):
    """All combinations."""
    return [Run(scale, norm, rate, seed, tuple(sorted(flags.items())), probe)
            for seed in seeds for rate in rates for norm in norms]


@lru_cache(maxsize=None)
def placements():
    """The names of all placements, from ./train itself."""
    try:
        listed = subprocess.run([TRAIN, "--norm", "list"], capture_output=True, text=True,
                                check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        sys.exit(f"{TRAIN} is not built, or too old to list the placements: run make")
    return tuple(line.split()[0] for line in listed.splitlines())


def unpacked(name, path, remedy):
    """A dictionary's text, unpacked once."""
    if not path.exists():
        packed = Path(f"/usr/share/dictd/{name}.dict.dz")
        if not packed.exists():
            sys.exit(f"{packed} is missing: on Debian and Ubuntu, {remedy}")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with open(part, "wb") as out:
            subprocess.run(["zcat", str(packed)], stdout=out, check=True)
        part.rename(path)
    return path


def text():
    """The dictionary's text."""
    return unpacked("gcide", WORK / "gcide.txt", "make deps")


def unpack_texts():
    """Four dictionaries, 78 MB."""
    for name in ("gcide",) if FAST else ("gcide", "wn", "foldoc", "jargon"):
        unpacked(name, TEXTS.parent / f"{name}.txt", f"apt-get install dict-{name}")


def end_of_text():
    """16 KiB of what ./train holds out of it."""
    path = WORK / "gcide-end.txt"
    if not path.exists():
        with open(text(), "rb") as whole:
            whole.seek(int(0.97 * text().stat().st_size))
            part = path.with_suffix(".part")
            part.write_bytes(whole.read(1 << 14))
        part.rename(path)
    return path


# ---- what has been measured ---------------------------------------------------------------------

class Result:
    """A finished run. Layers count sub-layers, 0: what enters the first. Step -1 is the last."""

    def __init__(self, row):
        self.row = row
        self.metrics = []     # (step, loss, grad_norm)
        self.validation = []  # (step, loss), the last being the end's
        self.probe = {}       # quantity -> step -> layer -> value; layer None: the whole model
        self.rounded = {}     # format -> loss of the finished model
        self.again = None     # the Result of the same run made for its sharpness

    diverged = property(lambda self: self.row["exit"] == "3")
    loss = property(lambda self: float(self.row["val_loss"]))  # validation, at the end
    # at which it was probed
    steps = property(lambda self: sorted(self.probe.get("hidden_variance", ())))

    def probed(self, every):
        """Whether it was looked at so often, and all kept that `kept` keeps of such a run."""
        return "hidden_mean_abs" in self.probe and all(
            b - a <= every for a, b in pairwise(self.steps))

    def series(self, column):
        """[(step, loss or grad_norm)]"""
        at = {"loss": 1, "grad_norm": 2}[column]
        return [(row[0], row[at]) for row in self.metrics]

    def profile(self, quantity, step=-1):
        """{layer: value} at the first (0), the last (-1) or a given step."""
        at = self.probe.get(quantity, {})
        return at.get(max(at) if step == -1 and at else step, {})

    def value(self, quantity, step=-1, layer=None):
        return self.profile(quantity, step).get(layer, float("nan"))

    def over_time(self, quantity, layer=None):
        return [(step, at[layer]) for step, at in sorted(self.probe.get(quantity, {}).items())
                if layer in at]


_results = None  # name -> Result, filled at first use


def rows_of(path):
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def numbers(text):
    return [float(word) for word in text.split()]


def read(folder):
    """The finished runs of a recipe. Rows of a run that was cut off are passed over."""
    found = {row["run"]: Result(row) for row in rows_of(folder / "runs.csv")}
    of_finished = lambda name: (row for row in rows_of(folder / name) if row["run"] in found)
    for row in of_finished("metrics.csv"):
        losses, norms = numbers(row["loss"]), numbers(row["grad_norm"])
        found[row["run"]].metrics += list(zip(count(int(row["step"])), losses, norms))
    for row in of_finished("validation.csv"):
        found[row["run"]].validation.append((int(row["step"]), float(row["loss"])))
    for row in of_finished("rounded.csv"):
        found[row["run"]].rounded[row["format"]] = float(row["loss"])
    for row in of_finished("probe.csv"):
        steps = found[row["run"]].probe.setdefault(row["quantity"], {})
        at = steps.setdefault(int(row["step"]), {})
        for i, value in enumerate(numbers(row["value"])):
            at[int(row["layer"]) + i if row["layer"] else None] = value
    return found.values()


def results():
    """All finished runs that claims may rest on, by name; of two the one of which more is known. One
    made again for its sharpness is that one's `again`, where it is not alone: another machine's bits
    are others, and no number changes because more was measured."""
    global _results
    if _results is None:
        found = sorted((result for folder in sorted(RESULTS.glob("*/")) if folder.name != "bands"
                        for result in read(folder)),
                       key=lambda r: (len(r.rounded), len(r.steps), len(r.probe)))
        sharp, others = ({r.row["name"]: r for r in found if ("sharpness" in r.probe) == measured}
                         for measured in (True, False))
        for name in sharp.keys() & others.keys():
            others[name].again = sharp[name]
        _results = sharp | others
    return _results


def wide_results():
    """Those with nothing rounded to few bits, for what reads all runs there are."""
    return {name: r for name, r in results().items()
            if "precision=fp16" not in name and "fake_quant=" not in name}


def result(run):
    """None where it has not been made, or not been looked at as is asked for."""
    found = results().get(run.name)
    if found and run.sharp:
        found = found.again or found
    if not found or (run.probe and not found.probed(run.probe)):
        return None
    evaluated = found.diverged or set(run.rounded) <= set(found.rounded)
    return found if evaluated and (not run.sharp or "sharpness" in found.probe) else None


def finished(wanted):
    """[(run, result)] of those that have been made."""
    return [(run, result(run)) for run in wanted if result(run)]


# ---- doing what is missing ----------------------------------------------------------------------

# Of the profiles between start and end of a run, those that a figure or claim asks for over time.
OVER_TIME = ("hidden_variance", "hidden_mean_abs", "output_variance", "residual_covariance",
             "output_gamma_mean", "output_gamma_min", "spike", "largest_001", "largest_100",
             "beyond_fp16")
# Of the runs that are probed at the start and the end only, what is kept at all.
BRIEF = ("hidden_variance", "weight_gradient_norm", "hidden_gradient_norm", "output_gamma_min",
         "angular_distance_1", "spike", "largest_001", "beyond_fp16", "outlier_share",
         "outlier_kurtosis")
# Of those that are watched, what is kept of the probes between.
WATCHED = ("hidden_variance", "largest_001", "beyond_fp16")
LARGEST = ("largest_001", "largest_010", "largest_100")


def kept(run, row, last):
    """Whether a row of ./train's probe.csv goes into the results."""
    quantity, ends = row["quantity"], int(row["step"]) in (0, last)
    if quantity.startswith("largest_") and quantity not in LARGEST:
        return False
    if not row["layer"] or quantity == "hidden_sharpness":  # of the whole model, or of three states
        return True
    if run.probe:
        return ends or quantity in OVER_TIME
    return quantity in (BRIEF if ends else WATCHED)


def series(rows, column):
    return " ".join(f"{float(row[column]):.4g}" for row in rows)


def by_layer(rows):
    """./train's probe.csv with all layers in one line: step, first layer, quantity, values."""
    groups = {}
    for row in rows:
        groups.setdefault((row["step"], row["quantity"]), []).append(row)
    lines = []
    for (step, quantity), group in groups.items():
        if quantity == "hidden_sharpness":  # of a few layers alone
            lines += [[step, row["layer"], quantity, series([row], "value")] for row in group]
            continue
        if group[0]["layer"]:
            group.sort(key=lambda row: int(row["layer"]))
            layers = [int(row["layer"]) for row in group]
            assert layers == list(range(layers[0], layers[-1] + 1)), f"{quantity}: layers miss"
        lines.append([step, group[0]["layer"], quantity, series(group, "value")])
    return lines


def append(path, header, rows):
    new = not path.exists()
    with open(path, "a", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        if new:
            out.writerow(header)
        out.writerows(rows)
        file.flush()
        os.fsync(file.fileno())


def machine():
    """"AMD EPYC, 2 cores"."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} cores"


def record(recipe, run, out, code, seconds):
    """Appends what the run measured; the row in runs.csv, which makes it count, comes last."""
    folder = RESULTS / recipe
    folder.mkdir(parents=True, exist_ok=True)
    done = [int(row["run"]) for name in ("runs", "metrics", "validation", "probe", "rounded")
            for row in rows_of(folder / f"{name}.csv")]
    number = max(done, default=0) + 1
    metrics, probe = rows_of(out / "metrics.csv"), rows_of(out / "probe.csv")
    last = max((int(row["step"]) for row in probe if row["layer"]), default=0)
    log = (out / "log").read_text(errors="replace")
    final = {key: line.split()[-1] for line in log.splitlines() for key in ("train", "val")
             if line.startswith(f"final {key} loss ")}
    lines = [metrics] if len(metrics) <= 1000 else [[row] for row in metrics[::10]]
    append(folder / "metrics.csv", ["run", "step", "loss", "grad_norm"],
           [[number, line[0]["step"], series(line, "loss"), series(line, "grad_norm")]
            for line in lines])
    append(folder / "validation.csv", ["run", "step", "loss"],
           [[number, row["step"], series([row], "loss")]
            for row in rows_of(out / "validation.csv")])
    append(folder / "probe.csv", ["run", "step", "layer", "quantity", "value"],
           [[number, *line] for line in by_layer(row for row in probe if kept(run, row, last))])
    if rounded := rows_of(out / "rounded.csv"):
        append(folder / "rounded.csv", ["run", "format", "loss"],
               [[number, row["format"], row["loss"]] for row in rounded])
    append(folder / "runs.csv",
           ["run", "name", "exit", "val_loss", "train_loss", "seconds", "date", "machine",
            "command"],
           [[number, run.name, code, final.get("val", "nan"), final.get("train", "nan"),
             f"{seconds:.0f}", time.strftime("%Y-%m-%d"), machine(), run.told()]])


def train(run):
    """Runs ./train anew. Returns its directory, exit code and seconds."""
    out = WORK / run.name.replace(" ", "_")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    start = time.monotonic()
    with open(out / "log", "w") as log:
        code = subprocess.run(run.command(out), stdout=log, stderr=subprocess.STDOUT).returncode
    seconds = time.monotonic() - start
    if code == 0 and run.rounded:
        append(out / "rounded.csv", ["format", "loss"],
               [[each, rounded_loss(out, each)] for each in run.rounded])
    return out, code, seconds


def rounded_loss(out, spec):
    """Of the finished model on end_of_text; infinite where the format does not hold its numbers."""
    told = subprocess.run([TRAIN, "--evaluate", "--init-from", str(out), "--data",
                           str(end_of_text()), "--fake-quant", spec, "--threads", "1", "--tune",
                           "off"], capture_output=True, text=True)
    if found := re.search(r"^loss +(\S+)", told.stdout, re.M):
        return found[1]
    assert "not finite" in told.stderr, told.stderr
    return "inf"


def perform(recipe, wanted, minutes=None):
    """Does what is missing of `wanted`; starts no run after so many minutes. Returns how many are
    left."""
    global _results
    missing = list({run.name: run for run in wanted if not result(run)}.values())
    if not missing:
        return 0
    text()
    if any(run.scale.startswith("C") for run in missing):
        unpack_texts()
    total = sum(run.estimate() for run in missing) / JOBS / 60
    print(f"{recipe}: {len(missing)} runs to do, about {total:.0f} minutes on {JOBS} cores",
          flush=True)
    end = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    left = 0
    with ThreadPoolExecutor(JOBS) as pool:
        jobs = [pool.submit(lambda run: time.monotonic() < end and (run, *train(run)), run)
                for run in missing]
        for job in jobs:
            done = job.result()
            if not done:
                left += 1
                continue
            run, out, code, seconds = done
            if code not in (0, 3):
                pool.shutdown(cancel_futures=True)
                sys.exit(f"{run.name}: exit code {code}; see {out}/log")
            record(recipe, run, out, code, seconds)
            shutil.rmtree(out)
            print(f"  {run.name}: {'diverged' if code == 3 else 'done'}, {seconds:.0f} s",
                  flush=True)
    _results = None
    return left
