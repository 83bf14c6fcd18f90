"""The embedding norm off and on in all ten placements, at one initialisation (beyond the paper)."""
from causes import (DARK, LIGHT, arms_table, contrast, dot_panel, dots, losses, missing, wanted_of)
from draw import figure
from lab import SEEDS, placements
from verdict import Claim, interval, of_all, verdict

SECTION = "What causes the lead"
RAN = "12 x 64, 600 steps of 16 x 64 bytes, N(0, 0.08^2), 90 steps of warmup, seeds 11 to 13"
BY_SEED = True


def arm(norm, which):
    return (norm, which, "0.08", 90)


def arms():
    return [arm(norm, which) for norm in placements() for which in ("off", "on")]


def wanted():
    return wanted_of(arms(), SEEDS)


def gains():
    """{placement: how much the embedding norm lowers its loss, by seed}"""
    found = {norm: contrast([(1, arm(norm, "off")), (-1, arm(norm, "on"))], SEEDS)
             for norm in placements()}
    return {norm: values for norm, values in found.items() if len(values) > 1}


def behind():
    """{placement: its loss less Peri-LN's, the embedding norm in both, by seed}"""
    found = {norm: contrast([(1, arm(norm, "on")), (-1, arm("peri", "on"))], SEEDS)
             for norm in placements() if norm != "peri"}
    return {norm: values for norm, values in found.items() if len(values) > 1}


def figures():
    found = gains()
    if not found:
        return []
    at = {which: {norm: list(losses(arm(norm, which), SEEDS).values()) for norm in found}
          for which in ("off", "on")}
    panels = [dot_panel("the embedding norm off and on", "validation loss (nats a byte)", found,
                        [dots(at["off"], LIGHT, "off", 0.12), dots(at["on"], DARK, "on", -0.12)],
                        zero=False),
              dot_panel("what it gains", "nats a byte", found, [dots(found, DARK, "off less on")])]
    return [(figure("causes_ten", f"The embedding norm in ten placements: {RAN}", panels, 2),
             "Loss of each placement at its best rate without and with the embedding norm, and "
             "what the norm gains. Means over the seeds with 95 % intervals.")]


def overview():
    rows = arms_table(arms(), SEEDS)
    return [f"Each placement at its best rate, {RAN}.\n", *rows, *missing(wanted())] if rows else []


def claim(name, what, by_norm, others, against):
    """Of every placement together; contradicted where so many are."""
    says = {norm: verdict(values) for norm, values in by_norm.items()}
    if len(says) < others:
        return []
    told = "; ".join(f"{norm} {interval(by_norm[norm])}, {says[norm]}" for norm in says)
    return [Claim(name, f"{RAN}, each at its best rate", f"{what}: {told}", of_all(says.values(), against))]


def claims():
    ten = len(placements())
    return (claim("ten-embedding-norm", "loss without less loss with the norm", gains(), ten, ten // 2)
            + claim("ten-order", "loss less Peri-LN's", behind(), ten - 1, 1))
