"""Verdicts of the recipes on growth, rates, seeds, depth and rising rates, on made-up results that
say what a claim says, or the opposite."""
import unittest
import unittest.mock
from math import log2

from test_experiments import Folder, made_up
import causes
import causes_ten
import depth
import early
import embedding_norm
import gap
import growth
import lab
import learning_rate
import ramp
import report
import seeds
import simple_norm
import twenty
from lab import LATER, RATES, SEEDS, runs
from verdict import CONTRADICTED, OPEN, SHOWN, share_interval

STEPS = range(0, 301, 50)


class Claims(Folder):
    def put(self, made, loss=1.7, **more):
        """Results of runs; a loss may be a function of the run, and gets a little of the seed."""
        for run in made:
            at = loss(run) if callable(loss) else loss
            given = {key: value(run) if callable(value) else value for key, value in more.items()}
            probe = given.pop("probe", {})
            result = lab.results()[run.name] = made_up(loss=at + 0.0001 * run.seed, **given)
            result.probe.update(probe)

    def rates(self, best="4e-3", norms=("pre", "peri", "post", "keel", "simple"), above=0.0):
        """The sweep, with its lowest loss at a rate: 4e-3 is R."""
        self.put(runs("S64", norms, RATES, SEEDS),
                 lambda run: 1.8 + above + (run.lr != best) * 0.1)

    def verdicts(self, recipe, name):
        return [claim.verdict for claim in recipe.claims() if claim.id == name]

    def expect(self, recipe, name, *verdicts):
        self.assertEqual(self.verdicts(recipe, name), list(verdicts))


