"""--view's page in a browser: Chromium, without a window, opens it and runs a few lines of script on it. What they
find they leave in the page, which Chromium prints (browser.py). Skipped, by name, where there is no Chromium.
"""
import csv
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from browser import BROWSER, asked, photographed

TRAIN = os.environ.get("TRAIN", "./train")
SMALL = ("--size tiny --steps 30 --val-every 10 --probe-every 10 --val-batches 1 --save-every 0 --quiet --tune off "
         "--threads 1").split()
HEADER = "step,tokens,loss,grad_norm,lr,ms,tokens_per_s,mfu,memory_mib\n"


def train(*flags):
    return subprocess.run([TRAIN, *map(str, flags)], capture_output=True, text=True, errors="replace")


def row(step, loss, norm=1.5):
    return f"{step},64,{loss},{norm},0.001,10,6400,0.5,100\n"


def made_up(directory, rows, probes=""):
    Path(directory).mkdir(parents=True)
    Path(directory, "metrics.csv").write_text(HEADER + rows)
    if probes:
        Path(directory, "probe.csv").write_text("step,layer,quantity,value\n" + probes)
    return directory


@unittest.skipUnless(BROWSER, "no Chromium here")
class View(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def opened(self, script, *runs, **window):
        """What the script returns in the page of these runs; the page makes no error."""
        done = train("--view", *runs, "--out", self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        result = asked(Path(self.folder, "view.html").read_text(), script, **window)
        self.assertEqual(result["wrong"], [])
        return result["found"]

    def test_two_runs(self):
        for norm in ("peri", "pre"):
            self.assertEqual(train("--norm", norm, *SMALL, "--out", f"{self.folder}/{norm}").returncode, 0)
        found = self.opened("""
            const path = () => document.querySelectorAll('main svg')[5].querySelectorAll('path')[1].getAttribute('d');
            const before = path(), slider = document.getElementById('step');
            slider.value = 0; slider.dispatchEvent(new Event('input'));
            const svg = document.querySelector('main svg'), box = svg.getBoundingClientRect();
            svg.dispatchEvent(new PointerEvent('pointermove', { clientX: box.left + box.width, clientY: box.top + 5 }));
            const hovered = svg.parentNode.querySelector('output').textContent;
            svg.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft' }));
            document.querySelector('details').open = true;
            document.querySelector('details').dispatchEvent(new Event('toggle'));
            return { figures: document.querySelectorAll('main figure').length, before, after: path(),
                step: document.getElementById('step-shown').textContent, hovered,
                moved: svg.parentNode.querySelector('output').textContent,
                table: document.querySelector('details table').rows.length, svg: saved(),
                settings: document.getElementById('settings').innerText };""",
            f"{self.folder}/peri", f"{self.folder}/pre")
        self.assertEqual(found["figures"], 13)
        self.assertEqual(found["step"], "0")
        self.assertNotEqual(found["before"], found["after"])
        self.assertRegex(found["hovered"], r"^step 30:  peri \d\.\d+,  peri, validation \d\.\d+,  pre \d\.\d+")
        self.assertRegex(found["moved"], r"^step 29:  peri \d\.\d+,  pre \d\.\d+$")  # no validation there
        self.assertEqual(found["table"], 31)
        self.assertIn("norm", found["settings"])
        self.assertNotIn("weight-decay", found["settings"])  # which is the same in both
        Path(self.folder, "saved.svg").write_text(found["svg"])
        if shutil.which("rsvg-convert"):
            drawn = subprocess.run(["rsvg-convert", f"{self.folder}/saved.svg", "-o", f"{self.folder}/saved.png"])
            self.assertEqual(drawn.returncode, 0)
            self.assertGreater(Path(self.folder, "saved.png").stat().st_size, 20000)

    def test_the_summary_shows_what_the_page_shows(self):
        self.assertEqual(train(*SMALL, "--out", f"{self.folder}/run").returncode, 0)
        rows = lambda name: csv.DictReader(Path(self.folder, "run", name).read_text().splitlines())
        probed = {(row["step"], row["layer"]): float(row["value"]) for row in rows("probe.csv")
                  if row["quantity"] == "hidden_variance"}
        chart = list(rows("hidden_variance.csv"))
        self.assertEqual(len(chart), len(probed) / 4)
        for row in chart:
            self.assertAlmostEqual(float(row["start"]) / probed["0", row["sublayer"]], 1, places=5)
            self.assertAlmostEqual(float(row["end"]) / probed["30", row["sublayer"]], 1, places=5)

    def test_narrow_and_dark(self):
        """The screenshots stay in build/view for whoever wants to look at them."""
        runs = [made_up(f"{self.folder}/{name}", "".join(row(s, 2 + 1 / s, 1 + s % 7) for s in range(1, 200)),
                        "".join(f"{step},{layer},hidden_variance,{1 + layer * (1 + step)}\n" for step in (0, 100)
                                for layer in range(25))) for name in ("a-run-with-a-name-that-is-rather-long", "b")]
        pictures = Path("build/view")
        pictures.mkdir(parents=True, exist_ok=True)
        for name, paper, window in (("wide", "rgb(255, 255, 255)", {}), ("dark", "rgb(21, 23, 26)", {"dark": True}),
                                    ("narrow", "rgb(255, 255, 255)", {"width": 380, "height": 3000})):
            with self.subTest(name=name):
                width = window.get("width", 1200)
                found = self.opened("""return { paper: getComputedStyle(document.body).backgroundColor,
                    right: (document.documentElement.style.width = `${%d}px`, [...document.querySelectorAll('body *')]
                      .map(e => e.getBoundingClientRect()).reduce((most, box) => Math.max(most, box.right), 0)),
                    letters: getComputedStyle(document.querySelector('main text')).fill };""" % width, *runs, **window)
                self.assertEqual(found["paper"], paper)
                self.assertNotEqual(found["letters"], paper)
                self.assertTrue(width / 2 < found["right"] <= width, found["right"])  # nothing to scroll sideways
                photographed(f"{self.folder}/view.html", pictures / f"{name}.png", **window)
                self.assertGreater((pictures / f"{name}.png").stat().st_size, 20000)

    def test_floor_and_bands(self):
        self.assertEqual(train("--steps", 200, "--dry-run").returncode, 0)
        run = made_up(f"{self.folder}/run", "".join(row(s, 2, 1) for s in range(1, 31)), "0,0,hidden_variance,0.961\n")
        started = subprocess.Popen([TRAIN, "--out", f"{self.folder}/default", "--quiet"], stdout=subprocess.DEVNULL)
        self.addCleanup(started.wait)
        self.addCleanup(started.kill)
        while not Path(self.folder, "default/config.json").exists():
            self.assertIsNone(started.poll())
        started.kill()
        shutil.copy(f"{self.folder}/default/config.json", run)
        found = self.opened("""const svgs = [...document.querySelectorAll('main svg')];
            return { bands: svgs.map(svg => svg.querySelectorAll('.band').length), loss: svgs[0].textContent,
                norm: svgs[1].textContent, notes: document.getElementById('notes').textContent };""", run)
        self.assertIn("no model can do better", found["loss"])
        self.assertNotIn("no model can do better", found["norm"])
        self.assertEqual(found["bands"][:6], [1, 1, 0, 0, 0, 1])  # loss, gradient norm, hidden variance
        self.assertRegex(found["notes"], r"unusual since step 10: loss is 2, 8 seeds have [0-9. to]+")

    def test_names_stay_text(self):
        name = "<script>wrong.push('run')<\"'&" + "x" * 200
        made_up(f"{self.folder}/{name}", row(1, 2.5) + row(2, 2.25))
        found = self.opened("""return { label: [...document.querySelectorAll('text')].map(t => t.textContent),
            scripts: document.scripts.length, notes: document.getElementById('notes').textContent };""",
            f"{self.folder}/{name}")
        self.assertEqual(found["scripts"], 4)  # the page's two, and the test's
        self.assertTrue(found["notes"].startswith(name), found["notes"])
        self.assertIn(name[:14], found["label"])

    def test_gaps(self):
        rows = "".join(row(step, "nan" if step in (5, 6) else 3, 1) for step in range(1, 10)) + "10,640,2."
        probes = "0,0,hidden_variance,1\n0,1,hidden_variance,nan\n0,2,hidden_variance,inf\n0,3,hidden_variance,2\n"
        made_up(f"{self.folder}/run", rows, probes)
        found = self.opened("""const path = i => document.querySelectorAll('main svg')[i].querySelectorAll('path');
            return { loss: path(0)[1].getAttribute('d'), depth: path(5)[0].getAttribute('d'),
                notes: document.getElementById('notes').textContent };""", f"{self.folder}/run")
        self.assertEqual(found["loss"].count("M"), 2)
        self.assertEqual(found["depth"].count("M"), 2)
        self.assertNotIn("NaN", found["loss"] + found["depth"])
        self.assertIn("diverged, the loss is no number from step 5 on", found["notes"])

    def test_empty(self):
        made_up(f"{self.folder}/run", "")
        found = self.opened("return document.getElementById('notes').textContent;", f"{self.folder}/run")
        self.assertIn("run: no step yet", found)

    def test_large(self):
        probes = "".join(f"{step},{layer},{quantity},{1 + step * layer}\n" for step in range(0, 10001, 100)
                         for layer in range(49) for quantity in ("hidden_variance", "weight_gradient_norm", "output_gamma_mean"))
        for run in range(5):
            made_up(f"{self.folder}/run{run}", "".join(row(s, 2 + 1 / s, 1 + s % 7) for s in range(1, 10001)), probes)
        found = self.opened("return performance.now();", *(f"{self.folder}/run{run}" for run in range(5)))
        self.assertLess(Path(self.folder, "view.html").stat().st_size, 5e6)
        print(f"five runs of 10,000 steps: {Path(self.folder, 'view.html').stat().st_size / 1e6:.1f} MB, "
              f"drawn {found:.0f} ms after the page was opened")

    def test_many(self):
        """More points in a figure than a call has room for arguments."""
        for run in range(80):
            made_up(f"{self.folder}/run{run}", "".join(row(s, 2 + 1 / s, 1 + s % 7) for s in range(1, 1001)))
        found = self.opened("return document.querySelectorAll('main svg')[0].querySelectorAll('path').length;",
                            *(f"{self.folder}/run{run}" for run in range(80)))
        self.assertGreaterEqual(found, 80)

    def test_following(self):
        run = subprocess.Popen([TRAIN, *SMALL, "--steps", "100000", "--out", f"{self.folder}/run"],
                               stdout=subprocess.DEVNULL)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        metrics = Path(self.folder, "run/metrics.csv")
        while not metrics.exists() or metrics.read_text().count("\n") < 3:
            self.assertIsNone(run.poll())
        view = subprocess.Popen([TRAIN, "--view", f"{self.folder}/run", "--out", self.folder], stdout=subprocess.PIPE, text=True)
        self.addCleanup(view.stdout.close)
        self.assertTrue(view.stdout.readline().endswith("view.html\n"))
        self.assertIn("written anew while the run goes on", view.stdout.readline())
        self.assertIn('"following":true', Path(self.folder, "view.html").read_text())
        self.assertIsNone(view.poll())
        run.kill()
        self.assertEqual(view.wait(timeout=30), 0)
        self.assertIn('"following":false', Path(self.folder, "view.html").read_text())


if __name__ == "__main__":
    unittest.main()
