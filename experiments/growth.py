"""Growth of the hidden state over depth and training (Figures 1, 6, 14, 15).

What the gradients' and the hidden states' figures are drawn from, too: all these runs are probed
every 50 steps.
"""
from math import log, log10, nan

import matched
from draw import Curve, Panel, figure
from lab import FAST, SEEDS, STEPS, THREE, placements, runs
from learning_rate import around_shared_rate, shared_rate
from measures import (FIVE, all_above, all_below, better_fit, by_sublayer, done, end_over_start,
                      largest_over_smallest, last_over_first, last_variance, over_layers, shapes,
                      words_of_shapes)
from verdict import CONTRADICTED, OPEN, SHOWN, Claim, joint, judge, pairs, spread, verdict

SECTION = "Growth of the hidden state"
RATES = ("2e-3",) if FAST else ("2e-3", "8e-3")
RAN = "12 x 128, 300 steps of 16 x 64 bytes, seeds 11 to 13"
RAN_S64 = "12 x 64, 300 steps of 16 x 64 bytes, seeds 11 to 13"
DARKER = ("#c0b49a", "#b0a58e", "#9a917f", "#807a6e", "#66625b", "#444240", "#111111")


def runs_of(norm, rate, scale="S128"):
    return runs(scale, (norm,), (rate,), SEEDS, probe=50 if scale == "S128" else 0)


def wanted():
    slow = runs("S128", placements(), ("2e-3",), SEEDS, probe=50)
    fast = runs("S128", (*THREE, "mix", "keel", "simple"), RATES[1:], SEEDS, probe=50)
    others = [] if FAST else runs("S128", ("pre", "peri"), ("1e-3", "4e-3"), SEEDS, probe=50)
    return slow + fast + others


# ---- figures ------------------------------------------------------------------------------------

def over_training():
    """Figure 1."""
    panels = []
    for rate in RATES:
        for norm in THREE:
            steps = sorted({step for r in done(runs_of(norm, rate)) for step in r.steps})
            made = runs_of(norm, rate)
            curves = [Curve(f"step {step}", over_layers(made, "hidden_variance", step), shade)
                      for step, shade in zip(steps, DARKER)]
            panels.append(Panel(f"{norm}, rate {rate}", "sub-layer", "variance", curves, logy=True))
    return (figure("growth", "Variance of the hidden state over depth (Figure 1): " + RAN, panels),
            "Variance of the hidden state behind each sub-layer in the course of training; mean "
            "and range over the seeds.")


def at_both_ends(scale, rate, name, title, ran):
    """Figures 6, 14, 15."""
    panels = []
    for quantity, what in (("hidden_mean_abs", "mean |x|"), ("hidden_variance", "variance")):
        for step, when in ((0, "at initialisation"), (-1, "after training")):
            curves = [Curve(norm, over_layers(runs_of(norm, rate, scale), quantity, step), norm)
                      for norm in THREE]
            if any(curve.points for curve in curves):
                panels.append(Panel(f"{what}, {when}", "sub-layer", what, curves, logy=True))
    if not panels:
        return None, ""
    return (figure(name, f"Growth of the hidden state, {title}: rate {rate}, {ran}", panels, 2),
            f"Growth of the hidden state over depth, {title}; mean and range over the seeds.")


def all_ten():
    """Not in the paper: every placement beside its three."""
    panels = [Panel(f"rate {rate}, {when}", "sub-layer", "variance",
                    [Curve(norm, over_layers(runs_of(norm, rate), "hidden_variance", step), norm)
                     for norm in placements()], logy=True)
              for rate in RATES for step, when in ((0, "at initialisation"), (-1, "after training"))
              if step or rate == RATES[0]]
    return (figure("growth_ten", "Variance of the hidden state, ten placements: " + RAN, panels,
                   2),
            "Variance of the hidden state of all ten placements; mean and range over the seeds.")


def figures():
    found = [over_training(), all_ten()]
    for rate in RATES:
        found.append(at_both_ends("S128", rate, f"growth_{rate}", "Figures 6, 14, 15", RAN))
    if shared_rate():
        found.append(at_both_ends("S64", shared_rate(), "growth_s64",
                                  "half the width (as Figures 14, 15)", RAN_S64))
    return found


# ---- claims -------------------------------------------------------------------------------------

def fits(of_runs, step, first=1):
    """The better fit with each seed, to the sub-layers from `first` on."""
    return [better_fit(r, step, first) for r in done(of_runs)]


def all_are(found, fit):
    return len(found) >= len(SEEDS) and all(one == fit for one in found)


def words_of_fits(of_runs, step, first=1):
    """Which fit was the better one, and by how much."""
    better = fits(of_runs, step, first)
    counts = [f"{better.count(fit)} {fit or 'undecided'}"
              for fit in ("sub-exponential", "exponential", None) if fit in better]
    return f"{', '.join(counts)}; {words_of_shapes([shapes(r, step, first) for r in done(of_runs)])}"


def straight(r):
    """Whether a line describes the growth before training."""
    found = shapes(r, 0)
    return bool(found) and found["line"] >= 0.95


