"""Weight decay and the growth of the hidden state (Figure 10(a), 10(b); Table 7, Figures 23 to 26).

At R. A decay of 0.33 does little in 300 steps; so there are two coefficients more, for which rate
times steps times coefficient is what 0.033 and 0.33 have in the paper's 14,400 steps at 2e-3.
"""
from dataclasses import replace

from draw import Curve, Panel, figure
from lab import FAST, SEEDS, result, runs
from last_gradient import event
from learning_rate import around_shared_rate, caution, grid, shared_rate
from measures import between, done, in_training, last_variance, log_variance, over_layers
from verdict import CONTRADICTED, SHOWN, Claim, failed, judge, loss, pairs, spread, verdict

SECTION = "Weight decay and initialisation"
RAN = "12 x 64, 300 steps of 16 x 64 bytes at R, seeds 11 to 13"
BASELINE = "0.033"


def scaled():
    """The two that stand for the paper's 0.033 and 0.33; 1.6 and 16 where R is 2e-3."""
    rate = shared_rate()
    return [f"{value * 2e-3 / float(rate):.3g}" for value in (1.6, 16)] if rate else []


def coefficients():
    return ([BASELINE] if FAST else ["0", BASELINE, "0.33"]) + scaled()


def runs_of(norm, coefficient):
    flags = {} if coefficient == BASELINE else {"weight_decay": coefficient}
    return runs("S64", (norm,), around_shared_rate(), SEEDS, **flags)


def lost(r):
    """Whether a run failed, or its loss rose."""
    return failed(r) or event(r) is not None


def to_rescue():
    """Up to three Pre-LN runs of `rates` that went astray, those of the lowest rate first."""
    all_runs = runs("S64", ("pre",), grid("pre"), SEEDS)
    found = [run for run in all_runs if result(run) and lost(result(run))]
    return sorted(found, key=lambda run: float(run.lr))[:3]


def with_decay(run, coefficient):
    return replace(run, flags=(("weight_decay", coefficient),))


def wanted():
    sweep = [run for c in coefficients() for norm in ("pre", "peri") for run in runs_of(norm, c)]
    return sweep + [with_decay(run, c) for run in to_rescue() for c in ["0.33"] + scaled()]


def figures():
    shades = ("#bdb198", "#968e7d", "#6f6a61", "#45423f", "#111111")
    growth = [Panel(f"{norm}, after training", "sub-layer", "variance of the hidden state",
                    [Curve(f"decay {c}", over_layers(runs_of(norm, c), "hidden_variance"), shade)
                     for c, shade in zip(coefficients(), shades)], logy=True)
              for norm in ("pre", "peri")]
    training = [Panel(f"decay {c}", "step", name,
                      [Curve(norm, in_training(runs_of(norm, c), column), norm)
                       for norm in ("pre", "peri")], logy=column == "grad_norm")
                for c in coefficients()
                for name, column in (("loss", "loss"), ("gradient norm", "grad_norm"))]
    return [(figure("weight_decay", "Weight decay and variance (Figure 10): " + RAN, growth, 2),
             "Hidden-state variance after training for each weight decay, mean and range."),
            (figure("weight_decay_loss", "Weight decay (Figures 23 to 26): " + RAN, training, 2),
             "Training loss and gradient norm at each weight decay, mean and range over seeds.")]


# ---- claims -------------------------------------------------------------------------------------

def fall(norm):
    """By seed, of the logarithm of the last variance between the two scaled coefficients."""
    weak, strong = scaled()
    return pairs(runs_of(norm, weak), runs_of(norm, strong), log_variance)


def variance_claim():
    words = [f"{norm} {c}: {between([last_variance(r) for r in done(runs_of(norm, c))])}"
             for norm in ("pre", "peri") for c in coefficients()]
    falls = [a - b for a, b in zip(fall("pre"), fall("peri"))]
    return [Claim("decay-variance", RAN, f"last variance, decay by decay: {'; '.join(words)}. "
                  f"Pre-LN's logarithm falls more between the last two by {spread(falls, '.2f')}",
                  verdict(falls))]


def loss_claim():
    leads = {c: pairs(runs_of("pre", c), runs_of("peri", c)) for c in coefficients()}
    found = [verdict(lead) for lead in leads.values()]
    words = [f"{c} {spread(lead)}" for c, lead in leads.items()]
    return [Claim("decay-loss", RAN, "Peri-LN's lead, nats, decay by decay: " + "; ".join(words)
                  + caution(),
                  judge(all(v == SHOWN for v in found), found.count(CONTRADICTED) >= 2, found))]


def rescue_claim():
    words, saved, controls = [], [], []
    for run in to_rescue():
        again = [(c, result(with_decay(run, c))) for c in ["0.33"] + scaled()]
        others = [result(other) for other in runs("S64", ("pre",), (run.lr,), SEEDS)
                  if other.seed != run.seed and result(other)]
        if any(r is None for _, r in again):
            return []
        saved.append(any(not lost(r) for _, r in again))
        controls.append(any(not lost(r) for r in others))
        ends = ", ".join(f"{c} {'lost' if lost(r) else 'saved'} ({loss(r):.3f})" for c, r in again)
        words.append(f"{run.lr} seed {run.seed}: {ends}, other seeds "
                     f"{sum(not lost(r) for r in others)} of {len(others)} steady")
    return [Claim("decay-rescue", "Pre-LN, 12 x 64, all rates, seeds 11 to 13; the first three "
                  "that fail or rise", "; ".join(words) or "no Pre-LN run failed or rose",
                  judge(len(saved) >= 2 and all(saved) and not any(controls),
                        len(saved) >= 2 and not any(saved)))]


def claims():
    if not shared_rate() or not done(runs_of("pre", scaled()[1])):
        return []
    return variance_claim() + loss_claim() + rescue_claim()
