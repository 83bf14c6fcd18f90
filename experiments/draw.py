"""Figures by gnuplot, as SVG. A figure is a grid of panels, a panel a few curves."""
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from lab import HERE, RESULTS

FIGURES = RESULTS.parent / "figures"
# A placement has one colour everywhere.
COLOURS = {"post": "#377eb8", "pre": "#e41a1c", "peri": "#2ca02c", "output": "#8c564b",
           "input-main": "#ff7f0e", "olmo2": "#9467bd", "keel": "#17becf", "simple": "#111111",
           "mix": "#e377c2", "deep": "#7f7f7f"}
# What is no placement takes these by turns.
OTHERS = ("#377eb8", "#e41a1c", "#2ca02c", "#8c564b", "#ff7f0e", "#9467bd", "#17becf")


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


def band(groups):
    """Curves of several seeds, [[(x, y)]], as one: mean, lowest, highest where all have x."""
    tables = [dict(points) for points in groups if points]
    if not tables:
        return []
    common = sorted(set.intersection(*(set(table) for table in tables)))
    columns = [(x, [table[x] for table in tables]) for x in common]
    return [(x, mean(ys), min(ys), max(ys)) for x, ys in columns if all(y == y for y in ys)]


def recipe(name):
    """The command for a figure's runs. The names of a recipe's figures begin with its own."""
    recipes = [path.stem for path in HERE.glob("*.py") if name.startswith(path.stem)]
    return f"python3 experiments/report.py run {max(recipes, key=len)}"


def row_names(rows):
    """The y axis of a dot plot; else as it is by default."""
    if not rows:
        return "set ytics auto; set yrange [*:*]; set xtics norotate"
    ticks = ", ".join(f'"{name}" {len(rows) - i}' for i, name in enumerate(rows))
    return (f"set ytics ({ticks}) noenhanced; set yrange [0.5:{len(rows) + 0.5}]; "
            "set xtics rotate by -40")


def script(path, name, title, panels, columns):
    rows = -(-len(panels) // columns)
    title = title.replace(": ", "\\n", 1) + "\\n" + recipe(name)  # a line for each
    size = f"{440 * columns},{370 * rows + 72}"
    lines = [f'set terminal svg size {size} font "sans,11" background "white"',
             f'set output "{path}"',
             'set key below center horizontal Left reverse samplen 1.5 spacing 0.9 font ",9"',
             "set style fill transparent solid 0.15 noborder", "set format y '%g'",
             f'set multiplot layout {rows},{columns} title "{title}" font "sans,12" noenhanced']
    for p, panel in enumerate(panels):
        lines += [f'set title "{panel.title}" noenhanced',
                  f'set xlabel "{panel.x}\\n " offset 0,0.4 noenhanced',  # keeps off the key
                  f'set ylabel "{panel.y}" noenhanced',
                  "set logscale x" if panel.logx else "unset logscale x",
                  "set logscale y" if panel.logy else "unset logscale y",
                  row_names(panel.rows)]
        plots = []
        for c, curve in enumerate(panel.curves):
            points = [q for q in curve.points if not (panel.logy and q[1] <= 0)]
            if not points:
                continue
            block = f"$data_{p}_{c}"
            lines += [f"{block} << EOD", *(" ".join(f"{v:.6g}" for v in q) for q in points), "EOD"]
            colour = COLOURS.get(curve.colour, curve.colour or OTHERS[c % len(OTHERS)])
            if curve.bars:
                plots.append(f'{block} using 1:2:3:4 with xerrorbars pt 7 ps 0.5 lc rgb "{colour}" '
                             f'title "{curve.label}" noenhanced')
                continue
            if len(points[0]) == 4:
                plots.append(f'{block} using 1:3:4 with filledcurves lc rgb "{colour}" notitle')
            style = "linespoints pt 7 ps 0.4" if curve.marks else "lines"
            plots.append(f'{block} using 1:2 with {style} lc rgb "{colour}" lw 1.6'
                         f'{" dt 2" if curve.dashed else ""} '
                         + (f'title "{curve.label}" noenhanced' if curve.label else "notitle"))
        lines.append("plot " + ", ".join(plots) if plots else 'plot [1:2][1:2] NaN title "not run"')
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
