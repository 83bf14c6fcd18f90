"""A second reading of experiments/results/, which shares no code with experiments/: for the tests
that hold the report's numbers and those in prose to the CSVs."""
import csv
import math
import re
from pathlib import Path
from statistics import mean, stdev

ROOT = Path(__file__).resolve().parent.parent
THREE, FIVE, LATER = (11, 12, 13), (11, 12, 13, 14, 15), range(14, 21)
RUNS = {}  # name -> what is known of it; filled at the end


def load():
    for folder in sorted((ROOT / "experiments" / "results").iterdir()):
        def table(name):
            with open(folder / f"{name}.csv", newline="") as file:
                return list(csv.DictReader(file))
        found = {row["run"]: {"val": float(row["val_loss"]), "exit": row["exit"],
                              "name": row["name"], "command": row["command"], "along": {},
                              "loss": [], "probe": {}, "recipe": folder.name}
                 for row in table("runs")}
        for row in table("metrics"):
            if row["run"] in found:
                found[row["run"]]["loss"] += [float(word) for word in row["loss"].split()]
        for row in table("validation"):
            if row["run"] in found:
                found[row["run"]]["along"][int(row["step"])] = float(row["loss"])
        for row in table("probe"):
            if row["run"] in found:
                at = found[row["run"]]["probe"].setdefault(row["quantity"], {})
                at[int(row["step"])] = [float(word) for word in row["value"].split()]
        # of runs made twice the one of which more is known; one made for sharpness only where it is alone
        known = lambda r: ("sharpness" not in r["probe"],
                           len(r["probe"].get("hidden_variance", ())), len(r["probe"]))
        for run in found.values():
            if run["name"] not in RUNS or known(run) >= known(RUNS[run["name"]]):
                RUNS[run["name"]] = run


def names(setting, seeds):
    """"S64 pre 4e-3 % flag" for each seed."""
    return [setting.replace("%", str(seed)) for seed in seeds]


def ok(name):
    return RUNS[name]["exit"] != "3" and RUNS[name]["val"] <= 3.1


def loss(name):
    return RUNS[name]["val"] if ok(name) else 3.2


def losses(setting, seeds=THREE):
    return [loss(name) for name in names(setting, seeds)]


def lead(behind, ahead, seeds=THREE):
    return [loss(a) - loss(b) for a, b in zip(names(behind, seeds), names(ahead, seeds))]


def along(behind, ahead, step, seeds=THREE):
    return [RUNS[a]["along"][step] - RUNS[b]["along"][step]
            for a, b in zip(names(behind, seeds), names(ahead, seeds))]


def profile(name, quantity, step=-1):
    at = RUNS[name]["probe"][quantity]
    return at[max(at) if step == -1 else step]


def last_variance(name, step=-1):
    return profile(name, "hidden_variance", step)[-1]


def deep(norm, layers, seed, rate="4e-3"):
    return f"S64 {norm} {rate} {seed} " + (f"layers={layers} " if layers > 12 else "") + "steps=150"


def gradient_ratio(name, first=1, step=-1):
    g = profile(name, "hidden_gradient_norm", step)
    return g[first] / g[-1]


def line_fit(xs, ys):
    """(slope, R^2)"""
    mx, my = mean(xs), mean(ys)
    sxx, syy = sum((x - mx) ** 2 for x in xs), sum((y - my) ** 2 for y in ys)
    sxy = sum((x - mx) * (y - my) for x, y in zip(xs, ys))
    return sxy / sxx, sxy ** 2 / sxx / syy


def exponent(name, step=-1):
    """(exponent, R^2 in logarithms) of a power law over the sub-layers."""
    v = profile(name, "hidden_variance", step)[1:]
    return line_fit([math.log(s) for s in range(1, len(v) + 1)], [math.log(x) for x in v])


def exponential(name, step=-1):
    """R^2 in logarithms."""
    v = profile(name, "hidden_variance", step)[1:]
    return line_fit(list(range(1, len(v) + 1)), [math.log(x) for x in v])[1]


def straightness(name, step=-1):
    """R^2 of a line in linear units."""
    v = profile(name, "hidden_variance", step)[1:]
    return line_fit(list(range(1, len(v) + 1)), v)[1]


def exponential_in_units(name, step=-1):
    """R^2 of the best exponential in linear units, by trying rates one by one."""
    v = profile(name, "hidden_variance", step)[1:]
    total = sum((x - mean(v)) ** 2 for x in v)

    def left(rate):
        e = [math.exp(rate * s) for s in range(len(v))]
        a = sum(x * y for x, y in zip(e, v)) / sum(x * x for x in e)
        return sum((a * x - y) ** 2 for x, y in zip(e, v))
    return 1 - min(left(k / 2000) for k in range(1, 800)) / total


def spikes(name, last=10 ** 9):
    return sum(step <= last for step in RUNS[name]["probe"].get("spike", {}))


def correlation(xs, ys):
    slope, r2 = line_fit(xs, ys)
    return math.copysign(math.sqrt(r2), slope)


# ---- Student's t, by integrating its density ----------------------------------------------------

def two_sided(t, freedom, pieces=4000):
    """P(|T| > |t|), by Simpson's rule over the angle atan(t / sqrt(freedom))."""
    constant = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(math.pi)
    end = math.atan(abs(t) / math.sqrt(freedom))
    f = lambda i: math.cos(end * i / pieces) ** (freedom - 1)
    total = f(0) + f(pieces) + sum((4 if i % 2 else 2) * f(i) for i in range(1, pieces))
    return 1 - 2 * constant * total * end / pieces / 3


def critical(freedom, level=0.05):
    low, high = 0.0, 20.0
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom, 400) > level else (low, middle)
    return low


def interval(d):
    """(mean, low, high)"""
    half = critical(len(d) - 1) * stdev(d) / math.sqrt(len(d))
    return mean(d), mean(d) - half, mean(d) + half


def p_value(d):
    return two_sided(mean(d) / (stdev(d) / math.sqrt(len(d))), len(d) - 1)


# ---- numbers in text ----------------------------------------------------------------------------

def decimals(text):
    """The decimal numbers in a text, as written; rates (4e-3), initialisations (0.02^2) and
    sections are none."""
    text = re.sub(r"`[^`]*`|\d[\d.]*e-\d+|\d\.\d+\^2|Sections? [\d.()]+|Figures? \d+|arXiv \S+|"
                  r"86edf2a", " ", text)
    return re.findall(r"[+-]?\d+\.\d+", text)


def near(said, value):
    """Whether a number as written is the value, rounded. Three digits of large ones are kept."""
    plain = said.rstrip(";,").replace(",", "")
    written = float(plain)
    digits = plain.lower().split("e")[0].lstrip("+-")
    if "," in said.rstrip(";,"):
        unit = 10 ** (len(plain.lstrip("+-")) - 3)
    else:
        unit = 10 ** -len(digits.split(".")[1]) if "." in digits else 1
        unit *= 10 ** int(plain.lower().split("e")[1]) if "e" in plain.lower() else 1
    return abs(written - value) <= 0.501 * unit


load()
