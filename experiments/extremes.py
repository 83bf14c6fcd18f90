"""The largest hidden-state entries over training, and FP16's limit (Figure 11).

Drawn from the runs of growth.py; the limit is read over all runs there are.
"""
from math import log

from draw import Curve, Panel, band, figure
from growth import RATES
from lab import SEEDS, runs, wide_results
from measures import done, largest
from verdict import CONTRADICTED, SHOWN, Claim, judge, pairs, spread, verdict

SECTION = "Extreme activations"
RAN = "12 x 128, 300 steps of 16 x 64 bytes, seeds 11 to 13"
LIMIT = 65504


def runs_of(norm, rate):
    return runs("S128", (norm,), (rate,), SEEDS, probe=50)


def wanted():
    return []


def over_training(wanted, rank):
    return band([[(step, largest(r, step, rank)[0]) for step in r.steps] for r in done(wanted)])


def figures():
    panels = [Panel(f"rate {rate}", "step", "size of hidden-state entries",
                    [Curve(f"{norm}, {name}", over_training(runs_of(norm, rate), rank), norm,
                           dashed)
                     for norm in ("pre", "peri")
                     for name, rank, dashed in (("largest", "001", False), ("100th", "100", True))]
                    + [Curve("FP16's limit", [(0, LIMIT), (300, LIMIT)], "#999999", True)],
                    logy=True)
              for rate in RATES if done(runs_of("pre", rate))]
    if not panels:
        return []
    return [(figure("extremes", "Extreme activations over training (Figure 11): " + RAN, panels),
             "The largest and the 100th largest hidden-state entry, mean and range over seeds.")]


# ---- claims -------------------------------------------------------------------------------------

def beyond(r):
    """Whether any probe saw an entry that FP16 cannot hold."""
    return any(value > 0 for at in r.probe.get("beyond_fp16", {}).values() for value in at.values())


def top(r):
    return max((v for at in r.probe.get("largest_001", {}).values() for v in at.values()),
               default=0)


def twins():
    """[(Pre-LN's result, Peri-LN's)] of runs that are the same in all else."""
    everything = wide_results()
    both = []
    for name, r in everything.items():
        words = name.split()
        if words[1] == "peri":
            words[1] = "pre"
            if " ".join(words) in everything:
                both.append((everything[" ".join(words)], r))
    return both


def limit_claim():
    both = twins()
    if not both:
        return []
    either = [(beyond(pre), beyond(peri)) for pre, peri in both if beyond(pre) or beyond(peri)]
    seen = (f"of {len(both)} pairs Pre-LN passes 65,504 in {sum(p for p, _ in either)}, Peri-LN in "
            f"{sum(p for _, p in either)}; largest {max(top(pre) for pre, _ in both):.4g} and "
            f"{max(top(peri) for _, peri in both):.4g}")
    enough = len(either) >= 3
    return [Claim("fp16-limit", "all pairs of a Pre-LN and a Peri-LN run alike in all else", seen,
                  judge(enough and all(pair == (True, False) for pair in either),
                        enough and all(pair == (False, True) for pair in either)))]


def excess(rate, rank, step):
    """log of Pre-LN's entry over Peri-LN's, by seed."""
    return pairs(runs_of("pre", rate), runs_of("peri", rate),
                 lambda r: log(largest(r, step, rank)[0]))


def to_typical(r, step=-1):
    """Largest entry over the standard deviation of the hidden state that it stands in."""
    value, layer = largest(r, step)
    return value / r.value("hidden_variance", step, layer) ** 0.5


def profile_words(rate):
    words = []
    for norm in ("pre", "peri"):
        found = done(runs_of(norm, rate))
        tops, hundredth, places = ([largest(r)[0] for r in found],
                                   [largest(r, -1, "100")[0] for r in found],
                                   [str(largest(r)[1]) for r in found])
        words.append(f"{norm} largest {spread(tops, '.3g')}, 100th {spread(hundredth, '.3g')}, "
                     f"over its standard deviation {spread([to_typical(r) for r in found], '.3g')} "
                     f"(at the start {spread([to_typical(r, 0) for r in found], '.3g')}), in "
                     f"sub-layers {', '.join(places)}")
    return "; ".join(words)


def deep(r):
    """Whether the largest entry stands in the last quarter of the sub-layers."""
    return (largest(r)[1] or 0) > 0.75 * max(r.profile("hidden_variance"))


def ratio_claim(rate):
    if not done(runs_of("pre", rate)) or not done(runs_of("peri", rate)):
        return []
    steps = [step for step in done(runs_of("pre", rate))[0].steps if step > 100] or [-1]
    found = [verdict(excess(rate, rank, step)) for rank in ("001", "100") for step in steps]
    shown = set(found) == {SHOWN} and all(deep(r) for r in done(runs_of("pre", rate)))
    last = verdict(excess(rate, "001", -1))
    return [Claim("extremes-ratio", f"{RAN}, rate {rate}, after step 100",
                  f"at the end, {rate}: {profile_words(rate)}",
                  judge(shown, last == CONTRADICTED,
                        [last] if last == CONTRADICTED else found))]


def claims():
    return limit_claim() + sum(map(ratio_claim, RATES), [])
