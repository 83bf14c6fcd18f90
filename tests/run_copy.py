"""A small run that has ended, made once for a class of tests, and a copy of it for each test to spoil."""
import os
import resource
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

TRAIN = os.path.abspath(os.environ.get("TRAIN", "./train"))
TINY = ("--size tiny --layers 1 --width 8 --heads 2 --ffn 12 --batch 2 --seq 17 --val-batches 1 --steps 9 --save-every 3 --keep 0 "
        "--val-every 2 --probe-every 3 --threads 1 --tune off --quiet").split()
TABLES = ("metrics.csv", "validation.csv", "probe.csv")


class RunCopy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.whole = Path(tempfile.mkdtemp(), "whole")
        cls.addClassCleanup(shutil.rmtree, cls.whole.parent)
        done = subprocess.run([TRAIN, *TINY, "--out", cls.whole], capture_output=True, text=True, errors="replace")
        assert done.returncode == 0, done.stderr

    def setUp(self):
        """A copy of the run as it was after its step 6."""
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.run_ = self.folder / "run"
        shutil.copytree(self.whole, self.run_)
        shutil.rmtree(self.run_ / "step-00000009")
        (self.run_ / "hidden_variance.csv").unlink()

    def train(self, *flags, **limits):
        def restrict():
            for name, value in limits.items():
                resource.setrlimit(getattr(resource, name), (value, value))
        return subprocess.run([TRAIN, *map(str, flags)], capture_output=True, text=True, errors="replace", timeout=30,
                              preexec_fn=restrict, cwd=self.folder)

    def resume(self, *flags):
        return self.train("--resume", "auto", "--out", self.run_, *flags)

    def refused(self, done, *words):
        """One sentence and exit code 2."""
        self.assertEqual(done.returncode, 2, done.stderr)
        last = done.stderr.splitlines()[-1]
        self.assertTrue(last.startswith("train: "), done.stderr)
        self.assertNotIn("terminate", done.stderr)
        for word in words:
            self.assertIn(str(word), last)

    def table(self, name, folder=None):
        rows = ((folder or self.run_) / name).read_text().splitlines()
        return [row.split(",")[:5] if name == "metrics.csv" else row for row in rows]  # without times

    def is_whole(self):
        for name in TABLES:
            self.assertEqual(self.table(name), self.table(name, self.whole), name)
        for name in ("model.safetensors", "optimizer.safetensors", "config.json"):
            self.assertEqual((self.run_ / "step-00000009" / name).read_bytes(),
                             (self.whole / "step-00000009" / name).read_bytes(), name)