class Growth(Claims):
    def profiles(self, norm, variances, steps=STEPS, rates=growth.RATES, errors=(0.0, 0.3),
                 scale="S128", **probe):
        """variances(step): of layers 0 .. 24."""
        for quantity, error in zip(("linear", "exponential"), errors):
            probe[f"growth_{quantity}_error"] = {step: {None: error} for step in steps}
        self.put(runs(scale, (norm,), rates, SEEDS), probe=probe,
                 variances={step: variances(step) for step in steps})

    line = staticmethod(lambda level: [level * (1 + s) for s in range(25)])
    curve = staticmethod(lambda level: [level * 1.4 ** s for s in range(25)])

    def test_as_the_paper_has_it(self):
        self.profiles("pre", lambda step: self.curve(0.01 * 1.03 ** step) if step else
                      self.line(0.01), errors=(0.5, 0.0))
        self.profiles("peri", lambda step: self.line(1 + step / 300))
        self.profiles("post", lambda step: [0.001] + [1 + step / 1000] * 24)
        self.expect(growth, "growth-pre-training", SHOWN, SHOWN)
        self.expect(growth, "growth-pre-exponential", SHOWN, SHOWN)
        self.expect(growth, "growth-peri-linear", SHOWN, SHOWN)
        self.expect(growth, "growth-post-constant", SHOWN)

    def test_the_opposite(self):
        self.profiles("peri", lambda step: self.curve(0.01 * 1.03 ** step), errors=(0.5, 0.0))
        self.profiles("pre", lambda step: self.line(1 + step / 300))
        self.profiles("post", lambda step: self.line(1) if step == 300 else [1] * 25)
        self.expect(growth, "growth-pre-training", CONTRADICTED, CONTRADICTED)
        self.expect(growth, "growth-pre-exponential", CONTRADICTED, CONTRADICTED)
        self.expect(growth, "growth-peri-linear", CONTRADICTED, CONTRADICTED)
        self.expect(growth, "growth-post-constant", CONTRADICTED)

    def test_at_the_start(self):
        self.profiles("pre", lambda step: self.line(0.01))
        self.profiles("peri", lambda step: self.line(1))
        self.expect(growth, "growth-init-alike", SHOWN)
        self.profiles("pre", lambda step: self.curve(0.01), errors=(0.5, 0.0))
        self.expect(growth, "growth-init-alike", CONTRADICTED)

    def test_exponential_at_one_rate_alone_is_open(self):
        self.profiles("pre", lambda step: self.curve(1), rates=("8e-3",), errors=(0.5, 0.0))
        self.profiles("pre", lambda step: self.line(1), rates=("2e-3",))
        self.expect(growth, "growth-pre-exponential", OPEN, OPEN)

    def test_a_jump_at_the_bottom_decides_the_first_row_alone(self):
        self.profiles("pre", lambda step: [0.01, 0.05] + self.curve(50)[2:])
        self.expect(growth, "growth-pre-exponential", OPEN, SHOWN)

    def test_larger_than_peri_but_not_extremely(self):
        self.profiles("pre", lambda step: self.line(1 + step / 30))
        self.profiles("peri", lambda step: self.line(1 + step / 300))
        self.expect(growth, "growth-pre-training", OPEN, OPEN)

    def surge(self, by_100):
        """Growth of the logarithm by 6, a part of it by step 100."""
        level = lambda step: by_100 * step / 100 if step <= 100 else (
            by_100 + (6 - by_100) * (step - 100) / 200)
        self.profiles("pre", lambda step: self.line(2.718281828 ** level(step)))
        return self.verdicts(growth, "growth-early-surge")

    def test_surge_beside_the_control(self):
        level = lambda by_100: lambda step: self.line(2.718 ** (
            by_100 * step / 100 if step <= 100 else by_100 + (6 - by_100) * (step - 100) / 200))
        for peri, found in ((3, SHOWN), (5, CONTRADICTED)):
            self.profiles("pre", level(4))
            self.profiles("peri", level(peri))
            self.expect(growth, "growth-early-surge", SHOWN, found)

    def steps(self, end):
        """Variance 100 at step 100, then to `end`."""
        at = lambda step: 1 + step if step <= 100 else 100 + (end - 100) * (step - 100) / 200
        self.profiles("pre", lambda step: self.line(at(step)),
                      rates=("1e-3", "2e-3", "4e-3", "8e-3"))
        return self.verdicts(growth, "growth-over-steps")

    def test_over_steps(self):
        self.assertEqual(self.steps(1000), [SHOWN])
        self.assertEqual(self.steps(40), [CONTRADICTED])

    def test_growth_from_a_low_start_is_not_a_high_end(self):
        self.profiles("pre", lambda step: self.line(20 if step else 0.02))
        self.profiles("peri", lambda step: self.line(80 if step else 20))
        self.expect(growth, "growth-pre-training", OPEN, OPEN)

    def test_surge(self):
        self.assertEqual(self.surge(4), [SHOWN])
        self.assertEqual(self.surge(1.5), [CONTRADICTED])
        self.assertEqual(self.surge(2.5), [OPEN])

    def eq4(self, last_output, covariance):
        at = lambda value: {step: {s: value(s) for s in range(1, 25)} for step in STEPS}
        self.profiles("peri", lambda step: self.line(1),
                      output_variance=at(lambda s: last_output if s == 24 else 1.0),
                      residual_covariance=at(lambda s: covariance))
        return self.verdicts(growth, "growth-eq4-terms")

    def test_eq4(self):
        self.assertEqual(self.eq4(5.0, 0.05), [SHOWN, SHOWN] * 2)
        self.assertEqual(self.eq4(40.0, 0.6), [CONTRADICTED, CONTRADICTED] * 2)
        self.assertEqual(self.eq4(20.0, 0.3), [OPEN, OPEN] * 2)

    def test_covariance_share(self):
        r = made_up(variances={300: [2.0, 5.0, 10.0]})
        r.probe["residual_covariance"] = {300: {1: 1.0, 2: 3.0}}
        self.assertEqual(growth.covariance_share(r), 0.5)  # 4 of 8

    def test_every_size(self):
        for scale, rates in (("S128", growth.RATES), ("S64", RATES)):
            self.profiles("pre", lambda step: self.line(2.0 ** (step / 20)), rates=rates,
                          scale=scale)
            self.profiles("peri", lambda step: self.line(1), rates=rates, scale=scale)
            self.profiles("post", lambda step: [1.0] * 25, rates=rates, scale=scale)
        for run in runs("S64", ("pre",), ("4e-3",), SEEDS):
            lab.results()[run.name].row["val_loss"] = "1.6"  # R
        self.expect(growth, "growth-every-size", SHOWN)
        self.profiles("peri", lambda step: self.curve(1), rates=("4e-3",), scale="S64",
                      errors=(0.5, 0.0))
        self.expect(growth, "growth-every-size", CONTRADICTED)


