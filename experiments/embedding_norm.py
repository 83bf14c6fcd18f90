"""The embedding norm, in Peri-LN (Figures 20 to 22) and in all placements (beyond the paper).

Peri-LN has one unless told otherwise; the others have not.
"""
from math import log10
from statistics import mean

from draw import Curve, Panel, band, figure
from lab import FAST, SEEDS, placements, runs
from learning_rate import around_shared_rate, shared_rate
from measures import done, end_over_start, last_variance, over_layers, smooth, spikes
from verdict import CONTRADICTED, SHOWN, Claim, alike, failed, joint, judge, pairs, spread, verdict

SECTION = "Data, schedule and kind of norm"
FIVE = SEEDS if FAST else (11, 12, 13, 14, 15)
SLIGHTLY = 0.1  # nats; the paper draws curves and names no number
RAN = "12 x 64, 300 steps of 16 x 64 bytes, seeds 11 to 15"


def runs_of(norm, embedding_norm, seeds=FIVE, scale="S64"):
    own = "on" if norm == "peri" else "off"
    flags = {} if embedding_norm == own else {"embedding_norm": embedding_norm}
    return runs(scale, (norm,), around_shared_rate(), seeds, **flags)


def wanted():
    small = [run for norm in (("pre", "peri") if FAST else placements()) for which in ("on", "off")
             for run in runs_of(norm, which)]
    return small + [run for which in ("on", "off") for run in runs_of("peri", which, SEEDS, "S128")]


def gain(norm, scale="S64", seeds=FIVE):
    """How much the embedding norm lowers the loss, by seed."""
    return pairs(runs_of(norm, "off", seeds, scale), runs_of(norm, "on", seeds, scale))


def figures():
    panels = []
    for column, what in (("loss", "training loss"), ("grad_norm", "gradient norm")):
        for scale in ("S64", "S128"):
            curves = [Curve(f"embedding norm {which}",
                            band([smooth(r.series(column), 5)
                                  for r in done(runs_of("peri", which, SEEDS, scale))]),
                            "peri", dashed=which == "off") for which in ("on", "off")]
            panels.append(Panel(f"peri, 12 x {scale[1:]}: {what}", "step", what, curves,
                                logy=column == "grad_norm"))
    variance = [Curve(f"{norm}, norm {which}",
                      over_layers(runs_of(norm, which), "hidden_variance"), norm,
                      dashed=which == "off")
                for norm in ("pre", "peri") for which in ("on", "off")]
    panels.append(Panel("variance after training, 12 x 64", "sub-layer", "variance", variance,
                        logy=True))
    title = f"The embedding norm (Figures 20 to 22): rate {shared_rate()}, {RAN}"
    return [(figure("embedding_norm", title, panels, 2),
             "Training loss and gradient norm (means of 5 steps) of Peri-LN with and without the "
             "embedding norm; variance over depth of Pre-LN and Peri-LN. Mean and range over the "
             "seeds.")]


# ---- claims -------------------------------------------------------------------------------------

def in_peri():
    gains = {"S64": gain("peri"), "S128": gain("peri", "S128", SEEDS)}
    if not all(gains.values()):
        return []
    says = [verdict(values) for values in gains.values()]
    counts = [spread([spikes(r) for r in done(runs_of("peri", which))], ".1f")
              for which in ("on", "off")]
    words = [f"{spread(values, '+.3f')} at width {scale[1:]}" for scale, values in gains.items()]
    more = [a - b for a, b in zip(gain("peri", seeds=SEEDS), gains["S128"])]
    return [Claim("embedding-norm-peri", f"{RAN}; 12 x 128, seeds 11 to 13; rate {shared_rate()}",
                  f"gain in loss: {', '.join(words)}; spikes a run at width 64, on {counts[0]}, "
                  f"off {counts[1]}",
                  judge(set(says) == {SHOWN}, set(says) == {CONTRADICTED}, says)),
            Claim("embedding-norm-peri", f"{RAN}; 12 x 128, seeds 11 to 13; rate {shared_rate()}",
                  f"slightly, by at most {SLIGHTLY} nats: as above",
                  joint(alike(values, SLIGHTLY) for values in gains.values())),
            Claim("embedding-norm-size",
                  f"12 x 64 and 12 x 128, rate {shared_rate()}, seeds 11 to 13",
                  f"gain in loss: {', '.join(words)}; by how much larger at width 64 "
                  f"{spread(more, '+.3f')}", verdict(more))]


def in_all():
    """In words: what it does to each placement."""
    words = []
    for norm in placements():
        on, off = runs_of(norm, "on"), runs_of(norm, "off")
        growth = pairs(on, off, lambda r: log10(end_over_start(r)))
        more = pairs(on, off, spikes)
        end = pairs(on, off, lambda r: log10(last_variance(r)))
        lost = [sum(map(failed, done(made))) for made in (on, off)]
        if growth:
            words.append(f"{norm} {spread(gain(norm), '+.3f')}, growth x {10 ** mean(growth):.2g}, "
                         f"end x {10 ** mean(end):.2g}, spikes {mean(more):+.1f}"
                         + (f", failed {lost[0]} with it and {lost[1]} without" * any(lost)))
    return "; ".join(words)


def in_pre():
    gains, gap = gain("pre"), pairs(runs_of("pre", "off"), runs_of("peri", "on"))
    if not gains or not gap:
        return []
    rest = pairs(runs_of("pre", "on"), runs_of("peri", "off"))
    closed = [part / whole for part, whole in zip(gains, gap) if whole]
    return [Claim("embedding-all-placements", f"{RAN}, rate {shared_rate()}",
                  f"pre: the norm lowers its loss by {spread(gains, '+.3f')}, of a gap to peri of "
                  f"{spread(gap, '+.3f')} the share {spread(closed, '.2f')}; pre with it minus "
                  f"peri without it {spread(rest, '+.3f')}. All: gain in loss, factors on "
                  f"the growth of variance in training and on its end, more spikes a run: "
                  f"{in_all()}",
                  verdict(gains))]


def claims():
    return in_peri() + in_pre()
