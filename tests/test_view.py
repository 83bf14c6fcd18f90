"""--view's page in a browser: Chromium, without a window, opens it and runs a few lines of script on it. What they
find they leave in the page, which Chromium prints. Skipped, by name, where there is no Chromium.
"""
import html
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

TRAIN = os.environ.get("TRAIN", "./train")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SMALL = ("--size tiny --steps 30 --val-every 10 --probe-every 10 --val-batches 1 --save-every 0 --quiet --tune off "
         "--threads 1").split()
HEADER = "step,tokens,loss,grad_norm,lr,ms,tokens_per_s,mfu,memory_mib\n"
# before the page's own script, and behind it
FIRST = "<script>window.wrong = []; window.onerror = what => { wrong.push(String(what)); };</script>"
LAST = "<script>let found; try { found = (() => { %s })(); } catch (e) { wrong.push(String(e)); } const out = document.createElement('pre'); out.id = 'found'; " \
       "out.textContent = JSON.stringify({ wrong, found }); document.body.append(out);</script></body>"


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

    def opened(self, script, *runs):
        """What the script returns in the page of these runs; the page makes no error."""
        done = train("--view", *runs, "--out", self.folder)
        self.assertEqual(done.returncode, 0, done.stderr)
        page = Path(self.folder, "view.html").read_text()
        page = page.replace("<body>", "<body>" + FIRST, 1).replace("</body>", LAST % script, 1)
        Path(self.folder, "tested.html").write_text(page)
        printed = subprocess.run(
            [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={self.folder}/browser",
             "--virtual-time-budget=2000", "--dump-dom", f"file://{self.folder}/tested.html"],
            capture_output=True, text=True, timeout=120).stdout
        result = re.search(r'<pre id="found">(.*?)</pre>', printed, re.DOTALL)
        self.assertTrue(result, printed[-2000:])
        result = json.loads(html.unescape(result[1]))
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
        self.assertRegex(found["moved"], r"^step 29:  peri \d\.\d+")
        self.assertEqual(found["table"], 31)
        self.assertIn("norm", found["settings"])
        self.assertNotIn("weight-decay", found["settings"])  # which is the same in both
        Path(self.folder, "saved.svg").write_text(found["svg"])
        if shutil.which("rsvg-convert"):
            drawn = subprocess.run(["rsvg-convert", f"{self.folder}/saved.svg", "-o", f"{self.folder}/saved.png"])
            self.assertEqual(drawn.returncode, 0)
            self.assertGreater(Path(self.folder, "saved.png").stat().st_size, 20000)

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
