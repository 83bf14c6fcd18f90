"""Numbers in prose: each decimal number of the answers in claims.md and of docs/results.md is
that of the CSVs, by a second reading. The corrections there are those that the report has."""
import re
import sys
import unittest
from math import exp, log
from statistics import median

from second_reading import (FIVE, LATER, ROOT, RUNS, THREE, along, correlation, decimals, deep,
                            exponent, exponential, exponential_in_units, gradient_ratio, interval,
                            last_variance, lead, loss, losses, mean, names, near, ok, profile,
                            spikes, straightness)

sys.path.insert(0, str(ROOT / "experiments"))

import corrections  # noqa: E402
import few_bits  # noqa: E402
import report  # noqa: E402
import story  # noqa: E402
import verdict  # noqa: E402

PRE, PERI = "S64 pre 4e-3 %", "S64 peri 4e-3 %"
BOTH_ON = (PRE + " embedding_norm=on", PERI)
BOTH_OFF = (PRE, PERI + " embedding_norm=off")
DEPTHS = (12, 24, 48, 96)
TEN = range(11, 21)
LATER_RECIPES = ("bands", "causes", "causes_ten", "twenty", "few_bits", "sharpness",
                 "scale", "optimal", "depths",
                 "log_ramp")  # made after the answers


def at_600(rate, step):
    return mean(along(f"S64 pre {rate} % steps=600", f"S64 peri {rate} % steps=600", step))


def warmup(rate, flags="", steps=""):
    return mean(lead(f"S64 pre {rate} %{steps}{flags}", f"S64 peri {rate} %{steps}{flags}"))


def post_runs():
    return [deep("post", layers, seed, rate) for rate in ("2e-3", "4e-3") for layers in DEPTHS
            for seed in THREE]


def tuned(norm, layers, flags=""):
    """Losses of runs of 150 steps at the rate that is seed 11's best."""
    tail = f"{flags}init=normal:0.08{'' if layers == 12 else f' layers={layers}'} steps=150"
    first = [n for n in RUNS if re.fullmatch(rf"S64 {norm} \S+ 11 {re.escape(tail)}", n)]
    return losses(f"S64 {norm} {min(first, key=loss).split()[2]} % {tail}", THREE)


def tuned_leads(flags=""):
    """Of Peri-LN over Pre-LN, by depth."""
    return [[a - b for a, b in zip(tuned("pre", layers, flags), tuned("peri", layers))] for layers in DEPTHS]


def init_range(norm):
    """Highest less lowest loss over the initial variances, by seed."""
    inits = ["", *(f" init={i}" for i in ("d:10", "d:2", "d:1", "normal:0.08", "d:0.1"))]
    at = [losses(f"S64 {norm} 4e-3 %{init}") for init in inits]
    return [max(column) - min(column) for column in zip(*at)]


def over_probes(name, other):
    """Correlation of the last layer's gradient with another quantity."""
    gradients = RUNS[name]["probe"]["last_layer_gradient"]
    steps = sorted(set(gradients) & set(RUNS[name]["probe"][other]))
    values = [max(profile(name, other, step)) for step in steps]
    return correlation([gradients[step][0] for step in steps], values)


def with_norm():
    return [f"S128 pre {rate} {seed}" for rate in ("2e-3", "8e-3") for seed in THREE]


def share(name):
    """Of the growth of log variance, by step 100."""
    start, then, end = (log(last_variance(name, step)) for step in (0, 100, -1))
    return (then - start) / (end - start)


def end_over_peak(norm):
    found = []
    for rate in ("1e-3", "2e-3", "4e-3", "8e-3"):
        for name in names(f"S128 {norm} {rate} %", THREE):
            values = [last_variance(name, step) for step in range(0, 301, 50)]
            found.append(values[-1] / max(values))
    return found


def lowest_gamma(name):
    return min(min(values) for values in RUNS[name]["probe"]["output_gamma_min"].values())


def covariance_share(name):
    v = profile(name, "hidden_variance")
    covariance = RUNS[name]["probe"]["residual_covariance"]
    return sum(covariance[max(covariance)][-24:]) / (v[-1] - v[0])


