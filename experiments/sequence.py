"""Sequences four times longer (Figure 17). The paper shortens from 8192 to 2048."""
from draw import Curve, Panel, figure
from lab import SEEDS, runs
from learning_rate import around_shared_rate, caution, curve, grid
from measures import done, in_training
from verdict import Claim, joint, pairs, spread, verdict

SECTION = "Data, schedule and kind of norm"
RAN = "12 x 64, 300 steps, seeds 11 to 13"
NORMS = ("pre", "peri")


def short(norm, rates):
    return runs("S64", (norm,), rates, SEEDS)


def long(norm):
    return runs("S64", (norm,), around_shared_rate(), SEEDS, seq=256)


def wanted():
    return [run for norm in NORMS for run in short(norm, around_shared_rate()) + long(norm)]


def figures():
    panels = [Panel(f"16 x {length}", "step", "loss (nats a byte)",
                    [Curve(norm, in_training(runs_of(norm), "loss"), norm) for norm in NORMS])
              for length, runs_of in ((64, lambda norm: short(norm, around_shared_rate())),
                                      (256, long))]
    panels.append(Panel("16 x 64", "peak learning rate", "validation loss (nats a byte)",
                        [curve(norm) for norm in NORMS], logx=True))
    return [(figure("sequence", "Sequence length (Figure 17): at R, " + RAN, panels),
             "Training loss with short and long sequences, and over the rates with short ones.")]


def claims():
    if not done(long("pre")):
        return []
    leads = {"16 x 64": pairs(*(short(norm, around_shared_rate()) for norm in NORMS)),
             "16 x 256": pairs(long("pre"), long("peri"))}
    others = [f"{rate} {spread(pairs(short('pre', (rate,)), short('peri', (rate,))))}"
              for rate in grid("pre")]
    words = [f"at R, {length}: {spread(lead)}" for length, lead in leads.items()]
    return [Claim("sequence-length", RAN, f"Peri-LN's lead, nats, {'; '.join(words)}; 16 x 64 at "
                  f"other rates: {', '.join(others)}{caution()}",
                  joint(map(verdict, leads.values())))]
