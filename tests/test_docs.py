"""README and docs: every link leads somewhere, the door stays a door, its commands run."""
import os
import re
import shlex
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TRAIN = Path(os.environ.get("TRAIN", ROOT / "train")).resolve()
PAGES = [ROOT / name for name in subprocess.run(["git", "-C", ROOT, "ls-files", "*.md"], text=True,
                                                capture_output=True).stdout.split()]


def anchors(page):
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def commands(page):
    """The lines of its sh blocks, continued ones joined, comments taken off."""
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S)
    return [shlex.split(line, comments=True) for block in blocks
            for line in block.replace("\\\n", " ").splitlines() if line.strip()]


class Docs(unittest.TestCase):
    def test_links(self):
        self.assertGreater(len(PAGES), 8, "is this a git clone?")
        wrong = []
        for page in PAGES:
            text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
            for target in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.match(r"\w+:", target):
                    continue
                path, _, anchor = target.partition("#")
                to = (page.parent / path).resolve() if path else page
                if not to.exists() or (anchor and anchor not in anchors(to)):
                    wrong.append(f"{page.relative_to(ROOT)}: {target}")
        self.assertEqual(wrong, [])

    def test_pages_are_reached_from_the_readme(self):
        readme = (ROOT / "README.md").read_text()
        for page in (ROOT / "docs").glob("*.md"):
            self.assertIn(f"](docs/{page.name})", readme)

    def test_the_readme_is_a_door(self):
        lines = (ROOT / "README.md").read_text().splitlines()
        self.assertLessEqual(len(lines), 170)
        first = "\n".join(lines[:12])
        self.assertIn("make deps && make && ./train --norm peri", first)
        self.assertIn("make deps && make test", first)

    def test_the_readmes_findings_stand_in_the_results(self):
        """There test_experiments_prose.py holds them to the CSVs."""
        found = (ROOT / "README.md").read_text().split("## What was found")[1].split("\n## ")[0]
        results = (ROOT / "docs/results.md").read_text()
        numbers = re.findall(r"\d+\.\d+", re.sub(r"\(.*?\.(svg|md)\)", "", found))
        self.assertGreater(len(numbers), 4)
        for number in numbers:
            self.assertIn(number, results)

    def help(self):
        return subprocess.run([TRAIN, "--help"], text=True, capture_output=True, check=True).stdout

    def test_the_table_of_placements_is_the_programs(self):
        table = re.findall(r"^\| `([\w-]+)` \| [x ]*\|", (ROOT / "README.md").read_text(), re.M)
        told = re.search(r"placement: (.*?), or a list", " ".join(self.help().split()))[1]
        self.assertEqual(sorted(table), sorted(told.split(", ")))

    def test_the_reading_order_counts_right(self):
        """Lines told are lines there, and one training step can be read in an hour."""
        told = re.findall(r"^\| \d \| (.*) \| (\d+) \| \d+ \|$", (ROOT / "README.md").read_text(), re.M)
        self.assertEqual(len(told), 8)
        for files, lines in told:
            there = sum(len((ROOT / file).read_text().splitlines())
                        for file in re.findall(r"\]\(([^)]+)\)", files))
            self.assertLessEqual(abs(there - int(lines)), 0.05 * there, files)
        step = ("train.cpp src/accumulate.cpp src/model.cpp src/placement.h src/kernels.h "
                "src/activations.h src/cpu/norm.cpp src/schedule.h src/optimizer.cpp "
                "src/cpu/optimizer.cpp").split()
        self.assertLessEqual(sum(len((ROOT / file).read_text().splitlines()) for file in step), 1500)

    def test_rooms_include_no_later_ones(self):
        """src <- data, store <- probe, run <- jobs, as the README draws them."""
        level = {"": 0, "cpu": 0, "comm": 0, "data": 1, "store": 1, "probe": 2, "run": 2, "jobs": 3}
        for path in (ROOT / "src").rglob("*.*"):
            room = path.parent.relative_to(ROOT / "src").as_posix().replace(".", "")
            for other in re.findall(r'#include "(?:(\w+)/)?\w+\.h"', path.read_text()):
                if other != room and other != "cpu":
                    self.assertLess(level[other], max(1, level[room]), path)

    def test_the_table_of_scaling_is_the_scripts(self):
        script = subprocess.run(["python3", ROOT / "docs/scaling.py"], text=True,
                                capture_output=True, check=True).stdout
        self.assertIn(script, (ROOT / "docs/scaling.md").read_text())

    def test_flags_exist(self):
        known = set(re.findall(r"--[\w-]+", self.help()))
        for page in PAGES:
            for words in commands(page):
                if words and words[0] == "./train":
                    flags = {word.split("=")[0] for word in words if word.startswith("--")}
                    self.assertLessEqual(flags, known, f"{page}: {words}")

    def test_quick_commands_run(self):
        run = 0
        with tempfile.TemporaryDirectory() as place:
            for page in PAGES:
                for words in commands(page):
                    if words[:1] != ["./train"] or not {"--dry-run", "--help"} & set(words):
                        continue
                    words = [str(ROOT / w) if w.startswith("configs/") else w for w in words[1:]]
                    r = subprocess.run([TRAIN, *words], cwd=place, text=True, capture_output=True)
                    self.assertEqual(r.returncode, 0, f"{page}: {words}: {r.stderr}")
                    run += 1
        self.assertGreater(run, 0)


if __name__ == "__main__":
    unittest.main()
