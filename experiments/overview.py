"""Everything on one page: ten placements by learning rate and by depth, the highest rate that works, and how the
hidden state grows. Drawn here as SVG, not by gnuplot: it is a table whose cells have colours.
"""
from html import escape
from statistics import mean, median

import depth
import depths
import placements as wide
from draw import COLOURS, FIGURES, WIDTH
from lab import placements
from learning_rate import best_rate, grid, runs_of, shared_rate
from measures import done, last_variance, shapes
from verdict import FAILED_LOSS, failed, loss

NAME, ROW, GAP, TOP, BOTTOM = 94, 26, 14, 92, 78
COLUMN, WORDS = 41, 62  # widths of a cell, of a cell that says more
WORST = 0.6             # nats above the block's best that have the darkest colour
LIGHT, DARK = (255, 248, 226), (92, 58, 6)


# ---- what it shows ------------------------------------------------------------------------------

def mean_loss(made):
    """None where nothing was run, "x" where a seed failed."""
    if not made:
        return None
    return "x" if any(map(failed, made)) else mean(map(loss, made))


def by_depth():
    """As losses(), of depths.py: all the same but the placement, a block a depth."""
    cell = lambda value: None if value is None else "x" if value >= FAILED_LOSS else value
    return [(f"{layers} layers", [(f"{float(rate):.2g}".lstrip("0"), {norm: cell(v) for norm, v in column.items()})
                                  for rate, column in columns]) for layers, columns in depths.cells("on")]


def whole(blocks):
    return all(value is not None for _, columns in blocks for _, column in columns for value in column.values())


def losses():
    """[(title, [(column, {placement: mean_loss})])], in blocks whose losses compare."""
    if whole(found := by_depth()):
        return found
    rates = sorted({rate for norm in placements() for rate in grid(norm)}, key=float)
    found = [("12 layers, 300 steps, by learning rate",
              [(f"{float(rate):.2g}".lstrip("0"),
                {norm: mean_loss(done(runs_of(norm, rate))) for norm in placements()})
               for rate in rates])]
    if shared_rate():
        found.append((f"150 steps at {shared_rate()}, by layers",
                      [(str(layers), {norm: mean_loss(done(depth.runs_of(norm, layers)))
                                      for norm in depth.NORMS}) for layers in depth.DEPTHS]))
    return found


def highest(norm):
    """The highest rate at which no seed failed, "or more" where none higher was tried."""
    tried = {rate: made for other in placements() for rate in grid(other)
             if (made := done(runs_of(norm, rate)))}
    works = [rate for rate, made in tried.items() if not any(map(failed, made))]
    best = max(works, key=float, default="none")
    return f"≥ {best}" if works and best == max(tried, key=float) else best


def words(norm):
    """{column: what it says}: the rates, and medians over the seeds at 12 x 128."""
    found = {"best rate": best_rate(norm) or "", "highest": highest(norm)}
    for rate in wide.RATES:
        made = [r for r in done(wide.runs_of(norm, rate)) if not r.diverged]
        found[f"var. {rate}"] = wide.short(median(map(last_variance, made))) if made else ""
        if rate == wide.RATES[0]:
            exponents = [fit["exponent"] for r in made if (fit := shapes(r))]
            found["exponent"] = f"{median(exponents):.2f}" if exponents else ""
    return found


# ---- SVG ----------------------------------------------------------------------------------------

def text(x, y, content, anchor="middle", size=11, fill="#1a1a1a", more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{fill}"{more}>{escape(str(content))}</text>')


def loss_cell(x, y, value, best):
    if value is None:
        return ""
    middle = x + COLUMN / 2
    if value == "x":
        return (f'<rect x="{x}" y="{y}" width="{COLUMN - 2}" height="{ROW - 2}" fill="#e4e4e4"/>'
                + text(middle, y + 17, "×", size=14))
    share = min(1.0, (value - best) / WORST) ** 0.5
    tint = "#%02x%02x%02x" % tuple(round(a + (b - a) * share) for a, b in zip(LIGHT, DARK))
    frame = ' stroke="#1a1a1a" stroke-width="2"' if value == best else ""
    return (f'<rect x="{x}" y="{y}" width="{COLUMN - 2}" height="{ROW - 2}" fill="{tint}"{frame}/>'
            + text(middle, y + 16, f"{value:.2f}", fill="#ffffff" if share > 0.6 else "#1a1a1a"))


def drawn():
    """The lines of the picture."""
    norms, lines, x = placements(), [], NAME
    y = {norm: TOP + ROW * i for i, norm in enumerate(norms)}
    for norm in norms:
        lines.append(text(NAME - 8, y[norm] + 16, norm, "end", 12, COLOURS[norm], ' font-weight="600"'))
    for title, columns in losses():
        values = [v for _, column in columns for v in column.values() if isinstance(v, float)]
        lines.append(text(x, TOP - 28, title, "start", 12))
        for name, column in columns:
            lines.append(text(x + COLUMN / 2, TOP - 8, name))
            lines += [loss_cell(x, y[norm], value, min(values, default=0))
                      for norm, value in column.items()]
            x += COLUMN
        x += GAP
    told = {norm: words(norm) for norm in norms}
    for i, name in enumerate(next(iter(told.values()))):
        lines.append(text(x + WORDS / 2, TOP - 8, name))
        lines += [text(x + WORDS / 2, y[norm] + 16, told[norm].get(name, "")) for norm in norms]
        x += WORDS
    width, height = max(x, WIDTH), TOP + ROW * len(norms) + BOTTOM
    deep = whole(by_depth())
    what = ("validation loss (nats a byte) at width 64, 150 steps, N(0, 0.08^2), the embedding norm in all, seed 11" if deep else
            "mean validation loss (nats a byte) of three seeds at width 64")
    of_rates = "Rates: 12 layers, 300 steps, N(0, 0.02^2), three seeds. " if deep else ""
    lines += [text(width / 2, 22, "Ten placements on one page", size=15),
              text(width / 2, 42, "python3 experiments/report.py run learning_rate depth depths placements", size=11),
              *(text(NAME, height - BOTTOM + 26 + 18 * i, line, "start") for i, line in enumerate((
                  f"Cells: {what}; the darker the further above the block's best (framed), up to {WORST}.",
                  "× a seed failed: it learned no more than how often each byte occurs. Blank: not run. Highest: rate at which no seed "
                  "failed (≥: none higher was tried).",
                  f"{of_rates}Var.: variance of the last hidden state after 300 steps at width 128; over the sub-layers s it is like s^exponent at "
                  "2e-3.")))]
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" font-family="sans-serif"><rect width="100%" height="100%" fill="#ffffff"/>',
            *filter(None, lines), "</svg>"]


def figure():
    """Writes figures/overview.svg; returns its path, None where nothing has been measured yet."""
    if not any(value is not None for _, columns in losses() for _, column in columns
               for value in column.values()):
        return None
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / "overview.svg"
    path.write_text("\n".join(drawn()) + "\n")
    return path
