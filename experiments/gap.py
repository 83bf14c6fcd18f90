"""Whether Peri-LN's lead over Pre-LN shrinks as training goes on (beyond the paper).

Runs of 150, 300 and 600 steps at R, each with its own full cosine, and the seeds of seeds.py.
"""
from statistics import mean

from draw import Curve, Panel, band, figure
from lab import LATER, SEEDS, finished, runs
from learning_rate import R, around_R
from verdict import Claim, pairs, spread, verdict

SECTION = "Beyond the papers"
LENGTHS = (150, 300, 600)
RAN = "12 x 64, steps of 16 x 64 bytes"


def of(norm, steps, seeds=SEEDS):
    flags = {} if steps == 300 else {"steps": steps}
    return runs("S64", (norm,), around_R(), seeds, **flags)


def wanted():
    return [run for steps in LENGTHS for norm in ("pre", "peri") for run in of(norm, steps)]


def leads_along(steps, seeds=SEEDS):
    """[[(step, lead)]] of each seed, from the validations along the run."""
    peri = {run.seed: dict(r.validation) for run, r in finished(of("peri", steps, seeds))}
    return [[(step, loss - peri[run.seed][step]) for step, loss in r.validation
             if step in peri[run.seed]]
            for run, r in finished(of("pre", steps, seeds)) if run.seed in peri]


def figures():
    curves = [Curve(f"runs of {steps}", band(leads_along(steps)), marks=True) for steps in LENGTHS]
    curves.append(Curve("runs of 300, seeds 14 to 20", band(leads_along(300, LATER)), dashed=True,
                        marks=True))
    ends = [(steps, mean(found), min(found), max(found)) for steps in LENGTHS
            if (found := pairs(of("pre", steps), of("peri", steps)))]
    what = "loss of pre minus peri (nats a byte)"
    panels = [Panel("along the runs", "step", what, curves),
              Panel("at the end", "steps of the run", what,
                    [Curve("pre - peri", ends, marks=True)])]
    return [(figure("gap", f"Peri-LN's lead over Pre-LN: rate {R()}, {RAN}, seeds 11 to 13",
                    panels, 2),
             "Validation loss of Pre-LN minus that of Peri-LN, mean and range over the seeds.")]


def along_words(steps, seeds):
    points = dict((point[0], point[1:]) for point in band(leads_along(steps, seeds)))
    return ", ".join(f"step {step} {points[step][0]:+.3f} ({points[step][1]:+.3f} to "
                     f"{points[step][2]:+.3f})" for step in sorted(points))


def claims():
    at = {steps: pairs(of("pre", steps), of("peri", steps)) for steps in LENGTHS}
    if not all(len(found) == len(SEEDS) for found in at.values()):
        return []
    shrinks = [early - late for early, late in zip(at[150], at[600])]
    words = [f"{spread(found, '+.3f')} after {steps} steps" for steps, found in at.items()]
    return [Claim("gap-shrinks", f"{RAN}, rate {R()}, seeds 11 to 13; along a run seeds 14 to 20",
                  f"final lead: {', '.join(words)}; from 150 to 600 it shrinks by "
                  f"{spread(shrinks, '+.3f')}. Along runs of 300 steps: {along_words(300, LATER)}",
                  verdict(shrinks), "runs of 2,400 steps")]