def bytes_a_parameter(name):
    flag = lambda word: int(re.search(rf"--{word} (\d+)", RUNS[name]["command"])[1])
    per_layer = 4 * flag("width") ** 2 + 3 * flag("width") * flag("ffn")
    return flag("steps") * flag("batch") * flag("seq") / (flag("layers") * per_layer)


def both(values):
    return [min(values), max(values)]


def mean_of(function, norm, rate, seeds=THREE, scale="S128"):
    return mean(function(name) for name in names(f"{scale} {norm} {rate} %", seeds))


def left_at(norm):
    """The rate at which the loss leaves in a ramp of 48 layers, by seed."""
    found = []
    for name in names(f"S64 {norm} 5e-2 % layers=48 steps=500 warmup=1", THREE):
        lowest, stayed, values = 1e9, 0, RUNS[name]["loss"]
        for end in range(20, len(values) + 1):
            average = mean(values[end - 20:end])
            lowest = min(lowest, average)
            stayed = end if average <= lowest + 0.2 else stayed
        found.append(0.05 * stayed / 500)
    return found


def long_ramp(norm, layers=64):
    """Of a ramp from 1e-4 to 1: (the rate at which the loss leaves, the last at which it is below 3.1), by seed."""
    found = []
    for name in names(f"S64 {norm} 1e-4 % batch=4 decay=exponential layers={layers} min_lr=1e4 steps=5000 warmup=0", THREE):
        values = RUNS[name]["loss"]  # of the steps 1, 11, 21 and so on
        averages = [mean(values[end - 10:end]) for end in range(10, len(values) + 1)]
        stayed = [average <= min(averages[:i + 1]) + 0.2 for i, average in enumerate(averages)]
        rate = lambda kept: 1e-4 * 1e4 ** ((91 + 10 * max(i for i, is_so in enumerate(kept) if is_so)) / 5000)
        found.append((rate(stayed), rate([average < 3.1 for average in averages])))
    return found


EN = "embedding_norm=on"
MATCHED = {"S64": "init=normal:0.08", "S128": "init=normal:0.0566"}


def matched(scale, behind, ahead):
    return lead(f"{scale} {behind} 4e-3 % {MATCHED[scale]}", f"{scale} {ahead} 4e-3 % "
                f"{MATCHED[scale]}")


