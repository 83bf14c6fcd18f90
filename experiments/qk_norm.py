"""QK-norm in Peri-LN (Table 6), and LayerNorm in place of RMSNorm (Figure 19): four cells."""
from draw import Curve, Panel, figure
from lab import runs
from learning_rate import around_shared_rate
from measures import FIVE, done, in_training
from verdict import Claim, loss, pairs, spread, verdict

SECTION = "Other placements and optimizers"
RAN = "Peri-LN, 12 x 64, 300 steps of 16 x 64 bytes at R, seeds 11 to 15"
QK = {"without QK-norm": {}, "with QK-norm": {"qk_norm": "full"}}
KIND = {"RMSNorm": {}, "LayerNorm": {"layernorm": True}}


def runs_of(kind, qk):
    return runs("S64", ("peri",), around_shared_rate(), FIVE, **KIND[kind], **QK[qk])


def wanted():
    return [run for kind in KIND for qk in QK for run in runs_of(kind, qk)]


def figures():
    curves = [Curve(f"{kind}, {qk}", in_training(runs_of(kind, qk), "loss"), colour, bool(QK[qk]))
              for kind, colour in (("RMSNorm", "peri"), ("LayerNorm", "#1a1a1a")) for qk in QK]
    end = [Curve(c.label, [p for p in c.points if p[0] > 200], c.colour, c.dashed) for c in curves]
    panels = [Panel("training", "step", "loss (nats a byte)", curves),
              Panel("the last third", "step", "loss (nats a byte)", end, closer=True)]
    return [(figure("qk_norm", "QK-norm and LayerNorm (Table 6): " + RAN, panels, 2),
             "Training loss of Peri-LN with and without QK-norm, with RMSNorm and LayerNorm.")]


def claims():
    if not done(runs_of("RMSNorm", "with QK-norm")):
        return []
    gains = {kind: pairs(runs_of(kind, "without QK-norm"), runs_of(kind, "with QK-norm"))
             for kind in KIND}
    cells = [f"{kind} {qk} {spread([loss(r) for r in done(runs_of(kind, qk))])}"
             for kind in KIND for qk in QK]
    words = [f"with {kind} {spread(gain)}" for kind, gain in gains.items()]
    return [Claim("qk-norm", RAN, f"loss lower by QK-norm, {', '.join(words)}; loss: "
                  f"{'; '.join(cells)}", verdict(gains["RMSNorm"], len(FIVE)))]
