"""Norms at other places: A + C (`input-main`) and B alone (`output`) (Table 5)."""
from math import log
from statistics import stdev

from draw import Curve, Panel, figure
from lab import SEEDS, runs
from learning_rate import around_shared_rate, best_rate, curve, grid, shared_rate, workable
from measures import FIVE, done, in_training
from seeds import at_best
from verdict import SHOWN, Claim, failed, judge, loss, pairs, spread, verdict

SECTION = "Other placements and optimizers"
RAN = "12 x 64, 300 steps of 16 x 64 bytes"
FOUR = ("post", "input-main", "output", "peri")


def output_without_final_norm():
    return runs("S64", ("output",), around_shared_rate(), FIVE, final_norm="off")


def wanted():
    return ([run for norm in ("post", "input-main", "peri") for run in at_best(norm)]
            + output_without_final_norm())


def at(norm, rate):
    return runs("S64", (norm,), (rate,) if rate else (), SEEDS)


def figures():
    rate = best_rate("input-main")
    panels = [Panel("16 x 64", "peak learning rate", "validation loss (nats a byte)",
                    [curve(norm) for norm in FOUR], logx=True)]
    panels += [Panel(f"at {rate}, the best of A + C", "step", title,
                     [Curve(norm, in_training(at(norm, rate), column), norm) for norm in FOUR],
                     logy=column == "grad_norm")
               for title, column in (("loss, nats a byte", "loss"), ("gradient norm", "grad_norm"))]
    return [(figure("table5", f"Norms at other places (Table 5): {RAN}, seeds 11 to 13", panels),
             "Loss over the rates; loss and gradient norm in training at the best rate of A + C.")]


# ---- claims -------------------------------------------------------------------------------------

def order_claims():
    if not done(at_best("input-main")):
        return []
    seen = "; ".join(f"{norm} at {best_rate(norm)} {spread([loss(r) for r in done(at_best(norm))])}"
                     for norm in ("peri", "input-main", "post"))
    return [Claim("table5-order", f"{RAN}, each at its best rate, seeds 14 to 20",
                  f"{title}: {seen}", verdict(pairs(at_best(above), at_best(below)), 7))
            for title, above, below in (("Peri-LN < A + C", "input-main", "peri"),
                                        ("A + C < Post-LN", "post", "input-main"))]


def up_to_shared_rate():
    """Runs of `output` in `rates` and `ten`."""
    rates = [rate for rate in grid("output") if float(rate) <= float(shared_rate())]
    wide = ["2e-3"] if float(shared_rate()) >= 2e-3 else []
    return (runs("S64", ("output",), rates, SEEDS)
            + runs("S128", ("output",), wide, SEEDS, probe=50))


def output_claim():
    without = done(output_without_final_norm())
    if not without:
        return []
    below, at_shared_rate = done(up_to_shared_rate()), done(at("output", shared_rate()))
    above = done(runs("S64", ("output",), [rate for rate in grid("output")
                                           if float(rate) > float(shared_rate())], SEEDS))
    told = lambda found: f"{sum(map(failed, found))} of {len(found)}"
    complete = len(without) == len(FIVE) and len(at_shared_rate) == len(SEEDS)
    shown = complete and (all(map(failed, at_shared_rate)) or all(map(failed, without)))
    gone = complete and not any(map(failed, below + without))
    return [Claim("table5-output-fails",
                  f"{RAN}, seeds 11 to 15; 12 x 128 at 2e-3; R is {shared_rate()}",
                  f"runs that fail: {told(below)} up to R, {told(above)} above, {told(without)} at "
                  f"R without final norm; loss at R {spread([loss(r) for r in at_shared_rate])}, "
                  f"without final norm {spread([loss(r) for r in without])}, of peri "
                  f"{spread([loss(r) for r in done(at('peri', shared_rate()))])}",
                  judge(shown, gone))]


def swing(r):
    """Standard deviation of the logarithm of the gradient norm, after the 10 % of warmup."""
    norms = [norm for _, norm in r.series("grad_norm")]
    later = [log(norm) for norm in norms[len(norms) // 10:] if 0 < norm < float("inf")]
    return stdev(later) if len(later) > 1 else float("nan")


def rate_claim():
    three = ("input-main", "post", "peri")
    rate, best = best_rate("input-main"), [best_rate(norm) for norm in three]
    if None in best:
        return []
    mine, post, peri = (float(workable(norm) or 0) for norm in three)
    swings = pairs(at("input-main", rate), at("peri", rate), swing)
    words = [f"{norm}: best rate {each}, workable up to {workable(norm) or 'none'}, standard "
             f"deviation of log gradient norm at {rate} "
             f"{spread([swing(r) for r in done(at(norm, rate))], '.2f')}"
             for norm, each in zip(three, best)]
    shown = mine <= post and mine < peri and verdict(swings) == SHOWN
    return [Claim("table5-input-main-rate", f"{RAN}, all rates, seeds 11 to 13", "; ".join(words),
                  judge(shown, mine >= peri, [verdict(swings)]))]


def claims():
    return order_claims() + output_claim() + rate_claim()