class LearningRate(Claims):
    def test_peri_below_pre(self):
        self.rates(norms=("pre",), above=0.1)
        self.rates(norms=("peri",))
        self.expect(learning_rate, "rate-peri-below-pre", SHOWN)
        self.rates(norms=("peri",), above=0.2)
        self.expect(learning_rate, "rate-peri-below-pre", CONTRADICTED)

    def test_a_rate_at_which_all_fail_says_nothing(self):
        for norm, loss in (("pre", 1.9), ("peri", 1.8)):
            self.put(runs("S64", (norm,), RATES, SEEDS),
                     lambda run: 3.2 if run.lr in RATES[-2:] else loss + (run.lr != "4e-3") * 0.1)
        self.expect(learning_rate, "rate-peri-below-pre", SHOWN)

    def post(self, best, fails_from):
        self.rates(norms=("pre", "peri"))
        self.put(runs("S64", ("post",), RATES, SEEDS),
                 lambda run: 3.2 if float(run.lr) >= fails_from else 1.8 + (run.lr != best) * 0.1)
        return self.verdicts(learning_rate, "rate-post-lower")

    def test_post_lower(self):
        self.assertEqual(self.post("2e-3", 8e-3), [SHOWN])
        self.assertEqual(self.post("4e-3", 8e-3), [CONTRADICTED])
        self.assertEqual(self.post("2e-3", 1), [OPEN])  # lower, but not much

    def sizes(self, rate):
        self.rates()
        self.put(runs("S128", ("pre",), learning_rate.GRIDS["S128"] + ("1.6e-2", "3.2e-2"), SEEDS),
                 lambda run: 1.7 + 0.1 * abs(log2(float(run.lr) / float(rate))))
        return self.verdicts(learning_rate, "rate-best-alike-over-sizes")

    def test_best_alike_over_sizes(self):
        self.assertEqual(self.sizes("2e-3"), [SHOWN])
        self.assertEqual(self.sizes("1.6e-2"), [CONTRADICTED])


class SameEmbedding(Claims):
    def lead(self, by_seed):
        self.rates()
        self.put(runs("S64", ("peri",), ("4e-3",), learning_rate.FIVE), 1.8)
        self.put(runs("S64", ("pre",), ("4e-3",), learning_rate.FIVE, embedding_norm="on"),
                 lambda run: 1.8 + by_seed[run.seed - 11])
        return self.verdicts(learning_rate, "lead-same-embedding")

    def test_lead(self):
        self.assertEqual(self.lead((.0056, -.0035, .0528, .0288, -.0423)), [OPEN])
        self.assertEqual(self.lead((.05, .06, .05, .07, .06)), [SHOWN])
        self.assertIn("lead is +0.058", learning_rate.caution())


class Seeds(Claims):
    def losses(self, **by_norm):
        self.rates()
        for norm, loss in by_norm.items():
            self.put(seeds.at_shared_rate(norm), loss)

    def test_order(self):
        self.losses(peri=1.6, pre=1.7, post=1.8)
        self.expect(seeds, "best-rate-order", SHOWN, SHOWN)  # R is both best rates: once
        self.losses(peri=1.8, pre=1.7, post=1.6)
        self.expect(seeds, "best-rate-order", *[CONTRADICTED] * 2)

    def spread(self, pre, peri):
        swing = lambda size: lambda run: 1.7 + size * (-1) ** run.seed * (1 + run.seed / 50)
        self.losses(pre=swing(pre), peri=swing(peri))
        return self.verdicts(seeds, "seed-spread-halved")

    def test_spread(self):
        self.assertEqual(self.spread(0.1, 0.02), [SHOWN])
        self.assertEqual(self.spread(0.02, 0.1), [CONTRADICTED])
        self.assertEqual(self.spread(0.1, 0.07), [OPEN])

    def spikes(self, pre, peri):
        self.rates()
        for norm, at in (("pre", pre), ("peri", peri)):
            self.put(seeds.at_shared_rate(norm, seeds=SEEDS + LATER), spikes=at)
        return self.verdicts(seeds, "spikes-pre")

    def test_spikes(self):
        self.assertEqual(self.spikes((50, 60), (50,)), [SHOWN] * 2)
        self.assertEqual(self.spikes((), (25, 50)), [CONTRADICTED] * 2)
        self.assertEqual(self.spikes((25,), ()), [SHOWN, OPEN])  # in warmup alone
        few = lambda run: (50,) if run.seed < 15 else ()
        self.assertEqual(self.spikes(few, ()), [OPEN] * 2)  # four pairs that are not tied


