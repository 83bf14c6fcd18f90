"""Warmup over 30 % of the steps in place of 10 % (Figure 18)."""
from statistics import mean

from draw import Curve, Panel, figure
from lab import FAST, SEEDS, runs
from learning_rate import around_shared_rate, caution
from measures import done, spikes
from verdict import CONTRADICTED, SHOWN, Claim, interval, judge, loss, pairs, spread, verdict

SECTION = "Data, schedule and kind of norm"
RAN = "12 x 64, 300 steps of 16 x 64 bytes, seeds 11 to 13"
NORMS = ("pre", "peri")
SHARES = {"10 %": {}, "30 %": {"warmup": "0.3"}}


def rates():
    return around_shared_rate(1, 4) if FAST else around_shared_rate(0.5, 1, 2, 4)


def runs_of(norm, rate, share):
    return runs("S64", (norm,), (rate,), SEEDS, **SHARES[share])


def wanted():
    return [run for share in SHARES for rate in rates() for norm in NORMS
            for run in runs_of(norm, rate, share)]


def figures():
    def curve(norm, share):
        losses = {rate: [loss(r) for r in done(runs_of(norm, rate, share))] for rate in rates()}
        return Curve(norm, [(float(rate), mean(v), min(v), max(v)) for rate, v in losses.items()
                            if v], norm, marks=True)
    panels = [Panel(f"warmup over {share} of the steps", "peak learning rate",
                    "validation loss (nats a byte)", [curve(norm, share) for norm in NORMS],
                    logx=True) for share in SHARES]
    return [(figure("warmup", "Warmup (Figure 18): " + RAN, panels, 2),
             "Validation loss against the peak learning rate, with shorter and longer warmup.")]


# ---- claims -------------------------------------------------------------------------------------

def leads(share):
    return {rate: pairs(runs_of("pre", rate, share), runs_of("peri", rate, share))
            for rate in rates()}


def loss_claim():
    found = [verdict(lead) for lead in leads("30 %").values()]
    words = [f"{share}: " + ", ".join(f"{rate} {spread(lead)}"
                                      for rate, lead in leads(share).items()) for share in SHARES]
    return [Claim("warmup-loss", RAN, "Peri-LN's lead, nats, " + "; ".join(words) + caution(),
                  judge(all(v == SHOWN for v in found),
                        found.count(CONTRADICTED) >= len(found) / 2, found))]


def lead_claim():
    """Whether the longer warmup takes from the lead, rate by rate."""
    found = []
    for rate, short in leads("10 %").items():
        long = leads("30 %")[rate]
        if len(short) != len(long) or not short:
            continue
        less = [a - b for a, b in zip(short, long)]
        gained = lambda norm: pairs(runs_of(norm, rate, "10 %"), runs_of(norm, rate, "30 %"))
        gains = [f"{norm} {interval(gained(norm))}" for norm in NORMS]
        found.append(Claim("warmup-lead", f"{RAN}, rate {rate}",
                           f"Peri-LN's lead at {rate}: {spread(short, '+.3f')} with 10 % (30 "
                           f"steps), {spread(long, '+.3f')} with 30 % (90); the longer warmup "
                           f"takes {interval(less)} from it and lowers the loss of "
                           f"{', of '.join(gains)}", verdict(less)))
    return found


def spikes_claim():
    counts = {share: [spikes(r) for rate in rates() for r in done(runs_of("pre", rate, share))]
              for share in SHARES}
    more = [d for rate in rates()
            for d in pairs(runs_of("pre", rate, "30 %"), runs_of("pre", rate, "10 %"), spikes) if d]
    short, long = sum(counts["10 %"]), sum(counts["30 %"])
    shown = len(more) >= 5 and min(more) > 0
    fewer = len(more) >= 5 and max(more) < 0 and long < short / 2
    return [Claim("warmup-spikes", f"Pre-LN, {RAN}, rates {', '.join(rates())}",
                  f"{short} spikes in {len(counts['10 %'])} runs with 10 %, {long} in "
                  f"{len(counts['30 %'])} with 30 %; fewer with 30 % in {sum(d < 0 for d in more)} "
                  f"pairs, more in {sum(d > 0 for d in more)}", judge(shown, fewer))]


def claims():
    if not any(done(runs_of("pre", rate, "30 %")) for rate in rates()):
        return []
    return loss_claim() + lead_claim() + spikes_claim()
