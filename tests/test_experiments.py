"""The experiments' machinery: verdicts by the rules of claims.md, what is kept of a run and read
back, and what is computed from it."""
import math
import os
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "experiments"))
os.environ.pop("FAST", None)

import draw  # noqa: E402
import lab  # noqa: E402
import learning_rate  # noqa: E402
import log_ramp  # noqa: E402
import measures  # noqa: E402
import pages  # noqa: E402
import ramp  # noqa: E402
import report  # noqa: E402
import seeds  # noqa: E402
import simple_norm  # noqa: E402
import verdict  # noqa: E402
from lab import RATES, SEEDS, Result, Run, runs  # noqa: E402
from verdict import CONTRADICTED, OPEN, SHOWN  # noqa: E402

nan, inf = float("nan"), float("inf")


def made_up(losses=(), loss=1.7, code=0, variances=None, spikes=()):
    """A result, without files. variances: step -> [layer 0, 1, ...]."""
    result = Result({"exit": str(code), "val_loss": str(loss)})
    result.metrics = [(i + 1, value, 1.0) for i, value in enumerate(losses)]
    result.probe = {"spike": {step: {None: 4.0} for step in spikes}, "hidden_variance": {},
                    "hidden_mean_abs": {}}
    for step, values in (variances or {}).items():
        result.probe["hidden_variance"][step] = dict(enumerate(values))
    return result


class Verdicts(unittest.TestCase):
    def test_all_on_one_side_and_beyond_the_spread(self):
        self.assertEqual(verdict.verdict([0.10, 0.12, 0.11]), SHOWN)
        self.assertEqual(verdict.verdict([-0.10, -0.12, -0.11]), CONTRADICTED)

    def test_one_pair_on_the_other_side(self):
        self.assertEqual(verdict.verdict([0.10, 0.12, -0.01]), OPEN)
        self.assertEqual(verdict.verdict([-0.10, -0.12, 0.01]), OPEN)

    def test_a_tie_is_on_no_side(self):
        self.assertEqual(verdict.verdict([0.1, 0.1, 0.0]), OPEN)

    def test_within_the_spread(self):
        self.assertEqual(verdict.verdict([0.01, 0.01, 0.4]), OPEN)  # mean 0.14, spread 0.23
        self.assertEqual(verdict.verdict([-0.01, -0.01, -0.4]), OPEN)

    def test_too_few_pairs_or_not_a_number(self):
        self.assertEqual(verdict.verdict([0.1, 0.1]), OPEN)
        self.assertEqual(verdict.verdict([0.1, 0.1, nan]), OPEN)
        self.assertEqual(verdict.verdict([]), OPEN)

    def test_alike(self):
        self.assertEqual(verdict.alike([0.01, -0.008, 0.0], 0.03), SHOWN)
        self.assertEqual(verdict.alike([0.01, -0.02, 0.0], 0.02), OPEN)  # the interval is wider
        self.assertEqual(verdict.alike([0.05, 0.06, 0.07], 0.02), CONTRADICTED)
        self.assertEqual(verdict.alike([-0.05, -0.06, -0.07], 0.02), CONTRADICTED)
        self.assertEqual(verdict.alike([0.03, -0.04, 0.05], 0.02), OPEN)  # on both sides
        self.assertEqual(verdict.alike([0.03, 0.01, 0.05], 0.02), OPEN)
        self.assertEqual(verdict.alike([nan, 0.01, 0.0], 0.02), OPEN)

    def test_a_failed_run_is_worse_than_any_other(self):
        learned = made_up(loss=3.0)
        for failed in (made_up(loss=3.15), made_up(loss=nan), made_up(loss=1.5, code=3)):
            self.assertTrue(verdict.failed(failed))
            self.assertGreater(verdict.loss(failed), verdict.loss(learned))
        self.assertEqual(verdict.loss(made_up(loss=3.15)), verdict.loss(made_up(code=3)))  # a tie
        self.assertEqual(verdict.loss(learned), 3.0)


