"""LayerNorm in place of RMSNorm in Peri-LN (Figure 19)."""
from draw import Curve, Panel, figure
from measures import FIVE, done, in_training
from qk_norm import KIND, RAN, runs_of
from verdict import Claim, alike, loss, pairs, spread

SECTION = "Data, schedule and kind of norm"
PLAIN = "without QK-norm"
MARGIN = 0.02


def wanted():
    return [run for kind in KIND for run in runs_of(kind, PLAIN)]


def figures():
    panels = [Panel(title, "step", title,
                    [Curve(kind, in_training(runs_of(kind, PLAIN), column), colour)
                     for kind, colour in (("RMSNorm", "peri"), ("LayerNorm", "#1a1a1a"))],
                    logy=column == "grad_norm")
              for title, column in (("loss (nats a byte)", "loss"), ("gradient norm", "grad_norm"))]
    return [(figure("layernorm", "LayerNorm and RMSNorm (Figure 19): " + RAN, panels, 2),
             "Training loss and gradient norm of Peri-LN with either kind of norm.")]


def claims():
    rms, layer = (runs_of(kind, PLAIN) for kind in KIND)
    if not done(layer):
        return []
    differences = pairs(layer, rms)
    return [Claim("layernorm-alike", RAN,
                  f"loss with LayerNorm {spread([loss(r) for r in done(layer)])}, with RMSNorm "
                  f"{spread([loss(r) for r in done(rms)])}, difference "
                  f"{spread(differences, '+.3f')}",
                  alike(differences, MARGIN, len(FIVE)))]