class Early(Claims):
    def events(self, pre, peri):
        """So many runs of ten with a spike at step 100; all have one after the first half."""
        self.rates()
        for norm, count in (("pre", pre), ("peri", peri)):
            self.put(seeds.at_shared_rate(norm, seeds=SEEDS + LATER), losses=[2.0] * 300,
                     spikes=lambda run: (100, 200) if run.seed < 11 + count else (200,))
        return self.verdicts(early, "early-instability")

    def test_instability(self):
        self.assertEqual(self.events(5, 2), [SHOWN])
        self.assertEqual(self.events(2, 5), [CONTRADICTED])
        self.assertEqual(self.events(4, 2), [OPEN])

    def lower(self, at_shared_rate, at_a_quarter, peri=0):
        self.rates()
        self.put(seeds.at_shared_rate("peri"), losses=[2.0] * 300,
                 spikes=lambda run: (100,) if run.seed < 14 + peri else ())
        for factor, count in ((1, at_shared_rate), (1 / 2, 0), (1 / 4, at_a_quarter)):
            self.put(seeds.at_shared_rate("pre", factor), losses=[2.0] * 300,
                     spikes=lambda run: (100,) if run.seed < 14 + count else ())
        return self.verdicts(early, "lower-rate-no-cure")

    def test_lower_rate(self):
        self.assertEqual(self.lower(6, 5), [SHOWN])
        self.assertEqual(self.lower(6, 2), [CONTRADICTED])
        self.assertEqual(self.lower(2, 0), [OPEN])
        self.assertEqual(self.lower(6, 5, peri=4), [OPEN])  # no instability of Pre-LN's own

    def lost(self, **fails_from):
        for norm, rate in fails_from.items():
            self.put(runs("S64", (norm,), RATES, SEEDS),
                     lambda run: 3.2 if float(run.lr) >= rate else 1.8 + (run.lr != "2e-3") * 0.1)
        return self.verdicts(early, "divergence-counts")

    def test_divergence(self):
        self.assertEqual(self.lost(pre=8e-3, post=1.6e-2, peri=1.6e-2), [SHOWN])
        self.assertEqual(self.lost(pre=1.6e-2, post=1.6e-2, peri=8e-3), [CONTRADICTED])
        self.assertEqual(self.lost(pre=8e-3, post=4e-3, peri=1.6e-2), [OPEN])

    def drives(self, sign):
        """Runs whose variance grows with the seed, and spikes and loss with it or against it."""
        order = lambda run: sign * (run.seed - 12)
        self.put(runs("S64", ("pre",), RATES, SEEDS), lambda run: 1.7 + 0.1 * order(run),
                 variances=lambda run: {0: [1, 1], 100: [1, run.seed], 300: [1, 5]},
                 spikes=lambda run: range(150, 152 + order(run)))
        return self.verdicts(early, "variance-drives-instability")

    def test_variance_drives(self):
        self.assertEqual(self.drives(1), [SHOWN])
        self.assertEqual(self.drives(-1), [CONTRADICTED])


class Ramp(Claims):
    def leave(self, **at):
        for norm, step in at.items():
            self.put(ramp.ramp(norm), losses=lambda run: [2.0] * (step + run.seed)
                     + [3.0] * (600 - step - run.seed))
        return self.verdicts(ramp, "keel-max-rate")

    def test_order(self):
        paper = dict(keel=400, pre=300, mix=100, deep=60, post=50)
        self.assertEqual(self.leave(**paper), [SHOWN] * 4)
        self.assertEqual(self.leave(**{**paper, "keel": 200}), [CONTRADICTED] + [SHOWN] * 3)

    def gain(self, keel, pre):
        for norm, by in (("keel", keel), ("pre", pre)):
            losses = {"4e-3": 1.7, "1.6e-2": 1.7 - by, "8e-3": 1.75}
            self.put(runs("S64", (norm,), RATES, SEEDS), lambda run: losses.get(run.lr, 1.9))
        self.put(runs("S64", ("pre",), ("4e-3",), SEEDS), 1.0 if pre < 0 else 1.7)
        return self.verdicts(ramp, "keel-higher-rate")

    def test_higher_rate(self):
        self.assertEqual(self.gain(0.05, -0.1), [SHOWN])
        self.assertEqual(self.gain(-0.05, -0.1), [CONTRADICTED])

    def simple(self, simple, usual):
        self.rates()
        for made, fails_from in ((runs("S64", ("simple",), RATES, SEEDS), simple),
                                 (runs("S64", ("pre",), RATES, SEEDS, qk_norm="full"), usual)):
            self.put(made, lambda run: 3.2 if float(run.lr) >= fails_from else
                     1.8 + (run.lr != "4e-3") * 0.1)
        return self.verdicts(simple_norm, "simple-rate")[-1]

    def test_simple_rate(self):
        self.assertEqual(self.simple(6.4e-2, 1.6e-2), SHOWN)
        self.assertEqual(self.simple(1.6e-2, 3.2e-2), CONTRADICTED)
        self.assertEqual(self.simple(1.6e-2, 8e-3), OPEN)
        self.assertEqual(self.simple(1, 1), OPEN)  # neither reaches its limit
        self.put(runs("S64", ("pre",), simple_norm.BEYOND, SEEDS, qk_norm="full"), 3.2)
        self.put(runs("S64", ("simple",), simple_norm.BEYOND, SEEDS), 2)
        self.assertEqual(self.verdicts(simple_norm, "simple-rate")[-1], SHOWN)

    def test_simple_loss(self):
        for usual, found in ((1.8, SHOWN), (1.5, CONTRADICTED)):
            self.rates()
            self.rates(norms=("pre",))
            self.put(runs("S64", ("pre",), RATES, SEEDS, qk_norm="full"),
                     lambda run: 1.8 + (run.lr != "4e-3") * 0.1)
            self.put(seeds.at_best("simple"), 1.6)
            self.put(seeds.at_best("pre", qk_norm="full"), usual)
            self.expect(simple_norm, "simple-loss", found)


