"""The progress line on a terminal: as wide as the window at most, rewritten in place, in colour unless NO_COLOR."""
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import tempfile
import termios
import unittest

TRAIN = os.environ.get("TRAIN", "./train")
FLAGS = ("--size tiny --steps 12 --val-every 6 --val-batches 1 --probe-every 0 --save-every 0 --tune off "
         "--threads 1").split()
ESCAPES = re.compile(r"\033\[[0-9;]*[mK]")
BARS = "▁▂▃▄▅▆▇█"


class Terminal(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.count = 0

    def shown(self, columns, **environment):
        """What a run writes to a window of so many columns."""
        self.count += 1
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        kept = {name: value for name, value in os.environ.items()
                if name not in ("NO_COLOR", "TERM", "LC_ALL", "LC_CTYPE", "LANG")}
        run = subprocess.Popen([TRAIN, *FLAGS, "--out", f"{self.folder}/run{self.count}"],
                               stdout=theirs, env={**kept, "TERM": "xterm", "LANG": "C.UTF-8", **environment})
        os.close(theirs)
        text = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other side has gone
                break
            if not chunk:
                break
            text += chunk
        os.close(ours)
        self.assertEqual(run.wait(), 0)
        return text.decode()

    def lines(self, text):
        """The states of the progress line."""
        found = [part.split("\r\n")[0] for part in text.split("\r\033[K")[1:]]
        self.assertEqual(len(found), 12)
        return found

    def test_80_columns(self):
        last = self.lines(self.shown(80))[-1]
        plain = ESCAPES.sub("", last)
        self.assertLessEqual(len(plain), 79)
        self.assertRegex(plain, rf"^step 12/12  [{BARS}]+  loss \d\.\d{{4}}  grad norm [\d.e+-]+  \d+ tokens/s  0:00 left$")
        # a letter a step, or as many as a fast machine's long number of tokens leaves room for
        bars = sum(plain.count(bar) for bar in BARS)
        self.assertEqual(bars, min(12, 79 - (len(plain) - bars)))
        self.assertIn("\033[36m", last)

    def test_widths(self):
        for columns in (20, 60, 79, 100, 101, 130, 300):
            with self.subTest(columns=columns):
                for line in self.lines(self.shown(columns)):
                    self.assertLess(len(ESCAPES.sub("", line)), columns)
                self.assertEqual("MFU" in line, columns >= 100)

    def test_no_color(self):
        text = self.shown(80, NO_COLOR="1")
        self.assertNotIn("\033[36m", text)
        self.assertNotIn("\033[0m", text)
        self.assertTrue(set(BARS) & set(self.lines(text)[-1]))
        self.assertIn("\033[36m", self.shown(80, NO_COLOR=""))  # no-color.org: when not empty

    def test_other_locales_and_dumb_terminals(self):
        self.assertFalse(set(BARS) & set(self.shown(80, LANG="C")))
        self.assertFalse(set(BARS) & set(self.shown(80, LC_ALL="POSIX")))
        dumb = self.shown(80, TERM="dumb")
        self.assertNotIn("\033", dumb)
        self.assertEqual(len(re.findall(r"step \d+/12  loss .* left\r\n", dumb)), 12)

    def test_no_terminal(self):
        text = subprocess.run([TRAIN, *FLAGS, "--out", f"{self.folder}/piped"], capture_output=True, text=True).stdout
        self.assertNotIn("\033", text)
        self.assertNotIn("\r", text)
        self.assertEqual(len(re.findall(r"(?m)^step \d+/12  loss .* MFU \d+ %  0:0\d left$", text)), 12)


if __name__ == "__main__":
    unittest.main()