def answers():
    """What each answer's decimal numbers are to be, in order."""
    peri_08 = "S64 peri 4e-3 % init=normal:0.08"
    simple_02, simple = "S64 simple 1.6e-2 % init=normal:0.02", "S64 simple 2e-3 %"
    olmo2 = lead(PERI, f"S64 olmo2 4e-3 % {EN}", FIVE)
    alive = [name for name in post_runs() if ok(name)]
    init = names("S128 pre 2e-3 %", THREE)
    no_norm = names(PRE + " final_norm=off", FIVE)
    at_depth = lambda function: [mean(function(deep("peri", layers, seed)) for seed in THREE)
                                 for layers in DEPTHS]
    highest = lambda norm: [max(profile(name, "largest_001")[-24:]) for name in
                            names(f"S128 {norm} 2e-3 %", THREE)]
    growth = lambda name: last_variance(name) / last_variance(name, 0)
    return {
        1: [at_600("4e-3", 150), at_600("4e-3", 600), warmup("4e-3"),
            warmup("4e-3", " warmup=0.3"), warmup("8e-3"), warmup("8e-3", " warmup=0.3"),
            warmup("1.6e-2"), warmup("1.6e-2", " warmup=0.3"), at_600("4e-3", 50),
            *[at_600(rate, step) for rate in ("2e-3", "8e-3", "1.6e-2")
              for step in (150, 300, 600)],
            warmup("1.6e-2", steps=" steps=150"), warmup("1.6e-2", " warmup=0.4", " steps=150")],
        2: [*interval(lead(*BOTH_ON, FIVE)), 0.036, mean(lead(*BOTH_OFF, FIVE)),
            mean(matched("S64", "pre", "peri")), mean(matched("S128", "pre", "peri"))],
        3: [mean(lead("S128 post 2e-3 %", "S128 pre 1e-3 %")), mean(matched("S64", "post", "pre")),
            mean(matched("S128", "post", "pre"))],
        4: [mean(losses(simple_02)), mean(losses("S64 peri 1.6e-2 %")), mean(losses(peri_08)),
            mean(losses(simple)), mean(lead(simple, peri_08)), interval(lead(simple, peri_08))[1],
            mean(lead(simple_02, "S64 pre 1.6e-2 % qk_norm=full"))],
        5: [*interval(olmo2), mean(lead(PERI + " qk_norm=full", f"S64 olmo2 4e-3 % {EN}", FIVE))],
        6: [*both([loss(name) for name in alive]), *both([gradient_ratio(n, 0) for n in alive]),
            *both([gradient_ratio(n) for n in alive]),
            *both([gradient_ratio(n, 1, 0) for n in post_runs()])],
        7: [*both(init_range("peri")), *both(init_range("pre")), 0.40],
        8: [*both([over_probes(name, "largest_001") for name in with_norm()]),
            *both([over_probes(name, "last_layer_bound") for name in with_norm()]),
            *both([over_probes(name, "largest_001") for name in no_norm])],
        9: [mean_of(last_variance, "peri", "2e-3"), mean_of(last_variance, "pre", "2e-3"),
            mean(highest("peri")), mean(highest("pre")),
            *both([growth(name) for name in names(BOTH_ON[0], FIVE)])],
        10: [mean_of(share, norm, rate) for norm in ("peri", "pre") for rate in ("2e-3", "8e-3")],
        11: [mean(lead(BOTH_OFF[1], PERI, FIVE)),
             mean(lead("S128 peri 4e-3 % embedding_norm=off", "S128 peri 4e-3 %")),
             mean_of(lowest_gamma, "peri", "3.2e-2", scale="S64"),
             mean_of(lowest_gamma, "peri", "6.4e-2", scale="S64")],
        12: [*both([straightness(name, 0) for name in init]), 0.56, 0.66,
             *both([exponential_in_units(name, 0) for name in init])],
        13: [mean_of(lambda n: exponent(n)[0], "peri", rate) for rate in ("2e-3", "8e-3")],
        14: [*at_depth(lambda n: exponent(n)[0]), *at_depth(lambda n: exponent(n)[1]),
             *at_depth(exponential), *at_depth(lambda n: exponent(n, 0)[0])],
        15: [*both(end_over_peak("pre")), *both(end_over_peak("peri"))],
        16: [], 18: [], 19: [5.2, 2.6], 20: [], 22: [], 24: [], 23: [],
        17: both([gradient_ratio(deep("keel", layers, seed)) for layers in DEPTHS
                  for seed in THREE]),
        21: [bytes_a_parameter(name) for name in
             ("S64 pre 4e-3 11", "S128 pre 2e-3 11", "S64 pre 4e-3 11 steps=600",
              deep("pre", 96, 11), "S64 pre 4e-3 11 seq=256")],
    }


