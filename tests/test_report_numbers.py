"""Ten numbers of the report in experiments/, drawn anew at each run, computed again from the CSVs by
code that shares nothing with experiments/ (second_reading.py). REPORT_SEED=n repeats a draw.

`python3 -m unittest discover -s tests -p test_report_numbers.py`
"""
import os
import random
import re
import unittest

from second_reading import (FIVE, LATER, ROOT, RUNS, THREE, along, deep, exponent, gradient_ratio,
                            interval, last_variance, lead, loss, losses, mean, names, near, p_value,
                            stdev)

PAGES = [ROOT / "experiments/README.md", *sorted((ROOT / "experiments/report").glob("*.md"))]
REPORT = "\n".join(page.read_text() for page in PAGES)
SPREAD = r" (\S+) \((\S+) to (\S+), n = \d+\)"
DEPTHS = (12, 24, 48, 96)


def rows(claim, words=""):
    """The report's rows of a claim in which the words stand."""
    return [line for line in REPORT.splitlines()
            if line.startswith(f"| `{claim}` ") and words in line]


def spread_of(values):
    return [mean(values), min(values), max(values)]


def told(claim, words, values, form=SPREAD):
    """[(where, number in the report, value)]: "WORDS a (b to c, n = d)" in a claim's row."""
    found = [match for line in rows(claim)
             if (match := re.search(re.escape(words) + form, line))]
    assert found, f"the report has no '{words}' in {claim}"
    return [(f"{claim}: {words}", said, value)
            for said, value in zip(found[0].groups(), spread_of(values))]


def effect(claim, words, differences):
    """The column of the same name: mean, ends of the 95 % interval, p."""
    cell = rows(claim, words)[0].split(" | ")[4]
    match = re.match(r"(\S+) \((\S+) to (\S+), n = (\d+)\), p = (\S+)", cell)
    assert match and int(match[4]) == len(differences), cell
    values = [*interval(differences), p_value(differences)]
    return [(f"{claim}, effect: {words}", match[i], value)
            for i, value in zip((1, 2, 3, 5), values)]


def table_1():
    """Mean and standard deviation of each placement at its best rate."""
    found = []
    for line in REPORT.split("Table 1, of validation losses")[1].splitlines()[4:16]:
        label, rate, _, average, deviation = line.strip("| ").split(" | ")[:5]
        norm, *flags = label.split()
        at = losses(f"S64 {norm} {rate} %" + (" qk_norm=full" if flags else ""), LATER)
        found += [(f"Table 1, {label}", average, mean(at)), (f"Table 1, {label}", deviation,
                                                              stdev(at))]
    return found


def rates():
    found = []
    for scale, tried in (("S64", "1e-3 2e-3 4e-3 8e-3 1.6e-2 3.2e-2 6.4e-2"),
                         ("S128", "1e-3 2e-3 4e-3 8e-3")):
        line = rows("rate-peri-below-pre", f"12 x {scale[1:]}, loss")[0]
        for rate in tried.split():
            match = re.search(f"at {rate}" + SPREAD, line)
            values = lead(f"{scale} pre {rate} %", f"{scale} peri {rate} %")
            found += [(f"lead at {rate}, {scale}", said, value)
                      for said, value in zip(match.groups(), spread_of(values))]
    return found


def deep_ones():
    """Growth, exponents and gradients at four depths."""
    found = []
    for norm in ("keel", "pre", "peri"):
        line = rows("keel-highway")[0].split(f"{norm} 12 layers")[1]
        for layers in DEPTHS:
            match = re.search(f"{layers} layers" + SPREAD, "12 layers" + line)
            values = [gradient_ratio(deep(norm, layers, seed)) for seed in THREE]
            found += [(f"highway, {norm}, {layers} layers", said, value)
                      for said, value in zip(match.groups(), spread_of(values))]
    after = rows("depth-exponent")[0].split("after it")[1]
    for layers in DEPTHS:
        match = re.search(f"{layers} layers" + SPREAD, after)
        values = [exponent(deep("peri", layers, seed))[0] for seed in THREE]
        found += [(f"exponent, {layers} layers", said, value)
                  for said, value in zip(match.groups(), spread_of(values))]
        ends = [last_variance(deep("pre", layers, seed)) for seed in THREE]
        line = rows("depth-growth", "pre, variance")[0].split("at the end itself")[1]
        match = re.search(f"{layers} layers" + SPREAD, line)
        found += [(f"Pre-LN's last variance, {layers} layers", said, value)
                  for said, value in zip(match.groups(), spread_of(ends))]
    return found


