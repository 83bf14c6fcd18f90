"""The figures: axes that compare, names at the ends, one page with everything; and the placements' colours, the same
on --view's page, apart for everyone.

Colour blindness by Machado, Oliveira and Fernandes (2009), Table 1, severity 1.0; distances in Oklab (Ottosson,
2020), times 100: about 2 is the least that most people see side by side, and thin lines need several times that.
"""
import math
import re
import sys
import unittest
from unittest import mock
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "experiments"))
import lab  # noqa: E402
import overview  # noqa: E402
from draw import COLOURS, OTHERS, SPACING, Curve, Panel, axes, ends, named_at_ends, script  # noqa: E402
from verdict import FAILED_LOSS  # noqa: E402

SIGHT = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}
PAPER = {"light": "#ffffff", "dark": "#15171a"}


def product(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector)) for row in matrix]


def linear(colour):
    channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def oklab(rgb):
    cones = product(((0.4122214708, 0.5363325363, 0.0514459929), (0.2119034982, 0.6806995451, 0.1073969566),
                     (0.0883024619, 0.2817188376, 0.6299787005)), [min(1, max(0, c)) for c in rgb])
    return product(((0.2104542553, 0.7936177850, -0.0040720468), (1.9779984951, -2.4285922050, 0.4505937099),
                    (0.0259040371, 0.7827717662, -0.8086757660)), [c ** (1 / 3) for c in cones])


def contrast(a, b):
    light = sorted(sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear(x))) for x in (a, b))
    return (light[1] + 0.05) / (light[0] + 0.05)


class Colours(unittest.TestCase):
    def test_apart(self):
        for kind, matrix in SIGHT.items():
            seen = {norm: oklab(product(matrix, linear(colour))) for norm, colour in COLOURS.items()}
            for a, b in combinations(seen, 2):
                with self.subTest(sight=kind, pair=(a, b)):
                    self.assertGreater(100 * math.dist(seen[a], seen[b]), 15 if kind == "all cones" else 10)

    def test_seen_on_paper(self):
        for norm, colour in COLOURS.items():
            for name, paper in PAPER.items():
                with self.subTest(norm=norm, paper=name):
                    self.assertGreater(contrast(colour, paper), 2.1)

    def test_one_colour_everywhere(self):
        page = (ROOT / "data/view.html").read_text()
        table = re.search(r"const COLOURS = \{(.*?)\};", page, re.S)[1]
        self.assertEqual(dict(re.findall(r'"?([a-z0-9-]+)"?: "(#[0-9a-f]{6})"', table)), COLOURS)
        self.assertIn(f"--paper: {PAPER['light']}", page)
        self.assertIn(f"--paper: {PAPER['dark']}", page)

    def test_no_placements_colour_for_anything_else(self):
        self.assertFalse(set(OTHERS) & set(COLOURS.values()))
        for file in (ROOT / "experiments").glob("*.py"):
            if file.name != "draw.py":
                used = set(re.findall(r"#[0-9a-f]{6}", file.read_text()))
                self.assertFalse(used & set(COLOURS.values()), file.name)


def panel(points, **more):
    return Panel("title", "step", "variance", [Curve("peri", points, "peri")], **more)