class Prose(unittest.TestCase):
    def compare(self, text, wanted):
        found = decimals(text)
        self.assertEqual(len(found), len(wanted), f"{found} for {wanted}")
        for said, value in zip(found, wanted):
            places = len(said.split(".")[1])
            self.assertTrue(abs(float(said) - value) <= 0.501 * 10 ** -places,
                            f"{said} is {value} in: {text}")

    def answers(self):
        page = (ROOT / "experiments/claims.md").read_text().split("## Answers to a referee")[1]
        parts = re.split(r"\n(\d+)\. ", page)[1:]
        return {int(number): text.split("\n\n")[0] for number, text in zip(parts[::2], parts[1::2])}

    def test_answers(self):
        wanted, found = answers(), self.answers()
        self.assertEqual(sorted(found), sorted(wanted))
        for number, text in found.items():
            with self.subTest(number):
                self.compare(text, wanted[number])

    def test_counts_in_answers(self):
        alive = [name for name in post_runs() if ok(name)]
        signs = sum(d > 0 for d in lead(*BOTH_ON, FIVE))
        ahead = lambda d: f"{sum(x < 0 for x in d)} of {len(d)}"
        events = lambda norm: ", ".join(str(sum(spikes(name, 150) > 0 for name in names(
            f"S64 {norm} {rate} %", LATER))) for rate in ("4e-3", "2e-3", "1e-3"))
        growth = mean(last_variance(n) / last_variance(n, 0) for n in names(PRE, FIVE))
        gammas = [lowest_gamma(n) for rate in ("3.2e-2", "6.4e-2")
                  for n in names(f"S64 peri {rate} %", THREE)]
        lost = sum(not ok(name) for name in names("S64 pre 4e-3 % init=d:10", THREE))
        then = [r for r in RUNS.values() if r["recipe"] not in LATER_RECIPES]
        said = {2: f"signs {signs} to {5 - signs}",
                3: f"it is -0.031, {ahead(matched('S128', 'post', 'pre'))}, open",
                6: f"{len(alive)} of {len(post_runs())} runs learned",
                7: f"{lost} of 3 Pre-LN runs",
                9: f"End over start is {growth:.0f} for Pre-LN",
                10: f"Pre-LN has {events('pre')} at R, R/2, R/4 and Peri-LN {events('peri')}",
                11: f"below 0 in {sum(g < 0 for g in gammas)} of {len(gammas)} runs",
                23: f"{sum(r['exit'] == '3' for r in then)} of {len(then)} runs"}
        found = {number: " ".join(text.split()) for number, text in self.answers().items()}
        for number, words in said.items():
            self.assertIn(words, found[number])
        self.assertTrue(all(spikes(name) == 0 for norm in ("pre", "peri")
                            for name in names(f"S64 {norm} 4e-3 % init=normal:0.08", THREE)))

    def test_the_rule(self):
        """How often chance is called reproduced."""
        page = (ROOT / "experiments/claims.md").read_text()
        text = page.split("- *An interval.*")[1].split("- *Holm")[0]
        rates = [verdict.false_positives(n) for n in (3, 5, 7)]
        self.compare(text, [100 * rate[which] for which in (0, 1) for rate in rates])

    def results(self):
        page = (ROOT / "docs/results.md").read_text()
        return page.split("## The paper's claims, one by one")[1].split("\n## ")[0]

    def test_readme_has_the_corrections(self):
        """If this fails: corrections.readme() has what is to stand there."""
        for leads in corrections.post_leads(), {"simple": corrections.simple_leads()[1]}:
            signs = {where: interval(lead) for where, lead in leads.items()}
            for where, (_, low, high) in signs.items():  # what the words beside the numbers say
                self.assertTrue(low > 0 if where in ("usual", "simple") else high < 0, where)
        block = re.search(r"<!-- corrections:.*?-->\n(.*?)<!-- end -->", self.results(), re.S)[1]
        plain = lambda text: " ".join(text.split())
        self.assertEqual(plain(block), plain(" ".join(f"- {s}" for s in corrections.readme())))

    def test_readme_has_other_numbers(self):
        rest = re.sub(r"<!-- corrections:.*?<!-- end -->", "", self.results(), flags=re.S)
        frozen = PERI + " embedding_norm=off freeze_output_gamma=True"
        larger = [mean(lead(f"S64 pre {rate} %", f"S64 pre {rate} % state_scale=16", TEN)) for rate in ("4e-3", "1.6e-2")]
        alone, in_both = tuned_leads(), tuned_leads("embedding_norm=on ")
        self.compare(rest.split("[`experiments/`]")[0].split("-->")[-1].split(")**", 1)[-1], [
            mean_of(covariance_share, "peri", "2e-3"), mean_of(covariance_share, "peri", "8e-3"),
            *both(end_over_peak("pre")), mean(losses(frozen, FIVE)), mean(losses(PRE, FIVE)),
            *larger, *(mean(leads[at]) for leads in (alone, in_both) for at in (0, -1)), 0.05, *both(left_at("keel")), *both(left_at("pre")), mean(left_at("mix")),
            *(exp(mean([log(left) for left, _ in long_ramp(norm)])) for norm in ("pre", "peri", "keel", "mix")),
            max(last for _, last in long_ramp("pre")), 3.1, min(last for _, last in long_ramp("peri"))])
        self.assertEqual(left_at("peri"), [0.05] * 3)
        self.assertTrue(all(pre > keel for (pre, _), (keel, _) in zip(long_ramp("pre"), long_ramp("keel"), strict=True)))

    def ten_placements(self):
        """(the table's rows, what stands above it and below)"""
        page = (ROOT / "docs/results.md").read_text().split("## The paper's claims")[0]
        above, table, below = re.split(r"<!-- (?:placements|end) -->\n", page)
        return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]], above, below

    def test_the_table_of_placements(self):
        """If this fails: `make figures` writes it."""
        rows, _, _ = self.ten_placements()
        self.assertEqual(len({(placement, rate) for placement, rate, *_ in rows}), 20)
        for placement, rate, losses_, start, end in rows:
            made = names(f"S128 {placement.strip('`')} {rate} %", THREE)
            values = [RUNS[name]["val"] for name in made]
            self.compare(losses_, [mean(values), *both(values)])
            for cell, step in ((start, 0), (end, -1)):
                at = [profile(name, "hidden_variance", step) for name in made]
                for said, sublayer in zip(cell.split(" / "), (1, 12, 24), strict=True):
                    value = median(layers[sublayer] for layers in at)
                    self.assertTrue(near(said, value), f"{placement} {rate}: {said} is {value}")

    def test_what_is_said_of_the_table(self):
        _, _, below = self.ten_placements()
        at = lambda norm, rate: f"S128 {norm} {rate} %"
        val = lambda norm, rate: [RUNS[name]["val"] for name in names(at(norm, rate), THREE)]
        lead_at = lambda rate: both(lead(at("pre", rate), at("peri", rate)))
        last = lambda norm, rate: [last_variance(name) for name in names(at(norm, rate), THREE)]
        growth = lambda norm: both([last_variance(name) / last_variance(name, 0)
                                    for name in names(at(norm, "8e-3"), THREE)])
        third = [profile(name, "hidden_variance")[6] / last_variance(name)
                 for name in names(at("pre", "8e-3"), THREE)]
        change = lambda norm: [a - b for a, b in zip(val(norm, "8e-3"), val(norm, "2e-3"))]
        self.compare(below, [
            *lead_at("2e-3"), *lead_at("8e-3"), *growth("peri"), 3.23, 3.20,
            sorted(val("input-main", "2e-3"))[1], *both(change("keel")), *both(change("output")),
            *both(lead(at("pre", "2e-3"), at("post", "2e-3"))),
            mean(lead(at("pre", "1e-3"), at("post", "2e-3"))),
            *both(lead(at("post", "2e-3"), at("peri", "2e-3"))),
            *both([mean(val("output", rate)) for rate in ("2e-3", "8e-3")])])
        words = " ".join(below.split())
        low, high = (f"{round(x, -4):,.0f}" for x in growth("pre"))
        self.assertIn(f"{low}- to {high}-fold", words)
        self.assertIn(f"({100 * min(third):.0f} to {100 * max(third):.0f} %)", words)
        ends = [median(last(norm, "2e-3")) for norm in ("peri", "pre")]
        self.assertIn(f"({ends[0]:.0f} against {ends[1]:.0f})", words)
        for norm in ("post", "deep", "input-main"):
            self.assertTrue(all(abs(x - 3.23) < 0.005 for x in val(norm, "8e-3")), norm)
        self.assertFalse(any(RUNS[name]["exit"] == "3" for rate in ("2e-3", "8e-3")
                             for name in names(at("output", rate), THREE)))
        for rate in ("2e-3", "8e-3"):  # SimpleNorm leads at both
            others = {row[0].strip("`") for row in self.ten_placements()[0]} - {"simple"}
            self.assertTrue(all(a < b for norm in others
                                for a, b in zip(val("simple", rate), val(norm, rate))))

    def test_what_is_said_of_bf16(self):
        page = (ROOT / "docs/speed.md").read_text().split("Peri-LN trains alike in both")[1]
        text = page.split("validation loss", 1)[1].split("\n\n")[0]
        made = {flag: names(f"S128 peri 2e-3 %{flag}", THREE) for flag in ("", " precision=bf16")}
        blocks = [[[mean(RUNS[name]["loss"][i:i + 20]) for i in range(0, 300, 20)]
                   for name in each] for each in made.values()]
        fp32, bf16 = ([list(seeds) for seeds in zip(*each)] for each in blocks)
        self.compare(text, [RUNS[name]["val"] for each in made.values() for name in each]
                     + [max(abs(mean(a) - mean(b)) for a, b in zip(fp32, bf16)),
                        max(max(a) - min(a) for a in fp32)])


