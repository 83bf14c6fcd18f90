"""Gamma of the output norms: frozen at 1 (Figures 8, 39(d)), and learned (Figures 9(b), 39(b)).

All at R. The two are without the embedding norm, so that the output norm is all in which they
differ from Pre-LN.
"""
from statistics import mean

import growth
from draw import Curve, Panel, band, figure
from lab import SEEDS, runs
from learning_rate import around_shared_rate, grid, shared_rate
from measures import (FIVE, by_sublayer, done, enough, in_training, over_layers, rank_correlation,
                      spikes)
from verdict import Claim, joint, judge, loss, pairs, spread, verdict

SECTION = "Gamma and hidden representations"
RAN = "12 x 64, 300 steps of 16 x 64 bytes at R, seeds 11 to 15"


def learned(**flags):
    """Probed at the start and the end, but kept in full."""
    return runs("S64", ("peri",), around_shared_rate(), FIVE, probe=300, embedding_norm="off",
                **flags)


def frozen():
    return learned(freeze_output_gamma=True)


def pre():
    return runs("S64", ("pre",), around_shared_rate(), FIVE)


def ten(rate):
    return runs("S128", ("peri",), (rate,), SEEDS, probe=50)


def wanted():
    return pre() + learned() + frozen()


# ---- figures ------------------------------------------------------------------------------------

THREE = (("Pre-LN", pre, "pre"), ("gamma = 1", frozen, "#1a1a1a"),
         ("gamma learned", learned, "peri"))


def shares(r):
    """{s: the module's share of the hidden state's variance behind it}, at the end."""
    state = r.profile("hidden_variance")
    return {s: value / state[s] for s, value in r.profile("output_variance").items() if s}


def gammas(step, odd):
    """Of attention (odd sub-layers) or MLP, over depth."""
    return band([[(s, v) for s, v in sorted(r.profile("output_gamma_mean", step).items())
                  if s % 2 == odd] for r in done(ten("2e-3"))])


def figures():
    training = [Panel(what, "step", name, [Curve(label, in_training(runs_of(), column), colour)
                                           for label, runs_of, colour in THREE], logy=log)
                for what, name, column, log in (("training", "loss (nats a byte)", "loss", False),
                                                ("training", "gradient norm", "grad_norm", True))]
    balance = [Panel("after training", "layer", "angular distance to the next / pi",
                     [Curve(label, over_layers(runs_of(), "angular_distance_1"), colour)
                      for label, runs_of, colour in THREE]),
               Panel("after training", "sub-layer", "variance, output over hidden state",
                     [Curve(label, band([sorted(shares(r).items()) for r in done(runs_of())]),
                            colour)
                      for label, runs_of, colour in THREE[1:]], logy=True)]
    over_depth = [Panel(f"gamma of Peri-LN's output norms, {title}", "sub-layer", "mean of gamma",
                        [Curve(f"step {step}", gammas(step, odd)) for step in (50, 150, 300)])
                  for title, odd in (("attention", 1), ("MLP", 0))]
    return [(figure("gamma_frozen", "Output norms with gamma frozen and learned (Figures 8, 39): "
                    + RAN, training + balance, 2),
             "Pre-LN, and Peri-LN without embedding norm, its output gammas frozen or learned."),
            (figure("gamma", "Output norms' gamma (Figures 9, 39): rate 2e-3, " + growth.RAN,
                    over_depth, 2),
             "Mean gamma of each output norm, mean and range over seeds.")]


# ---- claims -------------------------------------------------------------------------------------

def losses(wanted):
    return spread([loss(r) for r in done(wanted)])


def counts(wanted):
    return " ".join(str(spikes(r)) for r in done(wanted))


def frozen_claims():
    if not done(frozen()):
        return []
    gain = verdict(pairs(pre(), frozen()), len(FIVE))
    fewer = verdict(pairs(pre(), frozen(), spikes), len(FIVE))
    learning = verdict(pairs(frozen(), learned()), len(FIVE))
    return [Claim("frozen-gamma-beats-pre", RAN, f"loss: frozen {losses(frozen())}, Pre-LN "
                  f"{losses(pre())}", gain),
            Claim("frozen-gamma-beats-pre", RAN, f"spikes, a run each: frozen {counts(frozen())}, "
                  f"Pre-LN {counts(pre())}", fewer),
            Claim("learned-gamma-better", RAN, f"loss: learned {losses(learned())}, frozen "
                  f"{losses(frozen())}", learning)]


