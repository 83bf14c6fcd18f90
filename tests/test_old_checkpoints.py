"""Every version reads what the earlier ones saved: tests/checkpoints has a run of each that changed a format."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import saved_run

TRAIN = [os.path.abspath(os.environ.get("TRAIN", "./train"))]
CORPUS = Path(__file__).parent / "checkpoints"
VERSIONS = sorted(path for path in CORPUS.iterdir() if path.is_dir())
KINDS = {"adamw": "fp32", "sgd-bf16": "bf16", "adamw-fp16": "fp16"}
STEP = 2  # of the checkpoint; the rows of what came after are kept too

# Other processors, and kernels of other versions, add in another order. A loss is off by an epsilon or so for each
# of the 14 products that a number passes on its way, forward and backward, and each of the four steps, and they add up
# as the root of their number. In bf16 and fp16 such differences mostly round away: at most as if each of the 68 losses of which
# a row is the mean were itself rounded to bf16.
TOLERANCE = {"fp32": (4 * 14) ** 0.5 * saved_run.EPSILON["fp32"], **{narrow: saved_run.EPSILON[narrow] / 68 ** 0.5 for narrow in ("bf16", "fp16")}}


class OldCheckpoints(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def copy(self, version, kind):
        run = self.folder / version.name / kind
        if run.exists():
            shutil.rmtree(run)
        return Path(shutil.copytree(version / kind, run))

    def train(self, *flags):
        return saved_run.train(TRAIN, "--threads", 1, "--tune", "off", "--quiet", *flags, cwd=self.folder)

    def each(self, test):
        for version in VERSIONS:
            for kind in filter(lambda kind: (version / kind).exists(), KINDS):
                with self.subTest(version=version.name, kind=kind):
                    test(version, kind, self.copy(version, kind))

    def test_goes_on(self):
        worst = dict.fromkeys(KINDS, 0)
        def check(version, kind, run):
            done = self.train("--resume", "auto", "--out", run)
            self.assertEqual(done.returncode, 0, done.stderr)
            for line in done.stderr.splitlines():  # a library that this machine does not have
                self.assertIn("cannot be followed here", line)
            self.assertIn(f"step-{STEP:08}", done.stdout)
            apart = saved_run.apart(saved_run.losses(run), saved_run.losses(version / kind))
            worst[kind] = max(worst[kind], apart)
            self.assertLessEqual(apart, TOLERANCE[KINDS[kind]])
            for name in ("metrics.csv", "validation.csv"):  # what it had written stays
                if (version / kind / name).exists():
                    before = saved_run.rows(version / kind / name)
                    after = saved_run.rows(run / name)
                    for step in filter(lambda step: step <= STEP, before):
                        self.assertEqual(before[step], {key: after[step][key] for key in before[step]})
        self.each(check)
        print("losses of old versions' runs that go on, apart by at most " +
              ", ".join(f"{apart:.1e} of {TOLERANCE[KINDS[kind]]:.1e} ({kind})" for kind, apart in worst.items()))

    def test_is_evaluated_and_shown(self):
        def check(version, kind, run):
            shown = self.train("--view", run)
            self.assertEqual((shown.returncode, shown.stderr), (0, ""))
            done = self.train("--evaluate", "--init-from", run)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            loss = float(next(line for line in done.stdout.splitlines() if line.startswith("loss")).split()[1])
            expected = saved_run.losses(version / kind)["validation.csv", STEP]
            self.assertAlmostEqual(loss, expected, delta=max(5e-5, TOLERANCE[KINDS[kind]] * expected))  # as printed
        self.each(check)

    def test_faults_are_seen(self):
        """Lost moments move the losses by far more than rounding; changed bytes are found by their checksums."""
        def check(version, kind, run):
            saved_run.forget_moments(run / f"step-{STEP:08}")
            self.assertEqual(self.train("--resume", "auto", "--out", run).returncode, 0)
            apart = saved_run.apart(saved_run.losses(run), saved_run.losses(version / kind))
            self.assertGreater(apart, 4 * TOLERANCE[KINDS[kind]])
            for name in ("model.safetensors", "optimizer.safetensors"):
                run = self.copy(version, kind)
                path = run / f"step-{STEP:08}" / name
                data = path.read_bytes()
                path.write_bytes(data[:-3] + bytes([data[-3] ^ 16]) + data[-2:])
                done = self.train("--resume", "auto", "--out", run)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(f"passed over: {path}: tensor ", done.stderr)
                self.assertIn("its checksum differs", done.stderr)
                path.write_bytes(data)
                saved_run.rewrite(path, lambda name, data: data, checksums=False)
                done = self.train("--resume", "auto", "--out", run)
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertIn(f"{path}: was not written by this program (it has no checksums)", done.stderr)
        self.each(check)

    def test_the_newest_is_todays_format(self):
        """A change of what is saved adds a directory to the corpus (README.md there)."""
        made = self.folder / "made"
        subprocess.run([CORPUS / "make.sh", TRAIN[0], made], check=True, capture_output=True)
        todays, newest = described(made), described(VERSIONS[-1])
        for name in todays | newest:
            self.assertEqual(todays.get(name), newest.get(name), f"{name}: add today's format to {CORPUS}, see its README.md")


def described(directory):
    """What is no number of a run's files: tensors with types and shapes, keys, columns, words."""
    description = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_dir():
            description[name] = "directory"
        elif path.suffix == ".safetensors":
            head, _ = saved_run.header(path)
            description[name] = sorted(head.pop("__metadata__")), head
        elif path.suffix == ".json":
            description[name] = [(key, type(value)) for key, value in json.loads(path.read_text()).items()]
        elif path.suffix == ".csv":
            description[name] = path.read_text().splitlines()[0]
        elif path.name == "rows.txt":
            description[name] = [(line.split()[0], len(line.split())) for line in path.read_text().splitlines()]
        else:
            description[name] = "text"  # products.txt: what there is to choose depends on the machine
    return description


if __name__ == "__main__":
    unittest.main()
