"""SGD with momentum 0.9 (Figures 35 to 38). Everything else, weight decay included, is as before.

The paper's rates are 1e-3 to 5e-3 and its momentum is not given; here the rates are those at which
300 steps get somewhere. The rates are chosen on the same seeds that compare them.
"""
from statistics import mean

from draw import Curve, Panel, figure
from lab import FAST, SEEDS, runs
from learning_rate import best_rate
from measures import all_below, best_inside, done, in_training, widened
from verdict import SHOWN, Claim, judge, pairs, spread, verdict

SECTION = "Other placements and optimizers"
RAN = "12 x 64, 300 steps of 16 x 64 bytes, seeds 11 to 13"
NORMS = ("pre", "peri")
RATES = ("1e-3", "3e-3", "1e-2", "3e-2", "0.1", "0.3", "1", "3", "10", "30")
DIVERGED = 6.0  # above ln 256, the loss of a model that knows nothing


def sgd_loss(r):
    """Validation loss; a model that has hardly moved has not failed."""
    return r.loss if not r.diverged and r.loss <= DIVERGED else DIVERGED


def sgd(norm, rate):
    return runs("S64", (norm,), (rate,) if rate else (), SEEDS, optimizer="sgd")


def mean_loss(norm, rate):
    found = done(sgd(norm, rate))
    return mean(map(sgd_loss, found)) if len(found) == len(SEEDS) else None


def grid(norm):
    """1e-2 to 3, and beyond an end where the best rate lies at it."""
    if FAST:
        return ("1e-2", "1")
    return widened(RATES, 2, 8, lambda rate: mean_loss(norm, rate))


def best(norm):
    return best_inside(grid(norm), lambda rate: mean_loss(norm, rate))


def adam(norm):
    return runs("S64", (norm,), (best_rate(norm),) if best_rate(norm) else (), SEEDS)


def wanted():
    return [run for norm in NORMS for rate in grid(norm) for run in sgd(norm, rate)]


def figures():
    def curve(norm):
        losses = {rate: [sgd_loss(r) for r in done(sgd(norm, rate))] for rate in grid(norm)}
        return Curve(norm, [(float(rate), mean(v), min(v), max(v)) for rate, v in losses.items()
                            if v], norm, marks=True)
    panels = [Panel("SGD", "peak learning rate", "validation loss (nats a byte)",
                    [curve(norm) for norm in NORMS], logx=True)]
    panels += [Panel("at the best rates", "step", title,
                     [Curve(f"{norm}, {kind}", in_training(runs_of(norm), column), norm, dashed)
                      for norm in NORMS for kind, runs_of, dashed in
                      (("SGD", lambda norm: sgd(norm, best(norm)), True), ("AdamW", adam, False))],
                     logy=column == "grad_norm")
               for title, column in (("loss, nats a byte", "loss"), ("gradient norm", "grad_norm"))]
    return [(figure("sgd", "SGD (Figures 35 to 38): " + RAN, panels),
             "Loss over SGD's rates; loss and gradient norm in training, beside AdamW.")]


# ---- claims -------------------------------------------------------------------------------------

def worse_claims():
    """Of each placement: the claim is contradicted for either."""
    found = []
    for title, norm in (("Pre-LN", "pre"), ("Peri-LN", "peri")):
        behind = pairs(sgd(norm, best(norm)), adam(norm), sgd_loss)
        ends = [f"{kind} at {rate} {spread([sgd_loss(r) for r in done(wanted)])}"
                for kind, rate, wanted in (("SGD", best(norm), sgd(norm, best(norm))),
                                           ("AdamW", best_rate(norm), adam(norm)))]
        found.append(Claim("sgd-worse", RAN, f"{title}: {', '.join(ends)}; behind by "
                           f"{spread(behind)}",
                           judge(verdict(behind) == SHOWN, all_below(behind, 0),
                                 [verdict(behind)])))
    return found


def peri_claim():
    leads = {rate: pairs(sgd("pre", rate), sgd("peri", rate), sgd_loss) for rate in RATES}
    words = [f"{rate} {spread(lead)}" for rate, lead in leads.items() if lead]
    lead = pairs(sgd("pre", best("pre")), sgd("peri", best("peri")), sgd_loss)
    return [Claim("sgd-peri", RAN, f"Peri-LN's lead, nats, at the best rates {spread(lead)}; rate "
                  f"by rate: {'; '.join(words)}", verdict(lead))]


def claims():
    if not any(best(norm) for norm in NORMS):
        return []
    return worse_claims() + peri_claim()
