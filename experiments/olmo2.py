"""OLMo-2's placement beside Peri-LN (Figures 32 to 34).

Peri-LN has an embedding norm and OLMo-2's placement has none, but norms of queries and keys; so
each is also run with what the other has.
"""
from draw import Curve, Panel, figure
from lab import SEEDS, STEPS, runs
from learning_rate import around_shared_rate, best_rate, curve, shared_rate
from measures import FIVE, done, in_training, spikes
from seeds import at_best
from verdict import Claim, alike, interval, joint, loss, pairs, spread, verdict

SECTION = "Other placements and optimizers"
RAN = "12 layers, 300 steps of 16 x 64 bytes"
MARGIN = 0.03
BOTH = ("olmo2", "peri")


def at_shared_rate(norm, seeds=SEEDS, **flags):
    return runs("S64", (norm,), around_shared_rate(), seeds, **flags)


def wide(norm):
    return runs("S128", (norm,), ("2e-3",), SEEDS, probe=50)


# What decides: name, then a placement's runs, then how many pairs there are to be.
SETTINGS = {"width 64 at R": (at_shared_rate, len(SEEDS)),
            "width 64 at best rates": (at_best, 7), "width 128 at 2e-3": (wide, len(SEEDS))}


def parts():
    """{name: runs}, at R."""
    return {"olmo2 with embedding norm": at_shared_rate("olmo2", FIVE, embedding_norm="on"),
            "peri with": at_shared_rate("peri", FIVE),
            "olmo2 without": at_shared_rate("olmo2", FIVE),
            "peri without": at_shared_rate("peri", FIVE, embedding_norm="off"),
            "peri with embedding norm and QK-norm": at_shared_rate("peri", FIVE, qk_norm="full")}


def wanted():
    best = [run for norm in BOTH for run in at_best(norm)]
    return best + [run for runs_of_part in parts().values() for run in runs_of_part]


def figures():
    def training(title, runs_of, column):
        y = {"loss": "training loss", "grad_norm": "gradient norm"}[column]
        return Panel(title, "step", y, [Curve(norm, in_training(runs_of(norm), column), norm)
                                        for norm in BOTH], logy=column == "grad_norm")
    ending = training("12 x 64, best rates, the last sixth", at_best, "loss")
    ending.closer = True
    for each in ending.curves:
        each.points = [point for point in each.points if point[0] > STEPS * 5 / 6]
    panels = [ending, training("12 x 64, best rates", at_best, "grad_norm"),
              training("12 x 128, 2e-3", wide, "loss"),
              Panel("12 x 64", "peak learning rate", "validation loss (nats a byte)",
                    [curve(norm) for norm in BOTH], logx=True)]
    return [(figure("olmo2", "OLMo-2 and Peri-LN (Figures 32 to 34): " + RAN
                    + ", seeds 11 to 13, at best rates 14 to 20", panels, 2),
             "Training loss and gradient norm of OLMo-2's placement and Peri-LN, and the rates.")]


def claims():
    if not shared_rate() or not done(at_best("olmo2")):
        return []
    leads = {name: (pairs(runs_of("olmo2"), runs_of("peri")), n)
             for name, (runs_of, n) in SETTINGS.items()}
    words = [f"{name} {spread(lead)}" for name, (lead, _) in leads.items()]
    cells = [f"{name} {spread([loss(r) for r in done(part)])}" for name, part in parts().items()]
    events = [f"{norm} {sum(spikes(r) for r in done(at_shared_rate(norm, FIVE)))}" for norm in BOTH]
    seen = (f"Peri-LN's lead, nats, {'; '.join(words)}. Spikes at R, seeds 11 to 15: "
            f"{', '.join(events)}. Loss at R, seeds 11 to 15: {'; '.join(cells)}")
    ran = (f"{RAN}, seeds 11 to 13; at best rates, {best_rate('olmo2')} and {best_rate('peri')}, "
           f"seeds 14 to 20")
    return [Claim("olmo2-alike", ran, f"Peri-LN ahead: {seen}",
                  joint(verdict(lead, n) for lead, n in leads.values())),
            Claim("olmo2-alike", ran, f"alike within {MARGIN}: as above",
                  joint(alike(lead, MARGIN, n) for lead, n in leads.values()))] + same_parts()


def same_parts():
    """The same two claims where both have the embedding norm, which Peri-LN has of its own."""
    cells = parts()
    both = pairs(cells["olmo2 with embedding norm"], cells["peri with"])
    with_qk = pairs(cells["olmo2 with embedding norm"],
                    cells["peri with embedding norm and QK-norm"])
    if not both:
        return []
    ran = "12 x 64, 300 steps of 16 x 64 bytes at R, seeds 11 to 15"
    words = (f"with the embedding norm on in both, Peri-LN's lead {interval(both)}; with QK-norm "
             f"in both as well {interval(with_qk)}")
    return [Claim("olmo2-alike", ran, f"Peri-LN ahead: {words}", verdict(both, len(FIVE))),
            Claim("olmo2-alike", ran, f"alike within {MARGIN}: as the row above",
                  alike(both, MARGIN, len(FIVE)))]