class Depth(Claims):
    def leads(self, second, first, at):
        """Losses by depth: `first` 1.6, `second` more by so much."""
        self.rates()
        for layers, lead in zip(depth.DEPTHS, at):
            self.put(depth.runs_of(first, layers), 1.6)
            self.put(depth.runs_of(second, layers), 1.6 + lead)

    def test_lead(self):
        for at, found in (((.1, .2, .3, .4), SHOWN), ((.4, .3, .2, .1), CONTRADICTED)):
            self.leads("pre", "peri", at)
            self.expect(depth, "depth-loss", found)

    def test_keel(self):
        for at, found in (((.1, .2, .3, .4), SHOWN), ((.4, .3, .2, .1), OPEN),
                          ((.2, .1, -.1, -.2), CONTRADICTED), ((-.4, -.3, -.2, -.1), OPEN)):
            self.leads("pre", "keel", at)
            self.expect(depth, "keel-depth", found)

    def gradients(self, ratio):
        """ratio(layers): last over first, of Post-LN's runs."""
        for layers in depth.DEPTHS:
            for run in depth.runs_of("post", layers):
                last = ratio(layers) * (1 + 0.01 * (run.seed - 12))
                lab.results()[run.name].probe["hidden_gradient_norm"] = {
                    step: {0: 50.0, 1: 1.0, 2: last} for step in (0, 150)}

    def test_post(self):
        for at, steep, found in (((.0, .1, .5, .9), 1, SHOWN),
                                 ((.2, .2, .1, .1), -1, CONTRADICTED)):
            self.leads("post", "peri", at)
            self.gradients(lambda layers: (layers / 10) ** steep)
            self.expect(depth, "depth-post-gradient", found, found)

    def test_gradients_of_runs_that_failed_are_told_apart(self):
        """Dead runs vanish, those that learn do not."""
        self.leads("post", "peri", (.1, .1, .1, 1.6))
        self.gradients(lambda layers: 1e9 if layers == 96 else 1.2)
        found = [claim for claim in depth.claims() if claim.id == "depth-post-gradient"]
        self.assertEqual(found[0].verdict, OPEN)
        self.assertIn("96 layers none, runs that failed 12 layers none", found[0].seen)
        self.assertEqual(len(depth.learned(depth.runs_of("post", 48))), len(SEEDS))
        self.assertEqual(depth.learned(depth.runs_of("post", 96)), [])

    def test_first_over_last_leaves_the_embedding_out(self):
        self.rates()
        for layers in depth.DEPTHS:
            self.put(depth.runs_of("post", layers))
        self.gradients(lambda layers: 4.0)
        learned = lab.result(depth.runs_of("post", 12)[1])
        self.assertAlmostEqual(depth.first_over_last(learned), 0.25)

    def test_post_that_failed_already_cannot_fall_further_behind(self):
        self.leads("post", "peri", (1.6,) * 4)
        for layers, loss in zip(depth.DEPTHS, (1.6, 1.7, 1.8, 1.9)):
            self.put(depth.runs_of("peri", layers), loss)  # its lead over 3.2 shrinks
        self.expect(depth, "depth-post-gradient", OPEN, OPEN)

    def test_post_at_its_own_rate(self):
        self.leads("post", "peri", (1.6,) * 4)
        self.rates("2e-3", norms=("post",))
        for layers, loss in zip(depth.DEPTHS, (1.7, 1.8, 2.5, 3.15)):
            self.put(depth.runs_of("post", layers, depth.posts_own), loss)
        self.assertEqual(self.verdicts(depth, "depth-post-gradient")[-1], SHOWN)

    def growth(self, shape, ends):
        """shape(s, layers): Peri-LN's variance after training; ends: Pre-LN's, from 1."""
        self.rates()
        for layers, end in zip(depth.DEPTHS, ends):
            values = [1.0] + [shape(s, layers) for s in range(1, 2 * layers + 1)]
            self.put(depth.runs_of("peri", layers), variances={0: values, 150: values})
            self.put(depth.runs_of("pre", layers), variances={0: [1, 1], 150: [1, end]})
        return self.verdicts(depth, "depth-growth") + self.verdicts(depth, "depth-exponent")

    def test_growth(self):
        steeper = lambda s, layers: s ** (1 + log2(layers / 12) / 5)
        flatter = lambda s, layers: s ** (2 - log2(layers / 12) / 5)
        curve = lambda s, layers: 1.2 ** (s * 24 / layers)
        self.assertEqual(self.growth(steeper, (10, 20, 40, 80)), [SHOWN] * 3)
        self.assertEqual(self.growth(flatter, (10, 20, 40, 80)), [SHOWN, SHOWN, CONTRADICTED])
        self.assertEqual(self.growth(curve, (80, 40, 20, 10))[:2], [CONTRADICTED, CONTRADICTED])

    def test_highway(self):
        for ratio, found in ((5.0, SHOWN), (0.2, CONTRADICTED)):
            self.rates()
            for layers in depth.DEPTHS:
                self.put(depth.runs_of("keel", layers), probe={"hidden_gradient_norm": {
                    150: {0: 50.0, 1: ratio, 2: 1.0}}})
            self.expect(depth, "keel-highway", found)