class Statistics(unittest.TestCase):
    def test_quantiles_are_those_of_the_tables(self):
        for freedom, level, known in ((1, .95, 12.706), (2, .95, 4.303), (4, .95, 2.776),
                                      (6, .95, 2.447), (9, .99, 3.250), (30, .95, 2.042)):
            self.assertAlmostEqual(verdict.quantile(freedom, level), known, places=3)

    def test_p_is_that_of_the_interval(self):
        """p is 0.05 where the interval ends at 0."""
        d = [1.0, 2.0, 4.0, 3.5, 0.5]
        self.assertAlmostEqual(verdict.test(d, verdict.test(d).low).p, 0.05)
        self.assertAlmostEqual(verdict.test(d, verdict.test(d).high).p, 0.05)

    def test_a_known_test(self):
        """Student's sleep data, 1908: t = 4.0621 with 9 degrees of freedom, p = 0.002833."""
        sleep = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
        found = verdict.test(sleep)
        self.assertAlmostEqual(found.p, 0.002833, places=6)
        self.assertAlmostEqual(found.low, 0.7001, places=4)
        self.assertAlmostEqual(found.high, 2.4599, places=4)

    def test_no_spread(self):
        self.assertEqual(verdict.test([0.1, 0.1, 0.1]).p, 0)
        self.assertEqual(verdict.test([0.0, 0.0, 0.0]).p, 1)

    def test_holm(self):
        # thresholds 0.0125, 0.0167, 0.025, 0.05: the third stops, and all after it
        self.assertEqual(verdict.holm([0.01, 0.04, 0.03, 0.005]), [True, False, False, True])
        self.assertEqual(verdict.holm([0.02, 0.02, 0.02]), [False] * 3)
        self.assertEqual(verdict.holm([0.04]), [True])
        self.assertEqual(verdict.holm([]), [])

    def test_false_positives(self):
        """By signs and spread: 10.7 % of three, 2.8 % of five; with the interval 2.5 % at most."""
        for n, known in ((3, 0.107), (5, 0.028), (7, 0.007)):
            old, new = verdict.false_positives(n, trials=20_000)
            self.assertAlmostEqual(old, known, delta=0.006)
            self.assertLess(new, 0.03)

    def test_a_null_lead_is_open_and_a_real_one_is_reproduced(self):
        """The lead with the embedding norm in both, and the one at R."""
        null = [0.0056, -0.0035, 0.0528, 0.0288, -0.0423]
        self.assertEqual(verdict.verdict(null), OPEN)
        self.assertEqual(verdict.verdict([0.0863, 0.0927, 0.0949]), SHOWN)

    def test_the_interval_is_needed(self):
        weak = [0.0213, 0.06, 0.05]  # on one side and beyond the spread
        self.assertEqual(verdict.verdict(weak), OPEN)
        verdict.by_interval = False
        try:
            self.assertEqual(verdict.verdict(weak), SHOWN)
        finally:
            verdict.by_interval = True

    def test_a_claim_is_what_all_its_rows_say(self):
        row = lambda differences: verdict.Claim("id", "", "", verdict.verdict(differences))
        sure, less, none = [0.1, 0.11, 0.12], [0.1, 0.15, 0.2], [0.1, -0.1, 0.0]
        self.assertEqual(verdict.of_claim([row(sure), row(less)]), SHOWN)
        self.assertEqual(verdict.of_claim([row(sure), row(none)]), verdict.SPLIT)
        self.assertEqual(verdict.p_of_claim([row(sure), row(less)]), verdict.test(less).p)
        self.assertIsNone(verdict.p_of_claim([verdict.Claim("id", "", "", SHOWN)]))

    def test_tests_of_parts_are_kept(self):
        parts = [verdict.verdict([0.1, 0.11, 0.12]), verdict.verdict([0.1, 0.15, 0.2])]
        self.assertEqual(len(verdict.joint(parts).tests), 2)
        self.assertEqual(verdict.joint(parts), SHOWN)
        self.assertEqual(verdict.joint(parts + [OPEN]), OPEN)
        self.assertEqual(len(verdict.judge(False, True, parts).tests), 2)


