"""Figures by gnuplot, as SVG. A figure is a grid of panels, a panel a few curves.

Panels of a figure that show the same quantity have the same axes, so that heights compare, and curves
are named at their ends.
"""
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10
from pathlib import Path
from statistics import mean

from lab import HERE, RESULTS

FIGURES = RESULTS.parent / "figures"
# A placement has one colour everywhere, also on --view's page. Those who cannot tell red from green
# tell them apart: tests/test_experiments_figures.py.
COLOURS = {"post": "#0072b2", "pre": "#d55e00", "peri": "#009e73", "output": "#445600",
           "input-main": "#a51d6c", "olmo2": "#9f67ff", "keel": "#35b9ff", "simple": "#c0b100",
           "mix": "#ff75be", "deep": "#4a00f6"}
# What is no placement takes these by turns; none is a placement's.
OTHERS = ("#1a1a1a", "#8a8a8a", "#7a4a1e", "#2f4b7c", "#bc8f5f", "#5b7065", "#b0b0b0")
WIDTH, HEIGHT = 900, 310  # of a figure, as wide as a page on GitHub; of a panel


@dataclass
class Curve:
    label: str
    points: list       # (x, y) or (x, y, low, high): a band
    colour: str = ""   # a placement's name or a colour; else by turns
    dashed: bool = False
    marks: bool = False
    bars: bool = False  # points are (x, row, low, high): a dot with its interval of x


@dataclass
class Panel:
    title: str
    x: str
    y: str
    curves: list
    logx: bool = False
    logy: bool = False
    rows: tuple = ()   # names of the rows of a dot plot, from the top
    closer: bool = False  # looks closer: has axes of its own

    def shown(self, curve):
        return [q for q in curve.points
                if (q[1] > 0 or not self.logy) and (q[0] > 0 or not self.logx)]


def band(groups):
    """Curves of several seeds, [[(x, y)]], as one: mean, lowest, highest where all have x."""
    tables = [dict(points) for points in groups if points]
    if not tables:
        return []
    common = sorted(set.intersection(*(set(table) for table in tables)))
    columns = [(x, [table[x] for table in tables]) for x in common]
    return [(x, mean(ys), min(ys), max(ys)) for x, ys in columns if all(y == y for y in ys)]


def dots(values, height, apart=0.06):
    """Curve.points of bars, one of each seed, about a row's height."""
    return [(x, height + apart * (i - (len(values) - 1) / 2), x, x) for i, x in enumerate(values)]


def recipe(name):
    """The command for a figure's runs. The names of a recipe's figures begin with its own."""
    recipes = [path.stem for path in HERE.glob("*.py") if name.startswith(path.stem)]
    return f"python3 experiments/report.py run {max(recipes, key=len)}"


# ---- axes ---------------------------------------------------------------------------------------

def limits(values, logarithmic):
    """The ends of an axis: a twenty-fifth beyond what it shows."""
    low, high = min(values), max(values)
    if logarithmic:
        low, high = log10(low), log10(high)
    margin = 0.04 * (high - low) or 0.5 * abs(high) or 0.5
    low, high = low - margin, high + margin
    return (10 ** low, 10 ** high) if logarithmic else (low, high)


def axes(panel, panels):
    """((lowest, highest) of x, of y), the same for all panels of the quantity; None: nothing to show."""
    def of(quantity, logarithmic, columns):
        alike = [p for p in panels if quantity(p) == quantity(panel)] if not panel.closer else [panel]
        values = [q[i] for p in alike for curve in p.curves for q in p.shown(curve)
                  for i in columns(curve, q)]
        return limits(values, logarithmic) if values else None
    x = of(lambda p: (p.x, p.logx, bool(p.rows), p.closer), panel.logx,
           lambda curve, q: (0, 2, 3) if curve.bars else (0,))
    y = of(lambda p: (p.y, p.logy, p.rows, p.closer), panel.logy,
           lambda curve, q: (1,) if curve.bars else range(1, len(q)))
    return x, (0.5, len(panel.rows) + 0.5) if panel.rows else y


def short(value):
    """"2e-3" of a rate, "48" of layers."""
    return f"{value:g}" if value >= 1 else re.sub(r"\.0(?=e)|(?<=e-)0", "", f"{value:.1e}")


def x_ticks(panel, x, columns):
    """Of a logarithmic axis that is short those that were measured, as decades name one or two alone; few where
    there is little room."""
    low, high = x
    if panel.logx and high / low < 60:
        at = sorted({q[0] for curve in panel.curves for q in panel.shown(curve)})
        room = (0.05 + 0.05 * columns) * log10(high / low)  # of a name
        for below, above in pairwise(list(at)):
            if below in at and log10(above / below) < room:
                at.remove(above)
        if 1 < len(at) <= 8:
            return f"set xtics ({', '.join(f'{short(v)!r} {v:g}' for v in at)})".replace("'", '"')
    if panel.logx or columns < 3:
        return "set xtics auto"
    rough = (high - low) / 4
    unit = 10 ** floor(log10(rough))
    return f"set xtics {min((m * unit for m in (1, 2, 5, 10)), key=lambda step: abs(log10(step / rough))):g}"


def row_names(rows):
    """The y axis of a dot plot; else as it is by default."""
    if not rows:
        return "set ytics auto"
    ticks = ", ".join(f'"{name}" {len(rows) - i}' for i, name in enumerate(rows))
    return f"set ytics ({ticks}) noenhanced"


