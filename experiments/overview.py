"""Everything on one page: ten placements, without and with the embedding norm, by depth and learning rate, and how
the hidden state grows. Drawn here as SVG, not by gnuplot: it is a table whose cells have colours.
"""
from html import escape

import depth
import depths
from draw import COLOURS, FIGURES, WIDTH
from lab import placements
from measures import done
from verdict import FAILED_LOSS

NAME, HALF, TOP, BOTTOM = 116, 18, 92, 78
ROW = 2 * HALF + 6        # a placement: without the embedding norm above, with it below
COLUMN, WORDS, GAP = 39, 42, 12  # widths of a cell, of a cell of the margin, between blocks
WORST = 0.6               # nats above the block's best that have the darkest colour
LIGHT, DARK = (255, 248, 226), (92, 58, 6)
NORM = ("off", "on")      # the embedding norm, from above
GROWTH = "4e-3"           # the rate whose growth over depth the margin tells


# ---- what it shows ------------------------------------------------------------------------------

def cell(arm, layers, rate):
    """Its loss, "x" where it failed, None where it was not run."""
    value = depths.loss_at(arm, layers, rate)
    return "x" if value is not None and value >= FAILED_LOSS else value


def losses():
    """[(layers, [(rate, {(placement, embedding norm): cell})])], in blocks whose losses compare."""
    arms = [(norm, which) for norm in placements() for which in NORM]
    return [(layers, [(rate, {arm: cell(arm, layers, rate) for arm in arms}) for rate in depths.RATES])
            for layers in depths.DEPTHS]


def numbers(columns):
    return [v for _, column in columns for v in column.values() if isinstance(v, float)]


def whole(columns):
    return all(v is not None for _, column in columns for v in column.values())


def exponent(arm, layers):
    """Of the variance over depth at the end, s^p; "" where it was not run or no power fits."""
    made = done(depths.runs_of(arm, layers, GROWTH, depths.FIRST))
    p = depth.exponent(made[0]) if made else float("nan")
    return f"{p:.2f}".replace("-0.00", "0.00") if p == p else ""


# ---- SVG ----------------------------------------------------------------------------------------

def text(x, y, content, anchor="middle", size=11, fill="#1a1a1a", more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{fill}"{more}>{escape(str(content))}</text>')


def loss_cell(x, y, value, best):
    if value is None:
        return ""
    middle = x + COLUMN / 2
    if value == "x":
        return (f'<rect x="{x}" y="{y}" width="{COLUMN - 2}" height="{HALF - 1}" fill="#e4e4e4"/>'
                + text(middle, y + 13, "×", size=13))
    share = min(1.0, (value - best) / WORST) ** 0.5
    tint = "#%02x%02x%02x" % tuple(round(a + (b - a) * share) for a, b in zip(LIGHT, DARK))
    frame = ' stroke="#1a1a1a" stroke-width="2"' if value == best else ""
    return (f'<rect x="{x}" y="{y}" width="{COLUMN - 2}" height="{HALF - 1}" fill="{tint}"{frame}/>'
            + text(middle, y + 12.5, f"{value:.2f}", fill="#ffffff" if share > 0.6 else "#1a1a1a"))


def block(x, layers, columns, y):
    """The cells of a depth, of which `x` is the left edge."""
    best = min(numbers(columns), default=0)
    lines = [text(x, TOP - 28, f"{layers} layers", "start", 12)]
    for i, (rate, column) in enumerate(columns):
        left = x + COLUMN * i
        lines.append(text(left + COLUMN / 2, TOP - 8, f"{float(rate):.2g}".lstrip("0")))
        lines += [loss_cell(left, y[key], value, best) for key, value in column.items()]
    return lines


def drawn():
    """The lines of the picture."""
    y = {(norm, which): TOP + ROW * i + HALF * half for i, norm in enumerate(placements()) for half, which in enumerate(NORM)}
    lines, x = [], NAME
    for norm in placements():
        lines.append(text(NAME - 32, y[norm, "on"] + 4, norm, "end", 12, COLOURS[norm], ' font-weight="600"'))
    lines += [text(NAME - 6, top + 12.5, which, "end", 10, "#6a6a6a") for (_, which), top in y.items()]
    for layers, columns in losses():
        lines += block(x, layers, columns, y)
        x += COLUMN * len(columns) + GAP
    lines.append(text(x, TOP - 28, f"p at {GROWTH}, layers", "start", 12))
    for layers in depths.DEPTHS:
        lines.append(text(x + WORDS / 2, TOP - 8, layers))
        lines += [text(x + WORDS / 2, top + 12.5, exponent(key, layers)) for key, top in y.items()]
        x += WORDS
    width, height = max(x, WIDTH), TOP + ROW * len(placements()) + BOTTOM
    lines += [text(width / 2, 22, "Ten placements on one page", size=15),
              text(width / 2, 42, "python3 experiments/report.py run depths", size=11),
              *(text(NAME, height - BOTTOM + 22 + 18 * i, line, "start") for i, line in enumerate((
                  "Validation loss (nats a byte) by learning rate: width 64, 150 steps, N(0, 0.08^2), seed 11; off, on: without and with an embedding norm.",
                  f"The darker the further above the best of its depth (framed), up to {WORST}. × it learned no more than how often each byte "
                  f"occurs.{'' if all(whole(columns) for _, columns in losses()) else ' Blank: not run.'}",
                  "p: after training the variance of the hidden state over the sub-layers s is like s^p; 0 is constant, 1 a line.")))]
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="sans-serif"><rect width="100%" height="100%" fill="#ffffff"/>',
            *filter(None, lines), "</svg>"]


def figure():
    """Writes figures/overview.svg; returns its path, None where nothing has been measured yet."""
    if not any(numbers(columns) for _, columns in losses()):
        return None
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / "overview.svg"
    path.write_text("\n".join(drawn()) + "\n")
    return path
