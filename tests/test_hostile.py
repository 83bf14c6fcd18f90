"""Checkpoints and settings of strangers: bounded memory and time, one sentence, nothing written or read elsewhere.

HOSTILE=3000 is the long form: so many checkpoints with headers damaged at random (default 40)."""
import json
import math
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
                exported = 0 if math.isfinite(value) else 2
                for job, expected in zip(self.jobs(self.saved), (2, 2, exported, 3, 3)):
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

    # ---- models of strangers -------------------------------------------------------------------------

    def foreign(self, norm="peri"):
        """A model's directory as --import-hf takes it."""
        place = self.folder / "hf"
        shutil.rmtree(place, ignore_errors=True)
        flags = ["--norm", norm, *(["--embedding-norm", "off"] if norm == "peri" else [])]
        made = self.folder / f"of-{norm}"
        if not made.exists():
            self.assertEqual(self.bounded(*TINY, *flags, "--save-every", "9", "--out", made)[0], 0)
        self.assertEqual(self.bounded("--export-hf", place, "--init-from", made)[0], 0)
        return place

    def imported(self, place, **limits):
        """Exit code and sentence; nothing is there where it is refused."""
        to = self.folder / "imported"
        shutil.rmtree(to, ignore_errors=True)
        code, text = self.bounded("--import-hf", place, "--out", to, **limits)
        self.assertEqual((to / "model.safetensors").exists(), code == 0)
        self.assertFalse((self.folder / "imported.unfinished").exists())
        self.assertLess(len(text), 2000)
        return code, text

    def test_foreign_weights(self):
        place = self.foreign()
        self.assertEqual(self.imported(place), (0, ""))
        weights = place / "model.safetensors"
        header, numbers = opened(weights)
        for begin, unit, end in ((b'{"a":', b"[", b""), (b"{", b'"%08d":0,', b'"x":0}'),
                                 (b'{"__metadata__":{"a":"', b"x", b'"}}'), (b"{}", b" ", b"")):
            write_long(weights, begin, unit, 99_999_000, end)
            self.assertEqual(self.imported(place)[0], 2)
        for name in ("../outside/precious/file", "/etc/passwd", "\0", "x" * 100_000):
            weights.write_bytes(safetensors({**header, name: {"dtype": "F32", "shape": [0], "data_offsets": [len(numbers)] * 2}}, numbers))
            code, text = self.imported(place)
            self.assertIn("is none of a Glm4ForCausalLM", text)
        weights.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
        self.assertEqual(self.imported(place)[0], 2)

    def test_foreign_parts_with_long_headers(self):
        """Each may be as long as the format allows, all together not."""
        place = self.foreign()
        header, numbers = opened(place / "model.safetensors")
        names = [name for name in header if name != "__metadata__"]
        (place / "model.safetensors").unlink()
        files = [f"{i:03}.safetensors" for i in range(len(names))]
        (place / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict(zip(names, files))}))
        for name, file in zip(names[:8], files):
            entry = header[name]
            first, end = entry["data_offsets"]
            entry = {**entry, "data_offsets": [0, end - first]}
            (place / file).write_bytes(safetensors({"__metadata__": {"a": "x" * 30_000_000}, name: entry}, numbers[first:end]))
        code, text = self.imported(place)
        self.assertEqual(code, 2)
        self.assertIn("longer than 100 MB", text)

    def test_a_foreign_model_that_is_not_there(self):
        """A config.json and a header that ask for terabytes, in a sparse file of as many."""
        place = self.foreign("pre")
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps({**config, "vocab_size": 1 << 24, "hidden_size": 1 << 20, "head_dim": 1 << 19}))
        self.assertEqual(self.imported(place)[0], 2)
        vocab = 1 << 24
        (place / "config.json").write_text(json.dumps({**config, "vocab_size": vocab, "num_hidden_layers": 10_000}))
        self.assertEqual(self.imported(place)[0], 2)
        (place / "config.json").write_text(json.dumps({**config, "hidden_size": 1 << 18, "head_dim": 1 << 17, "vocab_size": 1 << 20}))
        header, _ = opened(place / "model.safetensors")
        end = 0
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            small, large = config["hidden_size"], 1 << 18
            kv = config["num_key_value_heads"] * large // config["num_attention_heads"]
            shape = [large if n == small else n for n in entry["shape"]]
            if "k_proj" in name or "v_proj" in name:
                shape[0] = kv
            if name in ("model.embed_tokens.weight", "lm_head.weight"):
                shape[0] = 1 << 20
            bytes_ = 4
            for n in shape:
                bytes_ *= n
            entry.update(shape=shape, data_offsets=[end, end + bytes_])
            end += bytes_
        header.pop("__metadata__")
        data = safetensors(header)
        (place / "model.safetensors").write_bytes(data)
        try:
            os.truncate(place / "model.safetensors", len(data) + end)
        except OSError as error:
            self.skipTest(f"no sparse file of {end} bytes: {error}")
        code, text = self.imported(place)
        self.assertEqual(code, 2)
        self.assertIn("more memory", text)

    def test_foreign_texts(self):
        for text in (b"[" * 1_000_000, b'{"model_type":' + b"[" * 300_000, b'{"model_type":' * 70_000, b"\0" * 1000, b"\xff\xfe" * 1000,
                     b'{"' + b"x" * 900_000 + b'":1}', b'{"model_type":"' + b"x" * 900_000 + b'"}', b" " * (1 << 22), b""):
            for name in ("config.json", "model.safetensors.index.json"):
                with self.subTest(text=text[:10], name=name):
                    place = self.foreign()
                    (place / name).write_bytes(text)
                    if name != "config.json":
                        (place / "model.safetensors").unlink()
                    if text[:1] == b" ":
                        os.truncate(place / name, 1 << 33)
                    self.assertEqual(self.imported(place)[0], 2)

    def test_foreign_links_and_pipes(self):
        for name in ("config.json", "model.safetensors", "model.safetensors.index.json"):
            for make in (lambda path: path.symlink_to(self.outside / "secret.txt"), lambda path: path.symlink_to(self.outside / "new"),
                         lambda path: path.symlink_to("/dev/zero"), lambda path: path.symlink_to(path.name), os.mkfifo, os.mkdir):
                with self.subTest(name=name):
                    place = self.foreign()
                    if name != "config.json":
                        (place / "model.safetensors").unlink()
                    (place / name).unlink(missing_ok=True)
                    make(place / name)
                    code, text = self.imported(place)
                    self.assertEqual(code, 2)
                    self.assertNotIn("what only its owner", text)

    def test_foreign_models_damaged_at_random(self):
        """So many, a value or a byte of a file changed; the seed is 12."""
        draw = random.Random(12)
        place = self.foreign()
        config, weights = (place / "config.json").read_bytes(), (place / "model.safetensors").read_bytes()
        values = [0, 1, -1, 7, 1 << 31, 1 << 63, 10**30, 1e300, None, True, [], {}, [[]], "", "llama", "../x", "\ud800"]
        codes = {0: 0, 2: 0}
        for _ in range(HOSTILE):
            lie = json.loads(config)
            for _ in range(draw.randint(0, 2)):
                lie[draw.choice(list(lie))] = draw.choice(values)
            (place / "config.json").write_text(json.dumps(lie))
            data = bytearray(weights)
            for _ in range(draw.randint(0, 1)):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            if draw.random() < 0.1:
                del data[draw.randrange(len(data)):]
            (place / "model.safetensors").write_bytes(data)
            codes[self.imported(place)[0]] += 1
        self.assertGreater(codes[2], HOSTILE // 2, codes)
        if HOSTILE > 40:
            print(f"hostile: {HOSTILE} damaged models to import: {codes[0]} accepted, {codes[2]} refused")

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
                                ("export-hf", self.outside / "new", ["--init-from", self.weights]),
                                ("import-hf", self.outside, ["--out", "new"])):
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