# ---- names at the curves' ends ------------------------------------------------------------------

LONGEST, SPACING = 20, 0.055  # of a name, in letters; of two, as a share of the axis


def named_at_ends(panel):
    named = [curve.label for curve in panel.curves if curve.label and panel.shown(curve)]
    return (not panel.rows and 0 < len(named) <= 15 and max(map(len, named)) <= LONGEST
            and not any(curve.bars for curve in panel.curves))


def ends(panel, y):
    """[(label, colour, share of the axis)] beside the curves' ends, pushed apart where they would overlap."""
    at = (lambda v: log10(v)) if panel.logy else (lambda v: v)
    share = lambda v: (at(v) - at(y[0])) / (at(y[1]) - at(y[0]))
    found = sorted(([share(panel.shown(curve)[-1][1]), curve.label, colour(curve, c)]
                    for c, curve in enumerate(panel.curves) if curve.label and panel.shown(curve)),
                   key=lambda end: end[0])
    for below, above in zip(found, found[1:]):
        above[0] = max(above[0], below[0] + SPACING)
    most = 1.0
    for end in reversed(found):
        end[0] = min(end[0], most)
        most = end[0] - SPACING
    return [(label, tint, height) for height, label, tint in found]


# ---- gnuplot ------------------------------------------------------------------------------------

def colour(curve, c):
    return COLOURS.get(curve.colour, curve.colour or OTHERS[c % len(OTHERS)])


def plotted(panel, p, named):
    """The data blocks of a panel's curves, and what draws them."""
    blocks, plots = [], []
    for c, curve in enumerate(panel.curves):
        points = panel.shown(curve)
        if not points:
            continue
        block, tint = f"$data_{p}_{c}", colour(curve, c)
        blocks += [f"{block} << EOD", *(" ".join(f"{v:.6g}" for v in q) for q in points), "EOD"]
        key = f'title "{curve.label}" noenhanced' if curve.label and not named else "notitle"
        if curve.bars:
            plots.append(f'{block} using 1:2:3:4 with xerrorbars pt 7 ps 0.5 lc rgb "{tint}" {key}')
            continue
        if len(points[0]) == 4:
            plots.append(f'{block} using 1:3:4 with filledcurves lc rgb "{tint}" notitle')
        style = "linespoints pt 7 ps 0.4" if curve.marks else "lines"
        plots.append(f'{block} using 1:2 with {style} lc rgb "{tint}" lw 1.6'
                     f'{" dt 2" if curve.dashed else ""} {key}')
    return blocks, plots


def script(path, name, title, panels, columns):
    rows = ceil(len(panels) / columns)
    title = title.replace(": ", "\\n", 1) + "\\n" + recipe(name)  # a line for each
    keeps_off_the_key = "\\n "
    lines = [f'set terminal svg size {WIDTH},{HEIGHT * rows + 72} font "sans,11" background "white"',
             f'set output "{path}"',
             'set key below center horizontal Left reverse samplen 1.5 spacing 0.9 font ",9"',
             "set style fill transparent solid 0.15 noborder", "set format '%g'",
             f'set multiplot layout {rows},{columns} title "{title}" font "sans,12" noenhanced']
    for p, panel in enumerate(panels):
        x, y = axes(panel, panels)
        named = named_at_ends(panel)
        blocks, plots = plotted(panel, p, named)
        lines += [f'set title "{panel.title}" noenhanced',
                  f'set xlabel "{panel.x}{"" if named else keeps_off_the_key}" offset 0,0.4 noenhanced',
                  f'set ylabel "{panel.y}" noenhanced',
                  "set logscale x" if panel.logx else "unset logscale x",
                  "set logscale y" if panel.logy else "unset logscale y",
                  row_names(panel.rows), "unset label", "unset rmargin", *blocks]
        if not plots:
            lines.append('plot [1:2][1:2] NaN title "not run"')
            continue
        lines += [f"set {axis}range [{low:.6g}:{high:.6g}]" for axis, (low, high) in zip("xy", (x, y))]
        slanted = panel.rows and (panel.logx or columns < 3)
        lines.append("set xtics auto rotate by -40" if slanted else
                     f"set xtics norotate; {x_ticks(panel, x, columns)}")
        if named:
            found = ends(panel, y)
            lines.append(f"set rmargin {1.5 + 0.85 * max(len(label) for label, _, _ in found):.1f}")
            lines += [f'set label "{label}" at graph 1.02, graph {height:.4f} font ",9" '
                      f'textcolor rgb "{tint}" noenhanced' for label, tint, height in found]
        lines.append("plot " + ", ".join(plots))
    return "\n".join(lines + ["unset multiplot", ""])


def figure(name, title, panels, columns=3):
    """Writes figures/NAME.svg; returns its path, or None where nothing has been measured yet."""
    if not any(curve.points for panel in panels for curve in panel.curves):
        return None
    if not shutil.which("gnuplot"):
        print(f"skipped: figure {name} (no gnuplot here)")
        return None
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / f"{name}.svg"
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "figure.svg"
        commands = script(part, name, title, panels, min(columns, len(panels)))
        subprocess.run(["gnuplot"], input=commands, text=True, check=True)
        shutil.move(part, path)
    return path