def lowest_gamma(r):
    """Of all layers and probes; a NaN counts as below zero."""
    values = [v for at in r.probe.get("output_gamma_min", {}).values() for v in at.values()]
    return min((v if v == v else float("-inf") for v in values), default=float("nan"))


def positive_claim():
    if not shared_rate():
        return []
    lows = {(width, rate): [lowest_gamma(r) for r in done(wanted)] for width, rate, wanted in
            [("64", rate, runs("S64", ("peri",), (rate,), SEEDS)) for rate in grid("peri")]
            + [("128", rate, ten(rate)) for rate in ("1e-3", "2e-3", "4e-3", "8e-3")]}
    limit = float(shared_rate())
    up_to_limit = [v for (_, rate), values in lows.items() if float(rate) <= limit for v in values]
    high = [values for (width, rate), values in lows.items()
            if width == "64" and float(rate) > limit]
    above = sum(high, [])
    below = [v for v in above if v <= 0]
    at_limit = [values for (_, rate), values in lows.items() if rate == shared_rate() and values]
    words = [f"width {width}, {rate}: {spread(values, '.2g')}"
             for (width, rate), values in lows.items() if values]
    shown = all(map(enough, at_limit)) and min(up_to_limit, default=0) > 0
    gone = all(enough(values) and max(values) <= 0 for values in at_limit)
    return [Claim("gamma-positive",
                  f"Peri-LN, 12 layers, 300 steps, seeds 11 to 13; R is {shared_rate()}",
                  "up to R: smallest gamma of any output norm: " + "; ".join(words),
                  judge(at_limit and shown, at_limit and gone)),
            Claim("gamma-positive", "Peri-LN, 12 x 64, 300 steps, seeds 11 to 13, rates above R",
                  f"above R: {len(below)} of {len(above)} runs have a gamma of zero or below",
                  judge(enough(above) and not below,
                        any(enough(values) and max(values) <= 0 for values in high)))]


def trend(r, odd):
    """Rank correlation of an output norm's mean gamma with its depth."""
    values = by_sublayer(r, "output_gamma_mean")
    mine = [v for s, v in enumerate(values, 1) if s % 2 == odd]
    return rank_correlation(range(len(mine)), mine)


def depth_claim(rate):
    found = done(ten(rate))
    if not found:
        return []
    kinds = {"attention": [trend(r, 1) for r in found], "MLP": [trend(r, 0) for r in found]}
    steady = [enough(v) and (min(v) >= 0.3 or max(v) <= -0.3) for v in kinds.values()]
    flat = [enough(v) and max(map(abs, v)) < 0.3 for v in kinds.values()]
    ends = [f"{name} gamma from {spread([by_sublayer(r, 'output_gamma_mean')[i] for r in found])} "
            f"to {spread([by_sublayer(r, 'output_gamma_mean')[j] for r in found])}, rank "
            f"correlation {spread(kinds[name], '+.2f')}"
            for name, i, j in (("attention", 0, -2), ("MLP", 1, -1))]
    return [Claim("gamma-depth", f"Peri-LN, {growth.RAN}, rate {rate}",
                  f"at {rate}, first to last layer: {'; '.join(ends)}",
                  judge(all(steady), all(flat)))]


def quarter(r, last):
    """Mean of `shares` over the first or the last quarter of the layers."""
    found = [value for _, value in sorted(shares(r).items())]
    n = 2 * max(1, len(found) // 8)
    return mean(found[-n:] if last else found[:n]) if found else float("nan")


def deep_angle(r):
    """Angle to the next layer, over the last quarter of the layers."""
    angles = [value for _, value in sorted(r.profile("angular_distance_1").items())]
    return mean(angles[-max(1, len(angles) // 4):]) if angles else float("nan")


def frozen_balance_claim():
    if not done(frozen()) or not done(learned()):
        return []
    verdicts = [verdict(pairs(learned(), frozen(), measure), len(FIVE))
                for measure in (lambda r: quarter(r, True), deep_angle)]
    words = [f"{name}: share {spread([quarter(r, False) for r in done(made)], '.3g')} in the first "
             f"quarter of the layers, {spread([quarter(r, True) for r in done(made)], '.3g')} in "
             f"the last, angle there {spread([deep_angle(r) for r in done(made)])}"
             for name, made in (("frozen", frozen()), ("learned", learned()))]
    return [Claim("angular-frozen", RAN, "; ".join(words), joint(verdicts))]


def claims():
    return (frozen_claims() + positive_claim() + sum(map(depth_claim, growth.RATES), [])
            + frozen_balance_claim())