def single_tests():
    pre, peri = "S64 pre 4e-3 %", "S64 peri 4e-3 %"
    matched = lambda norm: f"S64 {norm} 4e-3 % init=normal:0.08"
    found = effect("lead-same-embedding", "", lead(pre + " embedding_norm=on", peri, FIVE))
    found += effect("best-rate-order", "peri below pre, at R", lead(pre, peri, LATER))
    found += effect("best-rate-order", "pre below post, own", lead("S64 post 2e-3 %", pre, LATER))
    found += effect("best-rate-order", "12 x 64, normal:0.08", lead(matched("post"),
                                                                    matched("pre")))
    for title, norm in (("Pre-LN", "pre"), ("Peri-LN", "peri")):
        found += effect("init-xavier", f"{title}: lower", lead(f"S64 {norm} 4e-3 %",
                                                               f"S64 {norm} 4e-3 % init=xavier"))
        best = f"S64 {norm} 0.1 % optimizer=sgd"
        found += effect("sgd-worse", f"{title}: SGD", lead(best, f"S64 {norm} 4e-3 %"))
    found += effect("simple-loss", "against peri: simple", lead(peri, "S64 simple 2e-3 %", LATER))
    found += effect("simple-loss", "against pre --qk-norm full: simple",
                    lead("S64 pre 2e-3 % qk_norm=full", "S64 simple 2e-3 %", LATER))
    found += effect("embedding-all-placements", "", lead(pre, pre + " embedding_norm=on", FIVE))
    found += effect("qk-norm", "", lead(peri, peri + " qk_norm=full", FIVE))
    for rate in ("2e-3", "4e-3", "8e-3", "1.6e-2"):
        both = [lead(f"S64 pre {rate} %{flags}", f"S64 peri {rate} %{flags}")
                for flags in ("", " warmup=0.3")]
        found += effect("warmup-lead", f"lead at {rate}", [a - b for a, b in zip(*both)])
    inside = [along("S64 pre 4e-3 % steps=600", "S64 peri 4e-3 % steps=600", step)
              for step in (150, 600)]
    return found + effect("gap-shrinks", "from step 150 to 600", [a - b for a, b in zip(*inside)])


def others():
    low = lambda name: min(min(v) for v in RUNS[name]["probe"]["output_gamma_min"].values())
    found = []
    for rate in "1e-3 2e-3 4e-3 8e-3 1.6e-2 3.2e-2 6.4e-2".split():
        found += told("gamma-positive", f"width 64, {rate}:",
                      [low(name) for name in names(f"S64 peri {rate} %", THREE)])
    for rate in ("2e-3", "8e-3"):
        for norm in ("pre", "peri"):
            ends = [last_variance(name) for name in names(f"S128 {norm} {rate} %", THREE)]
            line = rows("growth-pre-training", f"rate {rate}: variance")[0].split("end itself:")[1]
            match = re.search(norm + SPREAD, line)
            found += [(f"last variance, {norm} at {rate}", said, value)
                      for said, value in zip(match.groups(), spread_of(ends))]
    return found


def long_enough():
    """The leads of 20 bytes a parameter that the report has, each arm at the best rate of the first seed."""
    def at_best(norm, flags):
        first = [name for name in RUNS if re.fullmatch(rf"C64 {norm} \S+ 11 {flags}init=normal:0\.08", name)]
        return f"C64 {norm} {min(first, key=loss).split()[2]} % {flags}init=normal:0.08"

    on, off = "embedding_norm=on ", "embedding_norm=off "
    found = []
    for words, pre, peri in (("the norm in Peri-LN alone", "", ""), ("in both", on, ""), ("in neither", "", off)):
        if rows("optimal-lead", words + ":"):
            arms = at_best("pre", pre), at_best("peri", peri)
            seeds = [seed for seed in FIVE if all(name in RUNS for arm in arms for name in names(arm, [seed]))]
            found += effect("optimal-lead", words + ":", lead(*arms, seeds))
    return found


def seen_once(command):
    """Bytes a parameter (without embedding and head) of a run that sees no window twice; 0 of any other."""
    flag = lambda name: int(re.search(rf"--{name} (\d+)", command)[1])
    parameters = flag("layers") * (4 * flag("width") ** 2 + 3 * flag("width") * flag("ffn"))
    return flag("steps") * flag("batch") * flag("seq") / parameters if "--draw once" in command else 0


class Report(unittest.TestCase):
    def setUp(self):
        self.pool = table_1() + rates() + deep_ones() + single_tests() + others() + long_enough()

    def test_ten_numbers(self):
        seed = int(os.environ.get("REPORT_SEED", random.randrange(10 ** 6)))
        for where, said, value in random.Random(seed).sample(self.pool, 10):
            with self.subTest(where, seed=seed):
                self.assertTrue(near(said, value), f"the report says {said}, the CSVs {value}")

    def test_what_counts_as_long_enough_saw_its_text_once(self):
        """20 bytes a parameter, but for the runs that are named by their steps."""
        long = [run for name, run in RUNS.items() if name.startswith("C") and " steps=" not in name]
        for run in long:
            with self.subTest(run["name"]):
                self.assertGreaterEqual(seen_once(run["command"]), 20)
        command = "./train --draw once --layers 12 --width 64 --ffn 192 --seq 64 --batch 32 --steps 6240"
        self.assertGreaterEqual(seen_once(command), 20)
        self.assertLess(seen_once(command.replace("6240", "6200")), 20)
        self.assertEqual(seen_once(command.replace("--draw once ", "")), 0)

    def test_the_pool_is_large(self):
        self.assertGreater(len(self.pool), 200)
        self.assertFalse(near("0.018", 0.0174) or near("2,130", 2150) or near("9.0e-06", 9.2e-6))


if __name__ == "__main__":
    unittest.main()
