"""Checkpoints and settings of strangers: bounded memory and time, one sentence, nothing written or read elsewhere.

HOSTILE=3000 is the long form: so many checkpoints with headers damaged at random (default 40)."""
import json
import os
import random
import shutil
import struct
import subprocess
import time
import unittest

import saved_run
from run_copy import RunCopy, TABLES, TINY, TRAIN

HOSTILE = int(os.environ.get("HOSTILE", 40))
LINKED = ["metrics.csv", "validation.csv", "probe.csv", "lock", "unfinished", "hidden_variance.csv", "view.html",
          "step-00000009", *(f"{name}.new" for name in ("config.json", *TABLES, "view.html", "hidden_variance.csv"))]


def safetensors(header, numbers=b""):
    """A file's bytes; the header is JSON or text."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def write_long(path, begin, unit, size, end):
    """Such a file whose header is a unit, again and again (with a number in it, from 0 on). Piece by piece: what this
    process holds would be counted among what the program held."""
    numbered = b"%" in unit
    times = size // len(unit % 0 if numbered else unit)
    with open(path, "wb") as file:
        file.write(b"-" * 8 + begin)
        for first in range(0, times, 10_000):
            part = range(first, min(first + 10_000, times))
            file.write(b"".join(unit % i for i in part) if numbered else unit * len(part))
        file.write(end)
        length = file.tell() - 8
        file.seek(0)
        file.write(struct.pack("<Q", length))


def opened(path):
    """Header and numbers."""
    header, begin = saved_run.header(path)
    return header, path.read_bytes()[begin:]


def content(folder):
    return {str(path): os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
            for path in folder.rglob("*")}


class Hostile(RunCopy):
    def setUp(self):
        super().setUp()
        self.outside = self.folder / "outside"
        self.outside.mkdir()
        (self.outside / "secret.txt").write_text("what only its owner should read. " * 100)
        (self.outside / "precious").mkdir()
        (self.outside / "precious/file").write_text("kept\n")
        shutil.copy(self.whole / "metrics.csv", self.outside / "metrics.csv")
        self.before = content(self.outside)
        self.saved = self.run_ / "step-00000006"
        self.weights = self.saved / "model.safetensors"

    def tearDown(self):
        self.assertEqual(content(self.outside), self.before, "something outside of the run's directory was changed")

    def bounded(self, *flags, seconds=20, mebibytes=1024):
        """Runs it within these limits. Returns exit code and stderr, which is one sentence where it is 2."""
        log = self.folder / "stderr"
        with open(log, "w") as errors:
            start = time.monotonic()
            process = subprocess.Popen([TRAIN, *map(str, flags)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=errors, cwd=self.folder)
            try:
                while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
                    self.assertLess(time.monotonic() - start, seconds, f"does not end: {flags}")
                    time.sleep(0.005)
            finally:
                if ended[0] == 0:
                    process.kill()
        process.returncode = code = os.waitstatus_to_exitcode(ended[1])
        text = log.read_text(errors="replace")
        self.assertIn(code, (0, 2, 3), f"{flags}: {text}")
        if code == 2:
            self.assertEqual([line.startswith("train: ") for line in text.splitlines() if not line.startswith("passed over: ")],
                             [True], text)
        self.assertLess(ended[2].ru_maxrss / 1024, mebibytes, f"MiB, {flags}")
        return code, text

    def jobs(self, place):
        """Every job that reads a stranger's weights."""
        shutil.rmtree(self.folder / "new", ignore_errors=True)
        return (["--evaluate", "--init-from", place, "--val-batches", "1"],
                ["--generate", "3", "--init-from", place],
                ["--export-hf", self.folder / "new", "--init-from", place],
                [*TINY, "--init-from", place, "--out", self.folder / "new/run"],
                [*TINY, "--resume", place, "--out", self.run_])

    # ---- headers and numbers -------------------------------------------------------------------------

    def refused_by_all(self, *words, seconds=20):
        for job in self.jobs(self.saved):
            code, text = self.bounded(*job, "--threads", "1", seconds=seconds)
            self.assertEqual(code, 2, f"{job}: {text}")
            for word in words:
                self.assertIn(word, text)

    def test_long_headers(self):
        size = 99_999_000
        for begin, unit, end in ((b'{"a":', b"[", b""), (b'{"a":', b"[],", b""), (b'{"a":[', b"[],", b"0]}"), (b"", b'{"a":', b""),
                                 (b'{"a":{"dtype":"U8","shape":[', b"1,", b'1],"data_offsets":[0,1]}}'), (b"{", b'"%08d":0,', b'"x":0}'),
                                 (b'{"__metadata__":{"a":"', b"x", b'"}}'), (b"{}", b" ", b"")):
            with self.subTest(begin=begin, unit=unit):
                write_long(self.weights, begin, unit, size, end)
                code, text = self.bounded("--generate", "3", "--init-from", self.saved)
                self.assertEqual(code, 2, text)
                self.assertLess(len(text), 1000)
        self.weights.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
        self.refused_by_all("model.safetensors")

    def test_lying_headers(self):
        header, numbers = opened(self.weights)
        first, second = sorted((name for name in header if name != "__metadata__"), key=lambda name: header[name]["data_offsets"])[:2]
        many = {**header, "x": {"dtype": "U8", "shape": [10**6, 10**6], "data_offsets": [len(numbers), len(numbers) + 10**12]}}
        overlapping = json.loads(json.dumps(header))
        overlapping[second]["data_offsets"] = header[first]["data_offsets"]
        overlapping[second]["shape"] = header[first]["shape"]
        for words, lie in {
                ("bytes of numbers",): many,
                ("impossible shape",): {**header, "x": {"dtype": "F64", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 0]}},
                ("overlaps",): overlapping,
                ("comes twice",): json.dumps(header)[:-1].encode() + b"," + json.dumps({first: header[first]})[1:].encode()}.items():
            with self.subTest(words=words):
                self.weights.write_bytes(safetensors(lie, numbers))
                self.refused_by_all(*words)

    def test_a_terabyte_that_is_not_there(self):
        header, numbers = opened(self.weights)
        header["x"] = {"dtype": "U8", "shape": [10**6, 10**6], "data_offsets": [len(numbers), len(numbers) + 10**12]}
        data = safetensors(header, numbers)
        self.weights.write_bytes(data)
        try:
            os.truncate(self.weights, len(data) + 10**12)
        except OSError as error:
            self.skipTest(f"no sparse file of a terabyte: {error}")
        for job in self.jobs(self.saved):  # what is not asked for is not read
            self.bounded(*job, "--threads", "1")

    def test_names_that_are_paths(self):
        header, numbers = opened(self.weights)
        for name in ("../outside/precious/file", "/etc/passwd", "a/../../b", "\0", "x" * 10_000):
            empty = {**header, name: {"dtype": "F32", "shape": [0], "data_offsets": [len(numbers), len(numbers)]}}
            self.weights.write_bytes(safetensors(empty, numbers))
            for job in self.jobs(self.saved):
                self.bounded(*job, "--threads", "1")

    def test_weights_that_are_no_numbers(self):
        for value in (float("nan"), float("inf"), 3e38):
            with self.subTest(value=value):
                saved_run.rewrite(self.weights, lambda name, data: struct.pack("<f", value) * (len(data) // 4))
                for job, expected in zip(self.jobs(self.saved), (2, 2, 0, 3, 3)):
                    code, text = self.bounded(*job, "--threads", "1")
                    self.assertEqual(code, expected, f"{job}: {text}")

    def test_headers_damaged_at_random(self):
        """So many, their bytes and JSON changed; the seed is 11."""
        draw = random.Random(11)
        header, numbers = opened(self.weights)
        values = [0, 1, -1, 7, 1 << 31, 1 << 63, 10**30, 1e300, None, True, [], {}, [[]], "", "F32", "../x", "\ud800"]
        codes = {0: 0, 2: 0, 3: 0}
        for i in range(HOSTILE):
            lie = json.loads(json.dumps(header))
            for _ in range(draw.randint(1, 3)):
                name = draw.choice(list(lie))
                entry = lie[name]
                if draw.random() < 0.2:
                    lie[draw.choice(list(lie) + [str(draw.choice(values))])] = draw.choice(values)
                elif draw.random() < 0.3 and isinstance(entry, dict) and isinstance(entry.get("shape"), list):
                    for key in ("shape", "data_offsets"):
                        if isinstance(entry.get(key), list) and entry[key]:
                            entry[key][draw.randrange(len(entry[key]))] = draw.choice(values)
                elif isinstance(entry, dict) and entry:
                    entry[draw.choice(list(entry))] = draw.choice(values)
            data = bytearray(safetensors(lie, numbers))
            if draw.random() < 0.3:
                data[draw.randrange(min(len(data), 4000))] ^= 1 << draw.randrange(8)
            if draw.random() < 0.1:
                del data[draw.randrange(len(data)):]
            self.weights.write_bytes(data)
            code, _ = self.bounded(*draw.choice(self.jobs(self.saved)), "--threads", "1")
            codes[code] += 1
        self.assertGreater(codes[2], HOSTILE // 2, codes)
        if HOSTILE > 40:
            print(f"hostile: {HOSTILE} damaged checkpoints: {codes[0]} accepted, {codes[2]} refused, {codes[3]} diverged")

    # ---- texts ---------------------------------------------------------------------------------------

    def test_texts_of_any_kind(self):
        for text in (b"[" * 1_000_000, b'{"lr":' + b"[" * 300_000, b'{"lr":' * 170_000, b"\0" * 1000, b"\xff\xfe" * 1000,
                     b'{"' + b"x" * 900_000 + b'":1}', b" " * (1 << 22), b""):
            for name in ("config.json", "step-00000006/config.json", "step-00000006/products.txt", "step-00000006/rows.txt"):
                with self.subTest(text=text[:10], name=name):
                    shutil.rmtree(self.run_)
                    shutil.copytree(self.whole, self.run_)
                    (self.run_ / name).write_bytes(text)
                    if text[:1] == b" ":
                        os.truncate(self.run_ / name, 1 << 33)  # far more than may be held; no block of it on the disk
                    for job in (["--resume", "auto", "--out", self.run_], ["--generate", "3", "--init-from", self.saved],
                                ["--view", self.run_]):
                        self.bounded(*job)

    # ---- links and pipes -----------------------------------------------------------------------------

    def in_place_of(self, make):
        for name in LINKED:
            for job in (["--resume", "auto", "--out", self.run_, "--quiet"], ["--view", self.run_]):
                with self.subTest(name=name, job=job[0]):
                    shutil.rmtree(self.run_)
                    shutil.copytree(self.whole, self.run_)
                    shutil.rmtree(self.run_ / "step-00000009")
                    path = self.run_ / name
                    path.unlink(missing_ok=True)
                    make(path)
                    self.bounded(*job)
                    self.assertEqual(content(self.outside), self.before)
        self.assertTrue((self.run_ / "step-00000006/model.safetensors").exists())

    def test_links_to_files(self):
        self.in_place_of(lambda path: path.symlink_to(self.outside / ("metrics.csv" if path.name == "metrics.csv" else "secret.txt")))

    def test_links_to_nothing(self):
        self.in_place_of(lambda path: path.symlink_to(self.outside / "new"))

    def test_links_to_directories(self):
        self.in_place_of(lambda path: path.symlink_to(self.outside / "precious"))

    def test_pipes(self):
        self.in_place_of(os.mkfifo)

    def test_a_new_run_writes_through_no_link(self):
        for name in (*LINKED, "config.json", "check.csv"):
            for job in ([], ["--check", "1"]):
                with self.subTest(name=name, job=job):
                    place = self.folder / "fresh"
                    shutil.rmtree(place, ignore_errors=True)
                    place.mkdir()
                    (place / name).symlink_to(self.outside / "new")
                    self.bounded(*TINY, "--out", place, *job)
                    self.assertEqual(content(self.outside), self.before)

    # ---- settings ------------------------------------------------------------------------------------

    def test_settings_that_lead_elsewhere(self):
        (self.folder / "link").symlink_to(self.outside)
        (self.folder / "model").mkdir()
        (self.folder / "model/text.txt").symlink_to(self.outside / "secret.txt")
        (self.folder / "work").mkdir()
        for job in (["--out", "b"], ["--evaluate", "--init-from", self.weights], ["--check", "1", "--out", "c"]):
            for key in ("data",) if job[0] == "--evaluate" else ("data", "val-data"):
                for value in (self.outside / "secret.txt", "../outside/secret.txt", "link/secret.txt", "model/text.txt",
                              "model/*.txt", "*/secret.txt", "no/../../outside/secret.txt", "model/../../*/secret.txt"):
                    with self.subTest(job=job[0], key=key, value=value):
                        shutil.rmtree(self.folder / "b", ignore_errors=True)
                        self.from_stranger({key: str(value)}, job, f'"{key}" leads out of the working directory', f"give --{key}")
        for key, value, job in (("out", self.outside / "new", []), ("out", "../new", []), ("out", "link/new", []),
                                ("resume", self.whole / "step-00000006", []), ("init-from", self.whole, ["--generate", "3"]),
                                ("export-hf", self.outside / "new", ["--init-from", self.weights])):
            with self.subTest(key=key, value=value):
                self.from_stranger({key: str(value)}, job, f'"{key}" leads out of the working directory', f"give --{key}")

    def from_stranger(self, settings, job, *words):
        """Such a --config, in the folder `work`, which holds what it names as well."""
        work = self.folder / "work"
        for name in ("link", "model"):
            if not (work / name).exists():
                (work / name).symlink_to(self.folder / name) if name == "link" else shutil.copytree(self.folder / name, work / name, symlinks=True)
        (work / "config.json").write_text(json.dumps(settings))
        done = subprocess.run([TRAIN, *TINY, *map(str, job), "--config", "config.json"], capture_output=True, text=True, cwd=work, timeout=20)
        self.refused(done, *words)
        self.assertFalse((self.folder / "new").exists())

    def test_settings_that_stay(self):
        """What lies below the working directory, what the user names, and what the own run had."""
        text = self.folder / "text.txt"
        text.write_text("a text of one's own. " * 100)
        config = self.folder / "config.json"
        config.write_text(json.dumps({"data": "text.txt", "out": "a"}))
        self.assertEqual(self.bounded(*TINY, "--config", config)[0], 0)
        config.write_text(json.dumps({"data": str(self.folder / "text.txt"), "out": "a/../b"}))
        self.assertEqual(self.bounded(*TINY, "--config", config)[0], 0)
        work = self.folder / "work"
        work.mkdir()
        for flags in (["--data", text, "--out", "a"], ["--resume", "auto", "--out", "a", "--steps", "12"],
                      ["--generate", "3", "--init-from", "a"], ["--evaluate", "--init-from", "a", "--data", text],
                      ["--config", "a/config.json", "--data", text, "--out", "b"]):
            first = TINY if flags[0] == "--data" else []
            done = subprocess.run([TRAIN, *first, *map(str, flags)], capture_output=True, text=True, cwd=work, timeout=20)
            self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