class EmbeddingNorm(Claims):
    def peri(self, small, wide):
        self.rates()
        for scale, gain, which in (("S64", small, embedding_norm.FIVE), ("S128", wide, SEEDS)):
            self.put(embedding_norm.runs_of("peri", "on", which, scale), 1.6)
            self.put(embedding_norm.runs_of("peri", "off", which, scale), 1.6 + gain)
        return [self.verdicts(embedding_norm, f"embedding-norm-{name}")[0]
                for name in ("peri", "size")]

    def test_peri(self):
        self.assertEqual(self.peri(0.05, 0.02), [SHOWN, SHOWN])
        self.expect(embedding_norm, "embedding-norm-peri", SHOWN, SHOWN)  # slightly, too
        self.peri(0.36, 0.34)
        self.expect(embedding_norm, "embedding-norm-peri", SHOWN, CONTRADICTED)
        self.assertEqual(self.peri(-0.05, -0.02), [CONTRADICTED, CONTRADICTED])
        self.assertEqual(self.peri(-0.05, 0.02), [OPEN, CONTRADICTED])

    def test_pre(self):
        for loss, found in ((1.7, SHOWN), (1.9, CONTRADICTED)):
            self.rates()
            self.put(embedding_norm.runs_of("peri", "on"), 1.6)
            self.put(embedding_norm.runs_of("pre", "off"), 1.8)
            self.put(embedding_norm.runs_of("pre", "on"), loss)
            self.put(embedding_norm.runs_of("peri", "off"), 1.65)
            self.expect(embedding_norm, "embedding-all-placements", found)


class Gap(Claims):
    def along(self, steps, leads, seeds=SEEDS):
        """leads: {step: lead} along the runs."""
        for norm in ("pre", "peri"):
            for run in gap.runs_of(norm, steps, seeds):
                self.put([run], 1.5)
                lab.results()[run.name].validation = [
                    (step, 1.5 + (lead + 1e-4 * (run.seed % 3)) * (norm == "pre"))
                    for step, lead in leads.items()]

    def test_gap(self):
        for leads, found in (((.3, .2, .1), [SHOWN, SHOWN]), ((.1, .2, .3), [CONTRADICTED] * 2),
                             ((.3, .1, .1), [SHOWN, OPEN])):
            self.rates()
            self.along(600, dict(zip((50, 150, 600), leads)))
            self.expect(gap, "gap-shrinks", *found)

    def test_runs_of_different_lengths_decide_nothing(self):
        """Their warmup differs."""
        self.rates()
        for steps, lead in zip(gap.LENGTHS, (.3, .2, .1)):
            self.put(gap.runs_of("peri", steps), 1.5)
            self.put(gap.runs_of("pre", steps), 1.5 + lead)
        self.expect(gap, "gap-shrinks")