class OfARun(unittest.TestCase):
    def test_rises(self):
        calm = [5 - 0.01 * i for i in range(100)]
        self.assertEqual(measures.rises(made_up(calm)), [])
        jump = calm[:50] + [value + 1 for value in calm[50:]]
        # A mean of five is up by 0.2 k when k of them are; it fell by 0.01 a step before.
        self.assertEqual(measures.rises(made_up(jump))[0], 53)
        self.assertEqual(measures.rises(made_up(jump), until=52), [])

    def test_a_rise_is_above_the_lowest_not_above_the_last(self):
        drift = [2.0] * 10 + [2.0 + 0.01 * i for i in range(60)]
        self.assertTrue(measures.rises(made_up(drift)))

    def test_a_rise_to_nan(self):
        self.assertEqual(measures.rises(made_up([2.0] * 10 + [nan]))[0], 11)

    def test_spikes(self):
        result = made_up(spikes=(25, 100, 200))
        self.assertEqual(measures.spikes(result), 3)
        self.assertEqual(measures.spikes(result, last=100), 2)
        self.assertEqual(measures.spikes(result, first=101), 1)
        self.assertEqual(measures.spikes(made_up()), 0)

    def test_growth(self):
        result = made_up(variances={0: [9.0, 1.0, 2.0], 300: [9.0, 4.0, 20.0]})
        self.assertEqual(measures.end_over_start(result), 10)
        self.assertEqual(measures.last_over_first(result), 5)
        self.assertEqual(measures.last_over_first(result, 0), 2)

    def shaped(self, variances):
        """Of sub-layers 1, 2, ...; the state before them is left out."""
        return made_up(variances={300: [1e6, *variances]})

    def test_power_law(self):
        for planted in (0.8, 1.0, 1.63):
            found = measures.shapes(self.shaped([3 * s ** planted for s in range(1, 25)]))
            self.assertAlmostEqual(found["exponent"], planted)
            self.assertAlmostEqual(found["power, logs"], 1)
            self.assertGreater(found["power, units"], 0.9999)
            self.assertLess(found["exponential, units"], 0.99)

    def test_exponential(self):
        found = measures.shapes(self.shaped([3 * 1.3 ** s for s in range(1, 25)]))
        self.assertAlmostEqual(found["exponential, logs"], 1)
        self.assertGreater(found["exponential, units"], 0.9999)
        self.assertLess(found["power, units"], 0.998)

    def test_line(self):
        self.assertAlmostEqual(measures.shapes(self.shaped([2 + 3 * s for s in range(9)]))["line"],
                               1)

    def test_better_fit(self):
        fit = lambda variances: measures.better_fit(self.shaped(variances))
        self.assertEqual(fit([0.5 + s for s in range(12)]), "sub-exponential")
        self.assertEqual(fit([s ** 1.6 for s in range(1, 13)]), "sub-exponential")
        self.assertEqual(fit([1.5 ** s for s in range(12)]), "exponential")
        # A steep start, then an exponential: logarithms see the first, linear units the second.
        self.assertIsNone(fit([0.001, 1] + [1.3 ** s for s in range(12)]))
        self.assertIsNone(fit([1.0, 2.0, inf]))
        self.assertIsNone(fit([1.0, 2.0, nan]))
        self.assertIsNone(fit([1.0, 2.0, -1.0]))

    def test_rank_correlation(self):
        self.assertAlmostEqual(measures.rank_correlation([1, 2, 3, 4], [1, 10, 11, 1000]), 1)
        self.assertAlmostEqual(measures.rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]), -1)
        # ranks 1, 2, 3 and 1.5, 1.5, 3: sqrt(3) / 2
        self.assertAlmostEqual(measures.rank_correlation([1, 2, 3], [5, 5, 6]), math.sqrt(3) / 2)
        self.assertTrue(math.isnan(measures.rank_correlation([1, 2, 3], [5, 5, 5])))
        self.assertTrue(math.isnan(measures.rank_correlation([1, 2, 3], [5, nan, 5])))

    def test_limit_of_a_ramp(self):
        falling = [4 - 0.005 * i for i in range(300)]
        self.assertAlmostEqual(ramp.limit(made_up(falling + [2.5] * 200)), 5e-2)  # never leaves
        left = ramp.limit(made_up(falling + [3.5] * 200))
        self.assertAlmostEqual(left, 5e-2 * 303 / 500, delta=5e-2 * 3 / 500)
        self.assertEqual(ramp.limit(made_up([3.25] * 500)), 0)  # never learns
        back = falling[:200] + [3.8] * 50 + [3.0] * 50 + [2.9] * 200  # a rise that heals
        self.assertAlmostEqual(ramp.limit(made_up(back)), 5e-2)
        self.assertAlmostEqual(ramp.limit(made_up(falling + [nan])), 5e-2 * 300 / 500)

    def test_limit_of_a_ramp_by_factors(self):
        with unittest.mock.patch.multiple(log_ramp, STEPS=500, WINDOW=10):
            falling = [4 - 0.005 * i for i in range(300)]
            self.assertAlmostEqual(log_ramp.limit(made_up(falling + [2.5] * 200)), 1)
            left = log_ramp.limit(made_up(falling + [3.5] * 200))
            self.assertAlmostEqual(math.log10(left), -4 + 4 * 303 / 500, delta=4 * 3 / 500)
            self.assertEqual(log_ramp.limit(made_up([3.25] * 500)), 1e-4)  # never learns
            sparse = made_up(falling + [3.5] * 200)
            sparse.metrics = sparse.metrics[::10]  # as a long run's are kept: a mean of ten steps is one value
            self.assertAlmostEqual(math.log10(log_ramp.limit(sparse)), -4 + 4 * 291 / 500)

    def test_a_rise_is_one_however_long_it_lasts(self):
        result = made_up([2.0] * 40 + [2.9] * 20 + [2.0] * 40 + [2.9] * 6 + [2.0] * 40)
        self.assertGreater(len(measures.rises(result)), 20)
        self.assertEqual(measures.stretches(result), 2)
        self.assertEqual(measures.stretches(result, 60), 1)
        self.assertEqual(measures.stretches(made_up([2.0] * 50)), 0)

    def test_one_of_many_contradicts_where_chance_does_not(self):
        """By k of n at k/n of the level; what is told of it is the p of the whole."""
        def of(*ps):
            return [verdict.ruled(CONTRADICTED if p < 0.05 else SHOWN, [verdict.Test(3, -1.0, -2.0, -0.1, p)]) for p in ps]
        found = verdict.of_all(of(0.2, 0.3, 0.009, 0.5, 0.6))
        self.assertEqual(found, CONTRADICTED)
        self.assertEqual([test.p for test in found.tests], [0.045])
        self.assertEqual(verdict.of_all(of(0.2, 0.3, 0.011, 0.5, 0.6)), OPEN)
        self.assertEqual(verdict.of_all(of(0.2, 0.3, 0.019, 0.018, 0.6), 2), CONTRADICTED)
        self.assertEqual(verdict.of_all(of(0.2, 0.3, 0.021, 0.018, 0.6), 2), OPEN)
        self.assertEqual(verdict.of_all(of(0.2, 0.3)), SHOWN)

    def test_what_adapts_asks_anew_after_a_few(self):
        class Adapts:
            ADAPTS = True
        small, large = lab.runs("S64", ("pre",), ("1e-3",), range(8)), lab.runs("C96", ("pre",), ("1e-3",), range(8))
        with unittest.mock.patch.object(report, "JOBS", 3):
            self.assertEqual(report.at_once(Adapts, [small[0], *large, *small[1:]]), list(small[:3]))  # none waits for hours
            self.assertEqual(report.at_once(Adapts, list(large)), list(large[:3]))

    def test_left_out(self):
        self.assertEqual(seeds.left_out([1.0, 1.0, 3.0]),
                         [math.sqrt(2), math.sqrt(2), 0.0])