class FirstScreen(unittest.TestCase):
    """What the report's first screen says in words, which the program does not write anew, held to the runs."""

    def test_states_are_bounded_at_high_rates_alone(self):
        grown = {norm: [last_variance(n) / last_variance(n, 0) for n in names(f"S128 {norm} 8e-3 %", THREE)]
                 for norm in ("pre", "peri")}
        self.assertGreater(min(grown["pre"]), 1000 * max(grown["peri"]))
        at = lambda step: {norm: [last_variance(n, step) for n in names(f"S128 {norm} 2e-3 %", THREE)]
                           for norm in ("pre", "peri")}
        start, ends = at(0), at(-1)
        self.assertGreater(min(ends["peri"]), max(ends["pre"]))
        self.assertGreater(min(ends["pre"]) / max(start["pre"]), max(ends["peri"]) / min(start["peri"]))

    def test_fp16_is_helped_and_not_enough(self):
        past = lambda norm, shape: sum(few_bits.passes(r) for rate in few_bits.RATES for r in
                                       few_bits.done(few_bits.in_fp16(norm, rate, shape)))
        self.assertLess(sum(past("peri", shape) for shape in few_bits.SHAPES),
                        sum(past("pre", shape) for shape in few_bits.SHAPES))
        self.assertGreater(past("peri", "12 x 128"), 0)

    def test_the_embedding_norm_has_most_of_the_lead(self):
        usual, both, neither = mean(lead(PRE, PERI, FIVE)), mean(lead(*BOTH_ON, FIVE)), mean(lead(*BOTH_OFF, FIVE))
        self.assertEqual((round(usual, 3), round(both, 3)), (0.070, 0.008))
        self.assertLess(neither, 0)
        table = {name.split()[0]: [mean(cell) for cell in row] for name, row in story.crossed()}
        self.assertGreater(min(table["Peri-LN"]), 0)
        self.assertGreaterEqual(sum(b < 0.6 * t for b, t in zip(table["both"], table["Peri-LN"])), 3)
        small, large = table["both"][:2], table["both"][2:]
        self.assertTrue(all(-0.04 < lead < 0 for lead in small))      # "loses 0 to 0.04"
        self.assertTrue(all(0.015 < lead < 0.025 for lead in large))  # "gains about 0.02"
        self.assertLess(max(table["neither"]), 0)                     # "Peri-LN of 12 layers is behind or level"

    def test_later_the_embedding_norm_gains_nothing(self):
        def at_best(norm, flags, steps="", scale="C64", seeds=THREE):
            start = {"C24": "0.1306", "C32": "0.1131", "C48": "0.09238", "C64": "0.08"}[scale]
            tail = f"{flags}init=normal:{start}{steps}"
            first = [n for n in RUNS if re.fullmatch(rf"{scale} {norm} \S+ 11 {re.escape(tail)}", n)]
            return losses(f"{scale} {norm} {min(first, key=loss).split()[2]} % {tail}", seeds)
        less = lambda first, second: [a - b for a, b in zip(first, second)]
        arms = ("pre", ""), ("peri", ""), ("pre", "embedding_norm=on "), ("peri", "embedding_norm=off ")
        pre, peri, pre_on, peri_off = (at_best(*arm, " steps=312") for arm in arms)
        for gained in (less(peri_off, peri), less(pre, pre_on)):
            self.assertGreater(interval(gained)[1], 0.03)
        pre, peri, pre_on, peri_off = (at_best(*arm, seeds=FIVE) for arm in arms)
        self.assertLess(abs(mean(less(peri_off, peri))), 0.005)   # "nothing in Peri-LN"
        cost = less(pre_on, pre)
        self.assertEqual(round(mean(cost), 3), 0.013)             # "it costs Pre-LN 0.013"
        for told_from_0, ahead in ((True, less(pre, peri)), (True, less(pre_on, peri)), (True, cost), (False, less(pre, peri_off))):
            self.assertEqual(interval(ahead)[1] > 0, told_from_0)
        told = {which: [] for which in ((0.011, 0.035), (0.007, 0.029), (-0.029, 0.008))}
        for scale in ("C24", "C32", "C48", "C64"):
            pre, peri, pre_on, peri_off = (at_best(*arm, "", scale, FIVE if scale == "C64" else THREE) for arm in arms)
            for which, ahead in zip(told, (less(pre, peri), less(pre_on, peri), less(pre, peri_off))):
                told[which].append(round(mean(ahead), 3))
        for which, found in told.items():
            self.assertEqual((min(found), max(found)), which)
        for steps, scale in ((" steps=1560", "C64"), ("", "C32")):  # "still gains some hundredths, at width 32 as at 64"
            pre, peri, pre_on, peri_off = (at_best(*arm, steps, scale) for arm in arms)
            for gained in (less(peri_off, peri), less(pre, pre_on)):
                self.assertTrue(0.01 < mean(gained) < 0.05, gained)
        longest = [names(f"C64 {norm} {rate} % init=normal:0.08 steps=31200", THREE[:1])[0] for norm, rate in (("pre", "8e-3"), ("peri", "1.6e-2"))]
        self.assertEqual(round(loss(longest[0]) - loss(longest[1]), 3), 0.007)  # "0.007 after 100 bytes, one seed"
        pre, peri, *_ = (at_best(*arm) for arm in arms)
        for norm in ("olmo2", "simple"):
            self.assertLess(abs(mean(less(at_best(norm, ""), peri))), 0.005)  # "within 0.005 of Peri-LN"

    def test_states_that_begin_large_are_steadier(self):
        usual, large = (names(f"S64 pre 1.6e-2 %{flag}", TEN) for flag in ("", " state_scale=16"))
        self.assertGreater(interval([spikes(a, 150) - spikes(b, 150) for a, b in zip(usual, large)])[1], 0)
        self.assertGreater(interval([loss(a) - loss(b) for a, b in zip(usual, large)])[1], 0)

    def test_depth_is_kind_to_pre_ln_with_the_norm(self):
        alone, in_both = ([round(mean(leads), 3) for leads in tuned_leads(flags)] for flags in ("", "embedding_norm=on "))
        self.assertEqual((alone[0], min(alone), max(alone), alone[-1]), (0.218, 0.186, 0.489, 0.489))
        self.assertEqual((in_both[0], in_both[-1]), (-0.001, -0.134))
        for leads in tuned_leads("embedding_norm=on ")[1:]:
            self.assertTrue(all(by < 0 for by in leads))          # "with all three seeds from 24 layers on"
        slopes = [sum(map(lambda depth, lead: (log(depth) - mean(map(log, DEPTHS))) * lead, DEPTHS, leads)) for leads in zip(*tuned_leads())]
        self.assertLess(interval(slopes)[1], 0)                   # "three seeds do not settle that it grows"

    def test_warmup_and_weights_decide(self):
        self.assertLess(warmup("4e-3", " warmup=0.3"), warmup("4e-3") / 2)
        table = dict(story.crossed())["Peri-LN alone, as in the paper"]
        short, long_, short_large, long_large = map(mean, table)
        self.assertEqual([round(of, 3) for of in (short, long_, short_large, long_large)], [0.041, 0.007, 0.062, 0.054])
        self.assertLess(long_, short / 2)  # README: "most of it is gone"
        signs = [mean(corrections.post_leads()[where]) > 0 for where in ("usual", "matched")]
        self.assertEqual(signs, [True, False])

    def test_what_survives_is_none_of_the_findings(self):
        survivors = report.counted(report.look())["survivors"]
        self.assertLessEqual(set(survivors), {"decay-variance", "init-variance", "scale-growth", "sgd-worse"})

    def test_names_are_what_the_glossary_says(self):
        self.assertIn(f"R is {story.shared_rate()}, the best rate of Pre-LN at 12 x 64.", story.METHOD)

    def test_faster_than_a_line_after_training_alone(self):
        for step, above in ((0, False), (-1, True)):
            self.assertEqual({mean(exponent(deep("peri", layers, seed), step)[0] for seed in THREE) > 1
                              for layers in DEPTHS}, {above})


if __name__ == "__main__":
    unittest.main()