class Causes(Claims):
    """Losses planted as sums over an arm's second levels, Peri-LN first: 1 is the second."""
    BEST = "8e-3"  # of every arm, unless planted otherwise

    def plant(self, loss, arms=causes.ARMS, seeds=causes.FIVE, best=BEST):
        for arm in arms:
            levels = [int(arm[0] == "peri"), int(arm[1] == "on"), int(arm[2] == "0.08"),
                      int(arm[3] == 90)]
            for rate in causes.LADDER:
                away = 0.1 * abs(log2(float(rate) / float(best)))
                self.put(causes.runs_of(arm, rate, seeds), loss(*levels) + away)

    def test_effects_and_interactions(self):
        self.plant(lambda p, e, i, w: 1.7 - 0.02 * p - 0.1 * e + 0.05 * i * w + 0.08 * p * e)
        for factors, known in ((("placement",), 0.02), (("norm",), -0.06),
                               (("init",), 0.025),
                               (("placement", "norm"), 0.08),
                               (("init", "warmup"), 0.05),
                               (("placement", "warmup"), 0)):
            found = causes.contrast(causes.effect(*factors))
            self.assertEqual(len(found), 5)
            for value in found:
                self.assertAlmostEqual(value, known)

    def all(self, loss):
        self.plant(loss)
        found = {}
        for claim in causes.claims():
            found.setdefault(claim.id.removeprefix("cause-"), []).append(claim.verdict)
        return found

    def test_claims(self):
        """The embedding norm makes the lead, the rest takes from it."""
        found = self.all(lambda p, e, i, w: 1.8 - 0.01 * p - 0.1 * e * (1 - 0.3 * i - 0.2 * w))
        self.assertEqual(found, {"placement": [SHOWN], "embedding-norm": [SHOWN] * 2,
                                 "initialisation": [SHOWN] * 2, "warmup": [SHOWN] * 2,
                                 "same-work": [SHOWN] * 2})

    def test_the_opposite(self):
        """The placement makes the lead, the rest adds to it."""
        found = self.all(lambda p, e, i, w: 1.8 - p * (0.1 + 0.05 * i + 0.05 * w)
                         - 0.02 * e * (1 + i))
        self.assertEqual(found, {"placement": [SHOWN], "embedding-norm": [CONTRADICTED] * 2,
                                 "initialisation": [CONTRADICTED] * 2,
                                 "warmup": [CONTRADICTED] * 2, "same-work": [CONTRADICTED] * 2})
        self.assertEqual(self.all(lambda p, e, i, w: 1.8 + 0.01 * p)["placement"], [CONTRADICTED])

    def test_a_run_is_not_chosen_by_its_own_loss(self):
        arm = ("pre", "on", "0.08", 90)
        self.plant(lambda *_: 1.7, [arm])
        lucky = causes.runs_of(arm, "4e-3", (11,))
        self.put(lucky, 1.0)  # the mean of all is lowest here too
        self.assertEqual(causes.best(causes.table(arm)), "4e-3")
        self.assertAlmostEqual(causes.losses(arm)[11], 1.7 + 0.0011)
        self.assertAlmostEqual(causes.losses(arm)[12], 1.8 + 0.0012)

    def test_a_grid_that_was_widened_stays_wide(self):
        arm = ("peri", "on", "0.02", 30)
        rates = lambda best, seeds: self.plant(lambda *_: 1.7, [arm], seeds, best)
        self.assertEqual(causes.grid(arm), ("4e-3", "8e-3", "1.6e-2"))
        rates("3.2e-2", (11,))
        self.assertEqual(causes.grid(arm)[-1], "6.4e-2")
        rates("8e-3", (12, 13, 14, 15))
        self.assertEqual(causes.grid(arm), ("4e-3", "8e-3", "1.6e-2", "3.2e-2", "6.4e-2"))

    def test_what_is_missing_is_said(self):
        self.plant(lambda *_: 1.7, seeds=(11, 12))
        gone = causes.runs_of(causes.ARMS[0], "4e-3", (12,))[0]
        del lab.results()[gone.name]  # of an arm that the claim below does not need
        self.assertEqual(self.verdicts(causes, "cause-placement"), [OPEN])  # of two pairs
        self.assertEqual(causes.losses(causes.ARMS[0]), {})
        self.assertIn("of seeds 12, 13, 14, 15.", causes.overview()[-1])

    def test_whole_seeds_first(self):
        """And what a seed showed before the next one begins."""
        blocks = []

        def perform(_, wanted, __):
            blocks.append({run.seed for run in wanted})
            for run in wanted:
                self.put([run], 1.7 - 0.1 * min(float(run.lr), 3.2e-2))
            return 0
        with unittest.mock.patch.object(report, "perform", perform):
            report.run(causes, None)
        self.assertTrue(all(len(block) == 1 for block in blocks))
        self.assertEqual([min(block) for block in blocks], sorted(min(b) for b in blocks))
        self.assertEqual({run.name for run in causes.wanted()}, set(lab.results()))

    def ten(self, loss):
        self.plant(lambda p, e, i, w: 1.7 - 0.1 * e, causes_ten.arms(), SEEDS)
        for norm in lab.placements():
            for which in ("off", "on"):
                for rate in causes.LADDER:
                    away = 0.1 * abs(log2(float(rate) / 8e-3))
                    self.put(causes.runs_of(causes_ten.arm(norm, which), rate, SEEDS),
                             loss(norm, which == "on") + away)
        return [self.verdicts(causes_ten, f"ten-{name}")[0] for name in ("embedding-norm", "order")]

    def test_ten(self):
        self.assertEqual(self.ten(lambda norm, on: 1.8 - 0.1 * on - 0.1 * (norm == "peri")),
                         [SHOWN, SHOWN])
        self.assertEqual(self.ten(lambda norm, on: 1.8 + 0.1 * on - 0.1 * (norm == "keel")),
                         [CONTRADICTED, CONTRADICTED])
        self.assertEqual(self.ten(lambda norm, on: 1.8 - 0.1 * on * (norm == "peri")),
                         [OPEN, SHOWN])


