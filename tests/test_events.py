"""data/events.py: what TensorBoard's own reader finds is what the run's CSV files hold."""
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    EventAccumulator = None

ROOT = Path(__file__).resolve().parent.parent
TRAIN = os.environ.get("TRAIN", "./train")
HEADER = "step,tokens,loss,grad_norm,lr,ms,tokens_per_s,mfu,memory_mib\n"


def rows_of(path):
    return csv.DictReader(path.read_text().splitlines())


@unittest.skipUnless(EventAccumulator, "no Python package tensorboard here")
class Events(unittest.TestCase):
    def setUp(self):
        self.run_ = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.run_)

    def convert(self, *flags):
        return subprocess.run([sys.executable, ROOT / "data/events.py", *flags, self.run_], capture_output=True, text=True)

    def found(self):
        """{tag: {step: value}}"""
        reader = EventAccumulator(str(self.run_), size_guidance={"scalars": 0})
        reader.Reload()
        self.times = {e.step: e.wall_time for e in reader.Scalars("loss")} if "loss" in reader.Tags()["scalars"] else {}
        return {tag: {e.step: e.value for e in reader.Scalars(tag)} for tag in reader.Tags()["scalars"]}

    def test_columns_that_an_earlier_version_had_not(self):
        (self.run_ / "metrics.csv").write_text("step,tokens,loss,grad_norm,lr,ms,tokens_per_s\n1,8,2.5,1,0.1,3,9\n")
        self.assertEqual(self.convert().returncode, 0)
        self.assertEqual(self.found()["loss"], {1: 2.5})

    def test_a_real_run(self):
        subprocess.run([TRAIN, *"--size tiny --steps 12 --val-every 5 --probe-every 6 --val-batches 1 --quiet --tune off".split(),
                        "--out", self.run_ / "run"], check=True, stdout=subprocess.DEVNULL)
        self.run_ = self.run_ / "run"
        for _ in range(2):  # the second time in place of the first
            self.assertEqual(self.convert().returncode, 0)
            found = self.found()
            for name in ("loss", "grad_norm", "lr", "tokens_per_s", "mfu", "memory_mib"):
                rows = list(rows_of(self.run_ / "metrics.csv"))
                self.assertEqual(list(found[name]), list(range(1, 13)))
                for row in rows:
                    self.assertAlmostEqual(found[name][int(row["step"])] / (float(row[name]) or 1), 1 if float(row[name]) else 0, places=6)
            self.assertEqual(list(found["validation/loss"]), [5, 10, 12])
            profile = [row for row in rows_of(self.run_ / "probe.csv") if row["quantity"] == "hidden_variance"]
            self.assertEqual({row["step"] for row in profile}, {"0", "6", "12"})
            for row in profile:
                value = found[f"probe/hidden_variance/{int(row['layer']):03}"][int(row["step"])]
                self.assertAlmostEqual(value / float(row["value"]), 1, places=6)
            self.assertIn("probe/growth_exponential_rate", found)
        self.assertEqual(len(list(self.run_.glob("events.out.tfevents.*"))), 1)

    def test_gaps_and_half_lines(self):
        (self.run_ / "metrics.csv").write_text(HEADER + "1,64,2.5,1,0.1,500,9,0.5,10\n2,64,nan,inf,0.1,1500,9,0.5,10\n"
                                               "3,64,2.0,1,0.1,500,9,0.5,10\n4,64,1.")
        self.assertEqual(self.convert().returncode, 0)
        found = self.found()
        self.assertEqual(found["loss"], {1: 2.5, 3: 2.0})
        self.assertEqual(list(found["lr"]), [1, 2, 3])
        self.assertAlmostEqual(self.times[3] - self.times[1], 2.0, places=3)

    def test_following(self):
        metrics = self.run_ / "metrics.csv"
        metrics.write_text(HEADER + "1,64,2.5,1,0.1,500,9,0.5,10\n")
        # which a shell that runs the tests in the background lets its children ignore
        heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        follower = subprocess.Popen([sys.executable, ROOT / "data/events.py", "--follow", self.run_],
                                    preexec_fn=heed)
        self.addCleanup(follower.wait)
        self.addCleanup(follower.kill)

        def wait_for(expected):
            for _ in range(60):
                if self.found().get("loss") == expected:
                    return
                time.sleep(0.5)
            self.assertEqual(self.found().get("loss"), expected)
        wait_for({1: 2.5})
        with open(metrics, "a") as file:
            file.write("2,64,2.25,1,0.1,500,9,0.5,10\n3,64,2.")
        wait_for({1: 2.5, 2: 2.25})
        with open(metrics, "a") as file:
            file.write("125,1,0.1,500,9,0.5,10\n")
        wait_for({1: 2.5, 2: 2.25, 3: 2.125})
        metrics.write_text(HEADER + "1,64,2.5,1,0.1,500,9,0.5,10\n2,64,3.5,1,0.1,500,9,0.5,10\n")  # resumed
        wait_for({1: 2.5, 2: 3.5})
        follower.send_signal(signal.SIGINT)
        self.assertEqual(follower.wait(timeout=30), 0)

    def test_no_run(self):
        done = self.convert()
        self.assertEqual(done.returncode, 2)
        self.assertIn("holds no run (metrics.csv)", done.stderr)


if __name__ == "__main__":
    unittest.main()