class Folder(unittest.TestCase):
    """With a results folder of its own."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.saved = lab.RESULTS, lab.WORK, draw.FIGURES
        lab.RESULTS, lab.WORK = (Path(self.folder.name) / name for name in ("results", "work"))
        draw.FIGURES = Path(self.folder.name) / "figures"
        lab._results = None
        lab.WORK.mkdir()
        (lab.WORK / "gcide.txt").write_text("text")

    def tearDown(self):
        lab.RESULTS, lab.WORK, draw.FIGURES = self.saved
        lab._results = None
        self.folder.cleanup()

    def wrote(self, probe, metrics="1,64,5.5,1.25,0,1,1\n2,128,nan,inf,0,1,1\n", val=""):
        """What ./train leaves, in a directory."""
        out = Path(self.folder.name) / "out"
        out.mkdir(exist_ok=True)
        header = "step,tokens,loss,grad_norm,lr,ms,tokens_per_s\n"
        (out / "metrics.csv").write_text(header + metrics)
        (out / "probe.csv").write_text("step,layer,quantity,value\n" + probe)
        (out / "validation.csv").write_text("step,loss\n" + val)
        (out / "log").write_text("\nfinal train loss 1.5\nfinal val loss 1.6\n")
        return out

    def record(self, run, probe, code=0, **more):
        lab.record("try", run, self.wrote(probe, **more), code, 1.0)
        lab._results = None
        return lab.result(run)

    def sweep(self, norm, losses, scale="S64"):
        for rate, loss in losses.items():
            for run in runs(scale, (norm,), (rate,), SEEDS):
                lab.results()[run.name] = made_up(loss=loss + 0.001 * run.seed)


class Records(Folder):
    run_ = Run("S64", "peri", "2e-3", 11, (("warmup", 0.3),))

    def test_what_is_written_is_read(self):
        probe = ("0,1,hidden_variance,1.5\n0,0,hidden_variance,0.5\n"  # in any order
                 "0,,growth_linear_error,0.1\n2,2,largest_001,7\n2,,spike,3.5\n"
                 "2,0,hidden_variance,0.25\n2,1,hidden_variance,nan\n")
        result = self.record(self.run_, probe, val="2,1.6\n")
        self.assertEqual(result.loss, 1.6)
        self.assertEqual(result.validation, [(2, 1.6)])
        self.assertEqual(result.profile("hidden_variance", 0), {0: 0.5, 1: 1.5})
        self.assertEqual(result.value("hidden_variance", -1, 0), 0.25)
        self.assertTrue(math.isnan(result.value("hidden_variance", -1, 1)))
        self.assertEqual(result.value("growth_linear_error", 0), 0.1)
        self.assertEqual(result.profile("largest_001"), {2: 7})
        self.assertEqual(result.over_time("spike"), [(2, 3.5)])
        self.assertEqual(result.series("loss")[0], (1, 5.5))
        self.assertTrue(math.isnan(result.series("loss")[1][1]))
        self.assertEqual(result.series("grad_norm"), [(1, 1.25), (2, inf)])

    def test_numbers_of_a_second_run_stay_apart(self):
        other = Run("S64", "peri", "2e-3", 12)
        self.record(self.run_, "0,0,hidden_variance,1\n")
        self.record(other, "0,0,hidden_variance,2\n", code=3)
        self.assertEqual(lab.result(self.run_).value("hidden_variance", 0, 0), 1)
        self.assertEqual(lab.result(other).value("hidden_variance", 0, 0), 2)
        self.assertFalse(lab.result(self.run_).diverged)
        self.assertTrue(lab.result(other).diverged)

    def test_a_run_that_is_to_be_probed_more_often_is_made_again(self):
        """A claim that follows a run over its steps must not take its end for the whole."""
        often = Run("S64", "peri", "2e-3", 11, (("warmup", 0.3),), probe=50)
        at = lambda *steps: "".join(f"{step},1,{quantity},1\n" for step in steps
                                    for quantity in ("hidden_variance", "hidden_mean_abs"))
        self.record(self.run_, at(0, 300))
        self.assertIsNone(lab.result(often))
        self.record(often, at(0, 50, 100, 150, 200, 250, 300))
        self.assertEqual(len(lab.result(often).steps), 7)
        self.assertEqual(len(lab.result(self.run_).steps), 7)
        self.record(self.run_, at(0, 300))  # one that knows less does not hide it
        self.assertEqual(len(lab.result(often).steps), 7)
        self.record(often, at(0, 21), code=3)  # diverged before it was probed again
        self.assertEqual(len(lab.result(often).steps), 7)

    def test_a_run_that_is_watched_is_probed_often_but_not_all_is_kept(self):
        pre, often = (Run("S64", "pre", "2e-3", 11, watch=50),
                      Run("S64", "pre", "2e-3", 11, probe=50))
        self.assertIn("--probe-every 50", pre.told())
        rows = "".join(f"{step},1,{quantity},1\n" for step in (0, 50, 100)
                       for quantity in ("hidden_variance", "hidden_mean_abs"))
        self.record(pre, rows)
        self.assertIsNone(lab.result(often))
        self.assertEqual(len(self.record(often, rows).steps), 3)
        self.assertIsNotNone(lab.result(often))

    def test_a_run_that_was_cut_off_does_not_count(self):
        self.record(self.run_, "0,0,hidden_variance,1\n")
        runs_csv = lab.RESULTS / "try" / "runs.csv"
        runs_csv.write_text(runs_csv.read_text().splitlines()[0] + "\n")
        lab._results = None
        self.assertEqual(lab.results(), {})
        self.assertEqual(self.record(self.run_, "0,0,hidden_variance,2\n")
                         .value("hidden_variance", 0, 0), 2)

    def test_what_is_kept(self):
        def kept(run, step, layer, quantity):
            row = {"step": step, "layer": layer, "quantity": quantity}
            return lab.kept(run, row, last=300)
        brief, pre = Run("S64", "peri", "2e-3", 11), Run("S64", "pre", "2e-3", 11, watch=50)
        full = Run("S64", "peri", "2e-3", 11, probe=50)
        self.assertTrue(kept(brief, "300", "3", "hidden_variance"))
        self.assertTrue(kept(brief, "300", "3", "hidden_gradient_norm"))
        self.assertFalse(kept(brief, "300", "3", "hidden_gradient_variance"))
        self.assertTrue(kept(pre, "100", "3", "hidden_variance"))
        self.assertFalse(kept(pre, "100", "3", "hidden_gradient_norm"))
        self.assertTrue(kept(full, "0", "3", "hidden_gradient_variance"))
        self.assertFalse(kept(full, "50", "3", "hidden_gradient_variance"))
        self.assertTrue(kept(brief, "17", "", "spike"))
        self.assertFalse(kept(full, "0", "3", "largest_050"))

    def test_names_tell_runs_apart(self):
        same = Run("S64", "peri", "2e-3", 11, (("warmup", 0.3),), probe=50)
        self.assertEqual(self.run_.name, same.name)
        names = {run.name for run in runs("S64", lab.placements(), RATES, SEEDS)}
        self.assertEqual(len(names), len(lab.placements()) * len(RATES) * len(SEEDS))

    def test_the_command_has_the_flags(self):
        command = " ".join(self.run_.command("OUT"))
        for words in ("--width 64", "--norm peri", "--lr 2e-3", "--seed 11", "--warmup 0.3"):
            self.assertIn(words, command)
        deep = runs("S64", ("pre",), ("2e-3",), (11,), layers=48, qk_norm="full", layernorm=True)[0]
        command = " ".join(deep.command("OUT"))
        self.assertIn("--layers 48", command)
        self.assertNotIn("--layers 12", command)
        self.assertIn("--qk-norm full", command)
        self.assertIn("--layernorm --", command)


class Needs(unittest.TestCase):
    """Recipes say how often they need runs looked at that others name."""

    def test_of_every_recipe(self):
        look = lambda norm, probe=0: report.looked_at(Run("S64", norm, "2e-3", 11, probe=probe))
        self.assertEqual((look("pre").watch, look("pre").validate), (50, 50))
        self.assertEqual((look("peri").watch, look("peri").validate), (0, 50))
        self.assertEqual((look("post", 50).validate, look("post", 50).probe), (0, 50))
        self.assertEqual(look("pre"), Run("S64", "pre", "2e-3", 11))  # still one run

    def test_commands_are_those_of_the_results(self):
        """But for runs of old that were validated more often."""
        wanted = {}
        with tempfile.TemporaryDirectory() as work, unittest.mock.patch.object(
                lab, "WORK", Path(work)):
            (lab.WORK / "gcide.txt").touch()
            for run in map(report.looked_at, (r for each in report.RECIPES for r in each.wanted())):
                wanted.setdefault(run.name, set()).add(run.told())
        for name, result in lab.results().items():
            made = result.row["command"]
            if name.split()[1] not in ("pre", "peri"):
                made = made.replace("--val-every 50 ", "--val-every 300 ")
            self.assertIn(made, wanted[name], name)


class Placements(unittest.TestCase):
    def setUp(self):
        self.addCleanup(lab.placements.cache_clear)
        lab.placements.cache_clear()

    def test_they_are_the_programs(self):
        self.assertEqual(len(lab.placements()), 10)
        self.assertLessEqual({*lab.THREE, *seeds.CLAIMED}, set(lab.placements()))
        self.assertEqual(set(lab.placements()), set(draw.COLOURS))

    def test_without_the_program(self):
        with unittest.mock.patch.object(lab, "TRAIN", "/nowhere/train"):
            with self.assertRaisesRegex(SystemExit, "^/nowhere/train is not built.*: run make$"):
                lab.placements()


class BestRates(Folder):
    def test_within_the_grid(self):
        self.sweep("pre", {rate: abs(i - 2) + 1 for i, rate in enumerate(RATES)})
        self.assertEqual(learning_rate.best_rate("pre"), RATES[2])
        self.assertEqual(learning_rate.shared_rate(), RATES[2])
        self.assertEqual(learning_rate.workable("pre"), RATES[4])  # losses 3, 2, 1, 2, 3, 4, 5

    def test_a_rate_at_which_one_seed_fails_does_not_work(self):
        self.sweep("pre", {rate: abs(i - 2) + 1 for i, rate in enumerate(RATES)})
        lab.results()[runs("S64", ("pre",), (RATES[4],), (12,))[0].name].row["exit"] = "3"
        self.assertEqual(learning_rate.workable("pre"), RATES[3])
        self.assertEqual(learning_rate.workable("pre", (11,)), RATES[4])

    def test_none_until_all_are_there(self):
        self.sweep("pre", dict.fromkeys(RATES[:-1], 1.7))
        self.assertIsNone(learning_rate.best_rate("pre"))

    def test_the_grid_is_extended_at_its_end(self):
        losses = {rate: 1.7 + 0.1 * i for i, rate in enumerate(RATES)}
        self.sweep("pre", losses)
        self.assertEqual(learning_rate.grid("pre"), ["5e-4", *RATES])
        self.assertIsNone(learning_rate.best_rate("pre"))
        self.sweep("pre", {"5e-4": 1.9})
        self.assertEqual(learning_rate.grid("pre"), ["5e-4", *RATES])
        self.assertEqual(learning_rate.best_rate("pre"), "1e-3")

    def test_rates_beyond_the_grid(self):
        """Beyond the grid a run counts for the highest rate that works, never for the best rate."""
        self.sweep("simple", {rate: abs(i - 2) / 4 + 1 for i, rate in enumerate(RATES)})
        self.assertEqual(learning_rate.workable("simple", (), simple_norm.BEYOND), None)
        self.sweep("simple", {simple_norm.BEYOND[0]: 0.5, simple_norm.BEYOND[1]: 3.5})
        self.assertEqual(learning_rate.workable("simple"), RATES[-1])
        self.assertEqual(simple_norm.by_seed("simple"), [float(simple_norm.BEYOND[0])] * 3)
        self.assertEqual(learning_rate.best_rate("simple"), RATES[2])

    def test_names_of_rates(self):
        for a, b in zip(RATES, RATES[1:]):
            self.assertEqual(learning_rate.times(a, 2), b)
            self.assertEqual(learning_rate.times(b, 1 / 2), a)


class Overviews(Folder):
    """The tables that stand above the claims."""

    def test_table_1(self):
        for norm in ("pre", "peri"):
            self.sweep(norm, {rate: abs(i - 2) + 1 for i, rate in enumerate(RATES)})
            for run, value in zip(seeds.at_best(norm), (1.0, 2.0, 3.0, 2.0, 2.0, 2.0, 2.0)):
                lab.results()[run.name] = made_up(loss=value + (norm == "pre") / 2)
        table = seeds.overview()
        self.assertEqual(len(table), 5)  # the title, two lines of head, two placements
        self.assertEqual(table[3], "| peri | 4e-3 | 7 | 2.0000 | 0.5774 | 0 | 2.0000 (n = 7) |")
        # 3.5 is a failure and counts as 3.2: (1.5 + 5 * 2.5 + 3.2) / 7, and (1.5 + 5 * 2.5) / 6
        self.assertEqual(table[4], "| pre | 4e-3 | 7 | 2.4571 | 0.4962 | 1 | 2.3333 (n = 6) |")

    def test_keels_table_1(self):
        falling = [4 - 0.005 * i for i in range(250)]
        for norm, layers, losses in (("peri", 12, falling + [3.5] * 250),
                                     ("keel", 12, falling + [2.8] * 250),
                                     ("keel", 48, [3.3] * 500)):
            for run in ramp.ramp(norm, layers):
                lab.results()[run.name] = made_up(losses)
        table = ramp.overview()
        self.assertEqual(len(table), 5)
        self.assertTrue(table[3].startswith("| keel | 0.05 "), table[3])  # longest first
        self.assertIn("| 0 (0 to 0, n = 3) |", table[3])
        self.assertTrue(table[4].startswith("| peri | 0.026 "), table[4])
        self.assertTrue(table[4].endswith("| not run |"), table[4])


class LookedAt(unittest.TestCase):
    def setUp(self):
        lab._results = None

    def test_figures_were_looked_at(self):
        """Those whose runs are all there; what is said of them has no number that a run could change."""
        words, here = pages.looked_at(), lab.HERE / "figures"
        for name, text in words.items():
            self.assertTrue((here / f"{name}.svg").exists(), name)
            self.assertNotRegex(text, r"\d\.\d", name)
        for recipe in report.RECIPES:
            if not report.missing(recipe):
                for figure in here.glob(f"{recipe.__name__}*.svg"):
                    if draw.recipe(figure.stem).endswith(f" {recipe.__name__}"):
                        self.assertIn(figure.stem, words)


class Recipes(Folder):
    """Without any run: nothing is claimed, drawn or invented."""

    def test_nothing_is_claimed_without_runs(self):
        for recipe in report.RECIPES:
            with self.subTest(recipe.__name__):
                self.assertEqual(recipe.claims(), [])
                self.assertFalse([path for path, _ in recipe.figures() if path])
                self.assertIsInstance(recipe.wanted(), list)

    def test_minutes_and_recipes_together(self):
        """As `make experiments MINUTES=20 RECIPES=depth` calls it."""
        command = [sys.executable, report.__file__, "run", "--minutes", "0", "nowhere"]
        given = subprocess.run(command, capture_output=True, text=True)
        self.assertIn("there is no recipe nowhere", given.stderr)

    def test_sections_are_those_of_claims_md(self):
        titles = {title for title, _ in pages.claims_by_section()}
        for recipe in report.RECIPES:
            self.assertIn(recipe.SECTION, titles)


if __name__ == "__main__":
    unittest.main()