def init_alike():
    claims = []
    for title, runs_at in matched.settings():
        both = {norm: runs_at(norm) for norm in ("pre", "peri")}
        found = {norm: fits(made, 0) for norm, made in both.items()}
        if not all(found.values()):
            continue
        words = [f"{norm}: last over first "
                 f"{spread([last_over_first(r, 0) for r in done(made)], '.3g')}, "
                 f"{words_of_fits(made, 0)}" for norm, made in both.items()]
        claims.append(Claim(
            "growth-init-alike", f"{title}, before training, seeds 11 to 13",
            f"{title}: " + "; ".join(words),
            judge(all(all_are(fit, "sub-exponential") for fit in found.values())
                  and all(straight(r) for made in both.values() for r in done(made)),
                  any(all_are(fit, "exponential") for fit in found.values()))))
    return claims


def span(r, quantity, step=-1):
    """Largest over smallest, over depth."""
    return largest_over_smallest(by_sublayer(r, quantity, step))


def post_constant(rate, scale="S128"):
    """(numbers in words, verdict)"""
    made = done(runs_of("post", rate, scale))
    peaks = [max(span(r, "hidden_variance", step) for step in r.steps) for r in made]
    ends = [span(r, "hidden_variance") for r in made]
    return (f"largest over smallest variance over depth, at the worst probe "
            f"{spread(peaks, '.2f')}, at the end {spread(ends, '.2f')}",
            judge(all_below(peaks, 3), all_above(ends, 3)))


def pre_training(rate, scale="S128"):
    """Both the growth and where it ends, as Pre-LN starts far lower."""
    pre, peri = runs_of("pre", rate, scale), runs_of("peri", rate, scale)
    growth = {norm: [end_over_start(r) for r in done(made)]
              for norm, made in (("pre", pre), ("peri", peri))}
    ends = [spread([last_variance(r) for r in done(made)], ".3g") for made in (pre, peri)]
    # Logarithms, as the ratios of a placement differ by factors from seed to seed.
    found = [verdict(pairs(pre, peri, lambda r: log10(measure(r))))
             for measure in (end_over_start, last_variance)]
    large = all_above(growth["pre"], 100) and all_below(growth["peri"], 10)
    return (f"variance at the last sub-layer, end over start: pre {spread(growth['pre'], '.3g')}, "
            f"peri {spread(growth['peri'], '.3g')}; at the end itself: pre {ends[0]}, peri "
            f"{ends[1]}",
            judge(set(found) == {SHOWN} and large, set(found) == {CONTRADICTED}, found))


def with_embedding_norm():
    """In words: Pre-LN's growth where it starts from a normed embedding."""
    made = runs("S64", ("pre",), around_shared_rate(), FIVE, embedding_norm="on")
    told = spread([end_over_start(r) for r in done(made)], ".3g")
    return f"; with the embedding norm (12 x 64, {shared_rate()}) pre {told}" if done(made) else ""


def peri_linear(rate, scale="S128"):
    made, other = (runs_of(norm, rate, scale) for norm in ("peri", "pre"))
    depths = [spread([last_over_first(r) for r in done(each)], ".3g") for each in (made, other)]
    found = fits(made, -1)
    return (f"{words_of_fits(made, -1)}; last over first variance {depths[0]}, of pre {depths[1]}",
            judge(all_are(found, "sub-exponential"), all_are(found, "exponential")))


def both_rates(id, told):
    """A claim that is told at each rate."""
    claims = []
    for rate in RATES:
        words, found = told(rate)
        if done(runs_of("peri", rate)) and done(runs_of("pre", rate)):
            claims.append(Claim(id, f"{RAN}, rate {rate}", f"rate {rate}: {words}", found))
    return claims


def pre_exponential():
    """Over all sub-layers, and from the second on, behind the jump of the first two."""
    claims = []
    for first, where in ((1, "over all sub-layers"), (2, "from the second on")):
        found = [fits(runs_of("pre", rate), -1, first) for rate in RATES]
        if not all(found):
            return []
        words = [f"at {rate}, {words_of_fits(runs_of('pre', rate), -1, first)}" for rate in RATES]
        claims.append(Claim("growth-pre-exponential", f"Pre-LN, {RAN}, rates {' and '.join(RATES)}",
                            f"{where}: {'; '.join(words)}",
                            judge(all(all_are(fit, "exponential") for fit in found),
                                  all(all_are(fit, "sub-exponential") for fit in found))))
    return claims


def covariance_share(r, step=-1):
    """The sum of residual_covariance as a share of the growth of variance over all sub-layers."""
    states = r.profile("hidden_variance", step)
    whole = states[max(states)] - states[0]
    return sum(by_sublayer(r, "residual_covariance", step)) / whole


def at_start_and_end(norm, rate, measure, form):
    made = done(runs_of(norm, rate))
    start, end = ([measure(r, step) for r in made] for step in (0, -1))
    peaks = [max((measure(r, step) for step in r.steps), key=abs) for r in made]
    return end, (f"{norm} {spread(start, form)} at the start, {spread(end, form)} at the end, at "
                 f"the worst probe {spread(peaks, form)}")