class Axes(unittest.TestCase):
    def test_panels_of_a_quantity_compare(self):
        small, large = panel([(0, 1), (10, 2)]), panel([(0, 100), (30, 50000)])
        x, y = axes(small, [small, large])
        self.assertEqual((x, y), axes(large, [small, large]))
        self.assertTrue(x[0] <= 0 and x[1] >= 30 and y[0] <= 1 and y[1] >= 50000)
        written = script("a.svg", "growth", "a: b", [small, large], 2)
        ranges = re.findall(r"set yrange \[(.*?)\]", written)
        self.assertEqual(len(ranges), 2)
        self.assertEqual(*ranges)

    def test_others_have_their_own(self):
        small, large = panel([(0, 1), (10, 2)]), panel([(0, 100), (30, 50000)])
        large.y = "loss"
        self.assertLess(axes(small, [small, large])[1][1], 3)
        closer = panel([(5, 1), (10, 2)], closer=True)
        self.assertEqual(axes(closer, [closer, small])[0][0], 5 - 0.04 * 5)
        self.assertEqual(axes(small, [closer, panel([(0, 1), (10, 3)])])[1], axes(small, [panel([(0, 1), (10, 3)])])[1])

    def test_bands_fit_and_logarithms_leave_out_zero(self):
        band = panel([(0, 1, 0.1, 7), (1, 0, 0, 0)], logy=True)
        low, high = axes(band, [band])[1]
        self.assertTrue(0.05 < low < 0.1 and 7 < high < 14, (low, high))
        self.assertEqual(axes(panel([]), [panel([])]), (None, None))

    def test_names_at_the_ends_do_not_overlap(self):
        crowd = Panel("t", "x", "y", [Curve(f"seed {i}", [(0, 0), (1, 1 + i / 1000)]) for i in range(10)])
        self.assertTrue(named_at_ends(crowd))
        heights = [height for _, _, height in ends(crowd, (0, 1.05))]
        self.assertEqual([label for label, _, _ in ends(crowd, (0, 1.05))], [f"seed {i}" for i in range(10)])
        for below, above in zip(heights, heights[1:]):
            self.assertGreaterEqual(above - below, SPACING - 1e-9)
        self.assertLessEqual(heights[-1], 1)
        self.assertFalse(named_at_ends(Panel("t", "x", "y", [Curve("a name as long as a sentence", [(0, 1)])])))


class Overview(unittest.TestCase):
    """Its cells against losses made up here, of which every one is another."""

    def setUp(self):
        self.made = {(arm, layers, rate): 0.01 * i for i, (arm, layers, rate) in enumerate(
            ((norm, which), layers, rate) for norm in lab.placements() for which in overview.NORM
            for layers in overview.depths.DEPTHS for rate in overview.depths.RATES)}
        self.deepest, self.highest = overview.depths.DEPTHS[-1], overview.depths.RATES[-1]
        self.made[("post", "off"), self.deepest, self.highest] = FAILED_LOSS
        self.made[("keel", "on"), self.deepest, self.highest] = None
        for name, value in (("loss_at", lambda *key: self.made[key]), ("runs_of", lambda *key: [])):
            patch = mock.patch.object(overview.depths, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def test_cells(self):
        layers, columns = overview.losses()[-1]
        rate, column = columns[-1]
        self.assertEqual((layers, rate), (self.deepest, self.highest))
        self.assertEqual(column["post", "off"], "x")
        self.assertIsNone(column["keel", "on"])
        self.assertEqual(column["peri", "on"], self.made[("peri", "on"), layers, rate])

    def test_picture(self):
        page = "".join(overview.drawn())
        values = [value for value in self.made.values() if value is not None and value < FAILED_LOSS]
        self.assertEqual(page.count("×</text>"), 1)
        self.assertEqual(page.count('stroke-width="2"'), len(overview.depths.DEPTHS))
        self.assertEqual([page.count(f">{value:.2f}<") for value in values], [1] * len(values))

    def test_without_the_norm_above_with_it(self):
        """The first placement's first cells: one below the other, and another placement's further down."""
        page = "".join(overview.drawn())
        first, second = lab.placements()[:2]
        at = [float(re.search(rf' y="([0-9.]+)"[^>]*>{self.made[arm, 12, overview.depths.RATES[0]]:.2f}<', page)[1])
              for arm in ((first, "off"), (first, "on"), (second, "off"))]
        self.assertLess(at[0], at[1])
        self.assertLess(at[1], at[2])

    def test_nothing_was_run(self):
        self.made = dict.fromkeys(self.made)
        self.assertIsNone(overview.figure())


if __name__ == "__main__":
    unittest.main()
