"""Whether Peri-LN trains in bf16 as it does in fp32."""
from statistics import mean

from draw import Curve, Panel, figure
from lab import SEEDS, finished, runs
from measures import smooth

SECTION = "Beyond the papers"
RAN = "12 x 128, 300 steps of 16 x 64 bytes, rate 2e-3, seeds 11 to 13"
PRECISIONS = {"fp32": {}, "bf16": {"precision": "bf16"}}
COLOURS = {"fp32": "#1a1a1a", "bf16": "#bc8f5f"}
WINDOW = 20


def runs_of(precision):
    return runs("S128", ("peri",), ("2e-3",), SEEDS, **PRECISIONS[precision])


def wanted():
    return [run for precision in PRECISIONS for run in runs_of(precision)]


def curves(precision):
    """{seed: [(step, mean loss of WINDOW steps)]}"""
    return {run.seed: smooth(r.series("loss"), WINDOW) for run, r in finished(runs_of(precision))}


def distances():
    """(the largest distance of the two mean curves, the largest between two seeds in fp32)"""
    losses = {precision: [[loss for _, loss in points] for points in curves(precision).values()]
              for precision in PRECISIONS}
    at = {precision: list(zip(*losses[precision])) for precision in PRECISIONS}
    apart = max(abs(mean(a) - mean(b)) for a, b in zip(at["fp32"], at["bf16"]))
    return apart, max(max(a) - min(a) for a in at["fp32"])


def figures():
    made = {precision: curves(precision) for precision in PRECISIONS}
    if not all(made.values()):
        return []
    lines = [Curve(f"{precision}, seed {seed}", points, COLOURS[precision], precision == "bf16")
             for precision in PRECISIONS for seed, points in made[precision].items()]
    apart, spread = distances()
    return [(figure("precision", f"Peri-LN in fp32 and bf16: {RAN}",
                    [Panel("training", "step", f"loss (nats a byte, means of {WINDOW} steps)",
                           lines)]),
             "Training loss of Peri-LN in fp32 and in bf16, a curve a seed. The mean curves differ "
             f"by at most {apart:.3f}, the seeds of fp32 among themselves by up to {spread:.3f}.")]


def claims():
    return []