def eq4_terms(rate):
    if not done(runs_of("peri", rate)):
        return []
    beta_0 = lambda r, step: span(r, "output_variance", step)
    spans, span_words = at_start_and_end("peri", rate, beta_0, ".3g")
    shares, share_words = at_start_and_end("peri", rate, covariance_share, ".2f")
    ran = f"{RAN}, rate {rate}"
    of_pre = [at_start_and_end("pre", rate, measure, form)[1]
              for measure, form in ((beta_0, ".3g"), (covariance_share, ".2f"))]
    return [
        Claim("growth-eq4-terms", ran,
              f"beta_0 at {rate}, largest over smallest over depth: {span_words}; {of_pre[0]}",
              judge(all_below(spans, 10), all_above(spans, 30))),
        Claim("growth-eq4-terms", ran,
              f"covariance at {rate}, its share of the growth of variance (none, below 0.1, would "
              f"be reproduced): {share_words}; {of_pre[1]}",
              judge(all_below([abs(share) for share in shares], 0.1), all_above(shares, 0.5)))]


def every_size():
    if not shared_rate() or not done(runs_of("peri", shared_rate(), "S64")):
        return []
    words, small, large = [], [], []
    for name, told, rates in (("growth-post-constant", post_constant, RATES[:1]),
                              ("growth-pre-training", pre_training, RATES),
                              ("growth-peri-linear", peri_linear, RATES)):
        seen, found = told(shared_rate(), "S64")
        small.append(found)
        large.append(joint(told(rate)[1] for rate in rates))
        words.append(f"{name} {found} at width 64 ({seen}) and {large[-1]} at 128")
    opposite = any({a, b} == {SHOWN, CONTRADICTED} for a, b in zip(small, large))
    return [Claim("growth-every-size", f"{RAN_S64}, rate {shared_rate()}; {RAN}", "; ".join(words),
                  judge(small == large and OPEN not in small, opposite))]


def early_share(r):
    """What the first 100 steps of 300 have of the growth of the last sub-layer's log variance."""
    start, then, end = (log(last_variance(r, step)) for step in (0, STEPS // 3, -1))
    return (then - start) / (end - start) if end != start else nan


def early_surge():
    """Pre-LN's share of growth, and Peri-LN's as the control."""
    shares = {norm: {rate: [early_share(r) for r in done(runs_of(norm, rate))] for rate in RATES}
              for norm in ("pre", "peri")}
    pre = shares["pre"].values()
    if not all(pre):
        return []
    words = ", ".join(f"{norm} at {rate} {spread(values, '.2f')}"
                      for norm, by_rate in shares.items() for rate, values in by_rate.items())
    ran = f"{RAN}, rates {' and '.join(RATES)}"
    found = [Claim("growth-early-surge", ran, f"share of the growth of log variance reached by "
                   f"step 100: {words}",
                   judge(all(all_above(values, 1 / 2) for values in pre),
                         all(all_below(values, 1 / 3) for values in pre)))]
    more = [pairs(runs_of("pre", rate), runs_of("peri", rate), early_share) for rate in RATES]
    if all(more):
        found.append(Claim("growth-early-surge", ran, "control, more so than Peri-LN's: as above",
                           joint(map(verdict, more))))
    return found


def by_step(r):
    """[(step, variance behind the last sub-layer)]"""
    return [(step, last_variance(r, step)) for step in r.steps]


def over_steps():
    """Whether the variance goes on growing over the steps (Section 4.3, second factor)."""
    rates = ("1e-3", "2e-3", "4e-3", "8e-3")
    made = {rate: done(runs_of("pre", rate)) for rate in rates}
    if not all(made.values()) or any(STEPS // 3 not in r.steps for r in sum(made.values(), [])):
        return []
    peak = lambda r: max(by_step(r), key=lambda at: at[1])
    words = []
    for norm in ("pre", "peri"):
        found = [r for rate in rates for r in done(runs_of(norm, rate))]
        if found:
            peaks = [float(peak(r)[0]) for r in found]
            falls = [last_variance(r) / peak(r)[1] for r in found]
            words.append(f"{norm} largest at step {min(peaks):.0f} to {max(peaks):.0f}, the end "
                         f"over that {spread(falls, '.2f')}")
    later = [verdict([log(last_variance(r) / last_variance(r, STEPS // 3)) for r in each])
             for each in made.values()]
    return [Claim("growth-over-steps", f"{RAN}, rates {', '.join(rates)}",
                  f"variance at the last sub-layer, over the steps: {'; '.join(words)}",
                  joint(later))]


def claims():
    found = init_alike()
    if done(runs_of("post", "2e-3")):
        words, one = post_constant("2e-3")
        found.append(Claim("growth-post-constant", f"{RAN}, rate 2e-3", words, one))
    found += both_rates("growth-pre-training", lambda rate: (
        pre_training(rate)[0] + with_embedding_norm(), pre_training(rate)[1]))
    found += pre_exponential()
    found += both_rates("growth-peri-linear", peri_linear)
    for rate in RATES:
        found += eq4_terms(rate)
    return found + every_size() + early_surge() + over_steps()
