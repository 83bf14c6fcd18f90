"""Nothing is lost, and nothing hangs: a run's directory after accidents, as a user meets it."""
import os
import random
import shutil
import subprocess
import time
import unittest

from run_copy import RunCopy, TABLES, TINY, TRAIN


class Lost(RunCopy):
    # ---- settings and checkpoints ----

    def test_undisturbed(self):
        done = self.resume("--quiet")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.is_whole()

    def test_settings_come_from_the_checkpoint(self):
        (self.run_ / "config.json").unlink()
        done = self.resume("--quiet")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.is_whole()
        self.assertTrue((self.run_ / "config.json").exists())

    def test_no_settings_anywhere(self):
        (self.run_ / "config.json").unlink()
        for saved in self.run_.glob("step-*"):
            shutil.rmtree(saved)
        before = self.table("metrics.csv")
        self.refused(self.resume(), "neither its settings (config.json) nor a checkpoint")
        self.assertEqual(self.table("metrics.csv"), before)

    def test_checkpoints_that_cannot_be_used(self):
        before = self.table("metrics.csv")
        self.refused(self.resume("--width", 16), "none of the checkpoints", self.run_)
        for saved in self.run_.glob("step-*"):
            (saved / "model.safetensors").write_bytes(b"damaged")
        self.refused(self.resume(), "none of the checkpoints", self.run_)
        self.assertEqual(self.table("metrics.csv"), before)

    def test_no_checkpoint_yet(self):
        for saved in self.run_.glob("step-*"):
            shutil.rmtree(saved)
        done = self.resume()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("resumed     nothing: there is no checkpoint yet", done.stdout)
        self.is_whole()

    # ---- the run's tables ----

    def test_damaged_tables(self):
        """Single bytes flipped, inserted, zeroed, swapped, files cut, emptied and gone: told, and kept."""
        draw = random.Random(5)
        saved = {name: (self.run_ / name).read_bytes() for name in TABLES}
        rows = (self.run_ / "step-00000006/rows.txt").read_text().split()
        written = {name: int(rows[rows.index(name) + 1]) for name in TABLES}
        harms = {
            "flipped": lambda b, i: b[:i] + bytes([b[i] ^ 1 << draw.randrange(8)]) + b[i + 1:],
            "inserted": lambda b, i: b[:i] + b"7" + b[i:],
            "zeroed": lambda b, i: b[:i] + b"\0" + b[i + 1:],
            "removed": lambda b, i: b[:i] + b[i + 1:],
            "cut": lambda b, i: b[:i],
            "emptied": lambda b, i: b"",
            "gone": lambda b, i: None,
        }
        tried = 0
        for name in TABLES:
            for harm, change in harms.items():
                for _ in range(1 if harm in ("emptied", "gone") else 4):
                    place = draw.randrange(written[name])
                    harmed = change(saved[name], place)
                    if harmed is not None and harmed[:written[name]] == saved[name][:written[name]]:
                        continue  # a byte that was what it became
                    with self.subTest(file=name, harm=harm, place=place):
                        tried += 1
                        shutil.rmtree(self.run_)
                        self.setUp()
                        path = self.run_ / name
                        path.unlink() if harmed is None else path.write_bytes(harmed)
                        done = self.resume("--quiet")
                        self.assertEqual(done.returncode, 0, done.stderr)
                        self.assertIn(f"warning: {path}", done.stderr)
                        self.assertIn("goes on without its earlier rows", done.stderr)
                        kept = self.run_ / f"{name}.damaged"
                        self.assertEqual(kept.read_bytes() if kept.exists() else None, harmed)
                        whole = self.table(name, self.whole)
                        later = [row for row in whole[1:]
                                 if int((row if isinstance(row, str) else ",".join(row)).split(",")[0]) > 6]
                        self.assertEqual(self.table(name), [whole[0], *later])
        self.assertGreater(tried, 50)
        print(f"{tried} damaged tables, each told and kept")

    def test_line_ends_of_another_system(self):
        for name in TABLES:
            path = self.run_ / name
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
        done = self.resume("--quiet")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.is_whole()

    def test_checkpoints_of_before_rows_txt(self):
        for rows in self.run_.glob("step-*/rows.txt"):
            rows.unlink()
        path = self.run_ / "metrics.csv"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([lines[0], lines[2], lines[1], *lines[3:]]))  # steps out of order
        done = self.resume("--quiet")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("has no proper row '1,", done.stderr)
        self.assertTrue((self.run_ / "metrics.csv.damaged").exists())

    def test_tables_rotated_while_it_trains(self):
        """As log rotation does, by renaming or by copying and cutting: the run ends well, and the next one says it."""
        for cut in (False, True):
            with self.subTest(cut=cut):
                run = self.folder / f"rotated-{cut}"
                flags = [*TINY, "--out", run, "--steps", 8_000, "--save-every", 2_000]
                process = subprocess.Popen([TRAIN, *map(str, flags)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                table, away = run / "metrics.csv", run / "metrics.csv.1"
                while not (table.exists() and table.stat().st_size > 10_000):
                    self.assertIsNone(process.poll())
                    time.sleep(0.002)
                if cut:
                    shutil.copy(table, away)
                    os.truncate(table, 0)
                else:
                    table.rename(away)
                self.assertEqual((process.communicate(timeout=60)[1], process.returncode), ("", 0))
                self.assertIn("8000,", away.read_text() if not cut else table.read_text())
                done = self.train("--resume", "auto", "--out", run, "--steps", 8_003, "--quiet")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(f"warning: {table} {'is shorter than it was' if cut else 'is gone'}", done.stderr)
                self.assertEqual([row.split(",")[0] for row in table.read_text().splitlines()[1:]], ["8001", "8002", "8003"])
                self.assertEqual((run / "metrics.csv.damaged").exists(), cut)

    def test_damaged_twice(self):
        for _ in range(2):
            (self.run_ / "metrics.csv").write_text("step\n")
            for saved in self.run_.glob("step-00000009"):
                shutil.rmtree(saved)
            self.assertEqual(self.resume("--quiet").returncode, 0)
        self.assertTrue((self.run_ / "metrics.csv.damaged-2").exists())

    # ---- names and things that are no files ----

    def test_names_that_lead_nowhere(self):
        long = "x" * 300
        self.refused(self.train("--resume", "auto", "--out", self.folder / long, *TINY), long[:40])
        self.refused(self.train("--init-from", long, *TINY, "--out", self.folder / "a"), long[:40])
        self.refused(self.train("--view", long), long[:40])
        loop = self.folder / "loop"
        loop.symlink_to(loop)
        self.refused(self.train("--init-from", loop, *TINY, "--out", self.folder / "b"), loop)
        self.refused(self.train("--evaluate", "--init-from", loop), loop)
        self.refused(self.train("--config", loop), loop)
        self.refused(self.train("--data", loop), loop)
        for name in ("model.safetensors", "optimizer.safetensors"):
            with self.subTest(name=name):
                shutil.rmtree(self.run_)
                self.setUp()
                file = self.run_ / "step-00000006" / name
                file.unlink()
                file.symlink_to(file)
                done = self.resume("--quiet")
                self.assertEqual(done.returncode, 0, done.stderr)  # from the checkpoint before
                self.assertIn("passed over: ", done.stderr)
                self.is_whole()
        shutil.rmtree(self.run_)
        self.setUp()
        (self.run_ / "config.json").unlink()
        (self.run_ / "config.json").symlink_to(self.run_ / "config.json")
        self.assertEqual(self.resume("--quiet").returncode, 0)  # settings from the checkpoint
        self.is_whole()

    def test_what_would_never_end(self):
        def pipe(path):
            path.unlink(missing_ok=True)
            os.mkfifo(path)
            return path
        for name in (*TABLES, "config.json", "step-00000006/products.txt"):
            with self.subTest(name=name):
                shutil.rmtree(self.run_)
                self.setUp()
                path = pipe(self.run_ / name)
                self.refused(self.resume(), path, "not a regular file")
        for name in ("model.safetensors", "optimizer.safetensors"):
            with self.subTest(name=name):
                shutil.rmtree(self.run_)
                self.setUp()
                path = pipe(self.run_ / "step-00000006" / name)
                done = self.resume("--quiet")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(f"passed over: {path}", done.stderr)
                self.is_whole()
        shutil.rmtree(self.run_)
        self.setUp()
        (self.run_ / "metrics.csv").unlink()
        (self.run_ / "metrics.csv").symlink_to("/dev/full")
        self.refused(self.resume(), "metrics.csv", "not a regular file")
        self.refused(self.train("--data", pipe(self.folder / "p.txt")), "not a regular file", "data/prepare.py")
        self.refused(self.train("--data", pipe(self.folder / "p.bin")), "not a regular file")
        self.refused(self.train("--data", pipe(self.folder / "p.jsonl")), "not a regular file")
        self.refused(self.train("--data", "/dev/stdin"), "not a regular file")
        self.refused(self.train("--init-from", pipe(self.folder / "p.safetensors"), "--generate", 3), "not a regular file")

    # ---- limits of the shell ----

    def test_few_addresses(self):
        done = self.train(*TINY, "--out", self.folder / "few", RLIMIT_AS=300 << 20)
        self.refused(done, "ulimit -v", "OPENBLAS_NUM_THREADS")

    def test_short_files(self):
        done = self.train(*TINY, "--out", self.folder / "short", RLIMIT_FSIZE=1000)
        self.refused(done, "File too large")


if __name__ == "__main__":
    unittest.main()