class Twenty(Claims):
    """Runs with a spike at step 100: so many of twenty for each placement and setting, the last
    seeds of Pre-LN and the first of Peri-LN."""

    def events(self, counts, others=0, seeds=twenty.TWENTY):
        self.rates()
        for setting in twenty.SETTINGS:
            for norm in twenty.NORMS:
                many = counts.get((norm, setting), others)
                chosen = seeds[len(seeds) - many:] if norm == "pre" else seeds[:many]
                self.put(twenty.runs_of(norm, setting, seeds),
                         1.7 if setting[0] == 1 else 1.9,  # 4e-3 stays R
                         spikes=lambda run: (100,) if run.seed in chosen else ())

    def at(self, pre=0, peri=0, **more):
        self.events({(norm, setting): many for norm, many in (("pre", pre), ("peri", peri))
                     for setting in twenty.AT_R}, **more)

    def test_events(self):
        for pre, peri, found in ((18, 4, SHOWN), (4, 18, CONTRADICTED), (10, 9, OPEN),
                                 (8, 0, OPEN)):  # the last: by the interval, but fewer than ten
            self.at(pre, peri)
            self.expect(twenty, "twenty-early", *[found] * 4)
            self.expect(twenty, "twenty-spikes", *[found] * 4)
        self.assertTrue(any("only 8 in all" in claim.seen for claim in twenty.claims()))

    def test_no_verdict_before_all_twenty(self):
        self.at(18, 4)
        for setting in twenty.AT_R:
            del lab.results()[twenty.runs_of("pre", setting)[7].name]
        self.expect(twenty, "twenty-early", *[OPEN] * 4)
        self.assertEqual(twenty.overview()[-1], "\nMissing: 4 of 280 runs, of seeds 18.")

    def test_clip_and_initialisation(self):
        by = lambda value: {("pre", setting): value(*setting[1:]) for setting in twenty.AT_R}
        for off, on, found in ((19, 6, SHOWN), (6, 19, CONTRADICTED)):
            self.events(by(lambda init, clip: on if clip else off))
            self.expect(twenty, "twenty-clip", found, found)
            self.events(by(lambda init, clip: off if init == "0.02" else on))
            self.expect(twenty, "twenty-initialisation", found, found)

    def test_rate(self):
        for at_r, at_quarter, peri, found in ((14, 13, 0, SHOWN), (20, 1, 0, CONTRADICTED),
                                              (14, 13, 14, OPEN)):  # Peri-LN's as many
            self.events({("pre", twenty.AT_R[0]): at_r, ("peri", twenty.AT_R[0]): peri,
                         ("pre", (1 / 4, "0.02", 1)): at_quarter})
            self.expect(twenty, "twenty-rate", found)

    def test_failures(self):
        for norm, found in (("pre", SHOWN), ("peri", CONTRADICTED)):
            self.events({})
            self.put(twenty.runs_of(norm, (4, "0.02", 0)), code=3)
            self.expect(twenty, "twenty-failures", found)

    def test_spread(self):
        wave = lambda run: (-1) ** run.seed * (1 + run.seed % 5 / 5)
        for share, found in ((0.2, SHOWN), (2.0, CONTRADICTED), (0.5, OPEN)):
            self.events({})
            for setting in twenty.AT_R:
                self.put(twenty.runs_of("pre", setting), lambda run: 1.7 + 0.05 * wave(run))
                self.put(twenty.runs_of("peri", setting),
                         lambda run: 1.7 - 0.05 * share * wave(run))
            self.expect(twenty, "twenty-spread", found, found)

    def test_exact_interval_of_a_share(self):
        """Known: 9 of 20, and none of 20, where it is 1 - 0.025^(1/20)."""
        for k, low, high in ((9, 0.2306, 0.6847), (0, 0, 1 - 0.025 ** 0.05), (20, 0.8316, 1)):
            for value, known in zip(share_interval(k, 20), (low, high)):
                self.assertAlmostEqual(value, known, places=4)


if __name__ == "__main__":
    unittest.main()
