"""The report's first screen: the question, five findings with their numbers, and what may not be concluded."""
import re
from math import exp
from statistics import mean, median

import causes
import causes_ten
import corrections
import depth
import depths
import few_bits
import growth
import optimal
import scale
import twenty
from early import eventful
from lab import SCALES, parameters, results, wide_results
from learning_rate import grid, runs_of, same_embedding, shared_rate
from measures import done, end_over_start, last_variance
from verdict import CONTRADICTED, SHOWN, failed, pairs, test, verdict

ENOUGH = 20  # bytes of text a parameter, as compute-optimal training has tokens

QUESTION = """# Where the norms go, and what it does

*Peri-LN: Revisiting Normalization Layer in the Transformer Architecture* puts a norm before and after each
sub-layer, and finds training steadier and models better than with Pre-LN or Post-LN, at 400M parameters and
more. How much of that shows on two cores, with 12 to 96 layers of width 64 or 128, on English bytes? And is the
cause the place of the norms, or what comes along with it: Peri-LN's embedding norm, the size of the initial
weights, the warmup, the length of training?
"""

SHORTLY = """**In a minute** (leads in nats a byte; what they are of stands below, as do their intervals):

- *Where it helps.* Peri-LN keeps hidden states in bounds where learning rates are high, and loses less when they are rounded to few bits.
- *By how much.* With its embedding norm, which the other placements lack, it is ahead of Pre-LN by 0.070 after 300 steps of 12 layers, by
  0.186 to 0.489 after 150 steps of 12 to 96 layers at best rates, and by 0.011 to 0.035 after 20 bytes of text a parameter (12 layers, widths
  24 to 64, 878 to 6,240 steps; 0.007 after 100 bytes, one seed).
- *What the embedding norm has to do with it.* In short training it makes most of that. With it in both placements 0.008 are left after 300
  steps; of 150 steps -0.001 at 12 layers and -0.134 at 96, Pre-LN being ahead with all three seeds from 24 layers on; after 20 bytes a parameter 0.007 to
  0.029. With it in neither Peri-LN of 12 layers is behind or level in short training, and after 20 bytes -0.029 to 0.008 ahead. What it gains falls with
  the steps: some hundredths after 1,560, at width 32 as at 64; after 6,240 nothing in Peri-LN, and it costs Pre-LN 0.013.
- *Initial weights and warmup.* With that norm in both, after 600 steps at best rates, the place of the norms alone gains about 0.02 with N(0, 0.08^2)
  weights and loses 0 to 0.04 with N(0, 0.02^2). Three times the warmup leaves 0.007 of a lead of 0.041 as the paper tells it where weights
  start as N(0, 0.02^2), and 0.054 of 0.062 where they start as N(0, 0.08^2).
- *Where it does not help.* In deep models, once Pre-LN has the embedding norm too; and after 20 bytes a parameter OLMo-2's placement and SimpleNorm
  end within 0.005 of it.
- *What is open.* Whether the place of the norms alone, without that norm in either, gains anything after 20 bytes a parameter: at width 64 five seeds
  cannot tell its 0.008 from 0. With the norm in Peri-LN alone or in both they can, two of the five having been added as three had left it
  open, and not after Holm's correction. Nor do three seeds settle that the lead grows with depth.

A *lead* is Pre-LN's validation loss minus Peri-LN's, in nats a byte (above 0: Peri-LN is better): mean and 95 % interval over n pairs of
runs with the same seed. 12 x 64 is 12 layers of width 64. Unless something else is said, Peri-LN alone has the embedding norm, weights
start as N(0, 0.02^2), and warmup is a tenth of the steps. Rates are peak learning rates; parameters are counted without embedding and
head.
"""

METHOD = """
## How it was done

Every claim was written down in [claims.md](claims.md) before its runs, with what would contradict it, but
for those marked *afterwards* there.

- **Reproduced** and **contradicted** are said of pairs of runs with the same seed, hence the same batches: all
  on one side, beyond the spread, and with a 95 % t interval of the mean that leaves out 0. Everything else is
  **not at this scale**. A claim read in several settings is **mixed** if these disagree. A claim contradicted
  here may well hold at the paper's size.
- *a (b to c, n = d)* is a mean, the smallest, the largest, and how many seeds; an *effect* is a mean with the
  ends of its 95 % interval. Holm's correction is over all claims that rest on such tests (with three seeds only a
  mean some twenty times its spread survives it); others rest on thresholds or counts, named in claims.md.
- A best rate is chosen by other seeds than those that compare, but for SGD, where the three that compare choose too,
  and in `optimal` and `depths`, where seed 11 chooses and is one of three.
- A run that failed counts as a loss of 3.2 nats a byte, what byte frequencies alone give.
- *Names.* A sub-layer is x~ = Norm_A(x), a = Module(x~), o = alpha x + Norm_B(a), y = Norm_C(o); a placement says which of
  the norms A, B, C there are: Pre-LN has A (and a final norm), Post-LN C, Peri-LN A and B (and an embedding and a final
  norm), `input-main` A and C, `output` and `olmo2` B. R is 4e-3, the best rate of Pre-LN at 12 x 64. *Matched*: initial
  weights as large as N(0, 0.02^2) is at width 1024, N(0, 0.08^2) at 64 and N(0, 0.0566^2) at 128. *12 x 64*: 12
  layers of width 64. An *event* is a spike of the gradient norm or a rise of the loss. In logarithms (*e-folds*) a
  difference of 1 is a factor of 2.7.

`make experiments` does the runs that are missing and can be stopped at any time; `make figures` draws what has
been measured and writes these pages. Runs are rows of `results/*/runs.csv`, each with its command; their
measurements lie beside it. fp32 (but in `precision` and `few_bits`), one thread a run, `--tune off`: on a
processor of the same kind the same bits.
"""


def what_was_run():
    """The runs, hours, machines and days, in a sentence."""
    rows = [r.row for r in results().values()]
    if not rows:
        return "Nothing has been run yet."
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    days, machines = (sorted({row[key] for row in rows}) for key in ("date", "machine"))
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return (f"{len(rows)} runs, {hours:.1f} hours summed over runs that at times shared their "
            f"core, {when}; {', '.join(machines)}.")


# ---- findings -----------------------------------------------------------------------------------

def told(differences):
    """"+0.070 (+0.033 to +0.107, n = 5)": the mean, its 95 % interval, how many."""
    return f"{corrections.short(differences)[:-1]}, n = {len(differences)})"


def about(values):
    """"350,000 to 500,000": to two digits."""
    values = list(values)
    low, high = (f"{float(f'{value:.2g}'):,g}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def states():
    """Where Peri-LN helps most plainly: the size of the hidden states."""
    made = {norm: done(growth.runs_of(norm, "8e-3")) for norm in ("pre", "peri")}
    ratio = {norm: about(map(end_over_start, found)) for norm, found in made.items()}
    end = {norm: f"{median(map(last_variance, found)):,.2g}" for norm, found in made.items()}
    low = {norm: f"{median(map(last_variance, done(growth.runs_of(norm, '2e-3')))):.2g}" for norm in made}
    text = ("**It keeps hidden states in bounds at high rates.** At 8e-3 (12 x 128, n = 3) the variance of the last hidden state ends at "
            f"{float(end['pre']):,.0f} with Pre-LN, {ratio['pre']} times what it began with, and at {end['peri']} with Peri-LN, "
            f"{ratio['peri']} times. At 2e-3 Pre-LN's grows more too, but ends lower: {low['pre']} against {low['peri']}.")
    above = pairs(few_bits.arm("pre, norm", "8e-3"), few_bits.arm("peri", "8e-3"), few_bits.log_largest)
    if len(above) > 2:
        of = test(above)
        text += (" The place of the norms does it: with the embedding norm in both, the largest number in Pre-LN's hidden "
                 f"states is {exp(of.mean):.1f} times that in Peri-LN's ({exp(of.low):.1f} to {exp(of.high):.1f}, n = {of.n}, 8e-3, FP16).")
    usual, large = (scale.runs_of("pre", scale.HIGH, times) for times in ("1", scale.SCALES[-1]))
    fewer, better = pairs(usual, large, scale.events), pairs(usual, large)
    if len(better) > 2:
        of = test(fewer)
        text += (f" But large states as such are not what makes Pre-LN unsteady: at {scale.HIGH} (12 x 64) those that begin {scale.SCALES[-1]} times as "
                 f"large, the function the same, have {of.mean:.1f} fewer events a run ({of.low:.1f} to {of.high:.1f}, n = {of.n}) and end lower in loss "
                 f"by {told(better)}. ([The size of hidden states](report/the-size-of-hidden-states.md))")
    return text + " ([Growth](report/growth-of-the-hidden-state.md))"


def halves():
    """What that means for formats of few bits."""
    rate = few_bits.RATES[-1]
    made = {(norm, shape): done(few_bits.in_fp16(norm, rate, shape))
            for norm in few_bits.PAIR for shape in few_bits.SHAPES}
    pre, peri = (pairs(few_bits.quantised(norm, "int4"), few_bits.quantised(norm, None)) for norm in few_bits.PAIR)
    if not all(made.values()) or min(len(pre), len(peri)) < 3:
        return None
    past = {key: f"{sum(map(few_bits.passes, found))} of {len(found)}" for key, found in made.items()}
    inside = {shape: any(few_bits.passes(r) and few_bits.inside(r) for r in made["peri", shape]) for shape in few_bits.SHAPES}
    counts = "; ".join(f"at {shape} {past['pre', shape]} runs of Pre-LN and {past['peri', shape]} of Peri-LN"
                       f"{' (inside a sub-layer, before its output norm)' if inside[shape] else ''}" for shape in few_bits.SHAPES)
    return ("**That helps in few bits, but not always in FP16.** Rounding hidden states to four bits in training (int4, 12 x 64, "
            f"{few_bits.R}) raises Pre-LN's loss by {told(pre)}, Peri-LN's by {told(peri)}. FP16, whose largest number is 65,504, overflows at "
            f"{rate}, where fp32 trains both: {counts}. Of ten placements {few_bits.trains_at(rate)} at both "
            "sizes. ([Few bits](report/few-bits.md))")


def crossed():
    """[(what has the embedding norm, [the lead by initialisation and warmup])], None until three seeds have all."""
    cells = [(init, warmup_) for init in ("0.02", "0.08") for warmup_ in (30, 90)]
    arms = [("Peri-LN alone, as in the paper", causes.told),
            ("both", lambda *cell: causes.lead(("on", *cell))), ("neither", lambda *cell: causes.lead(("off", *cell)))]
    found = [(name, [causes.contrast(terms(*cell)) for cell in cells]) for name, terms in arms]
    return found if min(len(lead) for _, row in found for lead in row) >= 3 else None


def leads():
    """What it gains in loss, and what the embedding norm has to do with it."""
    usual, both, neither = corrections.as_usual(), same_embedding(), same_embedding("off")
    fast = grid("pre")[-1]
    high = pairs(runs_of("pre", fast), runs_of("peri", fast))
    text = (f"**In short training its embedding norm makes most of its lead in loss.** At 12 x 64, 300 steps at {shared_rate()}, it is {told(usual)}; with that "
            f"norm in both {told(both)}; with it in neither {told(neither)}.")
    if table := crossed():
        means = ", ".join(f"{mean(lead):+.3f}" for lead in dict(table)["both"])
        text += f" At best rates, with the norm in both (the table below), the leads are {means}."
    if high:
        text += f" The largest lead, {told(high)} at {fast}, was not tried with the norm in both; that of deeper models was: see the last finding."
    return text + " ([What causes the lead](report/what-causes-the-lead.md))"


def longer():
    """What is left of it when training goes on."""
    leads_ = [optimal.lead(*arms) for _, *arms in optimal.SETTINGS]
    gained = [optimal.gain(norm, amount) for amount in (1, ENOUGH) for norm in ("peri", "pre")]
    if min(map(len, leads_ + gained)) < 3:
        return None
    alone, both, neither = map(told, leads_)
    peri_first, pre_first, peri, pre = map(told, gained)
    names = {"olmo2": "OLMo-2's placement", "simple": "SimpleNorm", "keel": "KEEL", "post": "Post-LN"}
    over = {name: pairs(optimal.at_best((norm, "off")), optimal.at_best(("peri", "on"))) for norm, name in names.items()}
    over = {name: less for name, less in over.items() if len(less) > 2}
    others = f"; over {', '.join(f'{name} {told(less)}' for name, less in over.items())}" if over else ""
    narrow = [mean(optimal.gain("peri", width=width)) for width in optimal.whole(optimal.PAIR) if width < 64]
    still = (f" In narrower models, whose {ENOUGH} bytes are fewer steps, it still gains Peri-LN {min(narrow):.3f} to {max(narrow):.3f} (the second "
             "table)." if len(narrow) > 1 else "")
    most = optimal.lead(*optimal.SETTINGS[0][1:], amount=100)
    further = (f" One pair of runs with 100 bytes a parameter ({optimal.BYTES[100]:,} steps, the norm in Peri-LN alone) has a lead of {most[0]:+.3f}."
               if len(most) == 1 else "")
    return (f"**After {ENOUGH} bytes of text a parameter its lead is small, and what the embedding norm gains falls with the steps.** At 12 x 64 "
            f"(6,240 steps, N(0, 0.08^2), best rates, no text twice) the lead over Pre-LN is {alone} with that norm in Peri-LN alone, {both} in both, "
            f"{neither} in neither{others}.{further} The norm gains Peri-LN {peri} and Pre-LN {pre}; after 312 steps, one byte a parameter, it gained "
            f"{peri_first} and {pre_first}.{still} ([Training long enough](report/training-long-enough.md))")


def circumstances():
    """A sentence beneath the table."""
    taken = {init: causes.contrast(causes.told(init, 30) + causes.told(init, 90, -1)) for init in ("0.02", "0.08")}
    return (f"In the first row 90 steps of warmup in place of 30 cost {told(taken['0.02'])} where weights start as N(0, 0.02^2) and "
            f"{told(taken['0.08'])} where they start as N(0, 0.08^2) ([data, schedule](report/data-schedule-and-kind-of-norm.md)).")


def deep():
    """What depth does to both."""
    at = lambda step: corrections.exponents(step)
    before, after = (", ".join(f"{p:.2f}" for p in at(step)) for step in (0, -1))
    longer = [depth.exponent(r, -1) for r in done(growth.runs_of("peri", shared_rate(), "S64"))]
    text = ""
    pre, pre_on, peri, _ = depths.TUNED
    leads_ = [[depths.leads(second, peri, layers) for layers in depths.DEPTHS] for second in (pre, pre_on)]
    if min(len(lead) for row in leads_ for lead in row) > 2:
        alone, both = (", ".join(map(corrections.short, row)) for row in leads_)
        text = ("**In deep models, too, its lead is the embedding norm's; and its variance grows faster over depth than the paper's straight "
                f"line.** At each depth's best rate (12, 24, 48, 96 layers of width 64, 150 steps, N(0, 0.08^2), n = 3) the lead is {alone} with that norm "
                f"in Peri-LN alone, and {both} with it in both ([KEEL's rows](report/keels-rows.md)).")
    text = text or "**In deep models its variance grows faster over depth than the paper's straight line.**"
    return (f"{text} After 150 steps at {shared_rate()} Peri-LN's variance behind sub-layer s goes as s^p with p = {after} at 12, 24, 48 and 96 layers "
            f"(width 64, N(0, 0.02^2), n = 3); before training p = {before}. After 300 steps 12 layers have {min(longer):.2f} to {max(longer):.2f}. "
            "([Beyond the papers](report/beyond-the-papers.md))")


def factors():
    """The lead by embedding norm, initialisation and warmup, as a table."""
    if not (table := crossed()):
        return []
    seeds = min(len(lead) for _, row in table for lead in row)
    lines = ["\n| Lead; the embedding norm is in | N(0, 0.02^2), 30 steps of warmup | N(0, 0.02^2), 90 steps | "
             "N(0, 0.08^2), 30 steps | N(0, 0.08^2), 90 steps |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(map(corrections.short, row))} |" for name, row in table]
    return lines + [f"\n*12 x 64, 600 steps, each arm at its best rate, n = {seeds}.* {circumstances()}"]


def by_width():
    """Leads and gains after ENOUGH bytes a parameter over the widths that all four arms have, as a table."""
    if len(widths := optimal.whole(optimal.PAIR)) < 3:
        return []
    columns = [f"width {width}, {SCALES[f'C{width}']['steps']:,} steps" for width in widths]
    row = lambda name, of: f"| {name} | {' | '.join(corrections.short(of(width)) for width in widths)} |"
    lines = [f"\n| Lead after {ENOUGH} bytes a parameter; the embedding norm is in | {' | '.join(columns)} |", "|---" * (len(widths) + 1) + "|"]
    lines += [row(name, lambda width: optimal.lead(*arms, width))
              for name, (_, *arms) in zip(("Peri-LN alone", "both", "neither"), optimal.SETTINGS)]
    lines += [row(f"what that norm gains {name}", lambda width: optimal.gain(norm, width=width))
              for norm, name in (("peri", "Peri-LN"), ("pre", "Pre-LN"))]
    n = {len(optimal.lead(*arms, width)) for _, *arms in optimal.SETTINGS for width in widths}
    return lines + ["\n*12 layers, weights as N(0, 0.08^2) at width 64 and in inverse proportion to the root of the width at others, each arm at its "
                    f"best rate, n = {' to '.join(map(str, sorted({min(n), max(n)})))}.*"]


def findings():
    if not corrections.ready():
        return []
    found = [states(), halves(), leads(), longer(), deep()]
    return ["## What was found\n", SHORTLY] + [f"{i}. {text}" for i, text in enumerate(filter(None, found), 1)] + factors() + by_width()


# ---- limits -------------------------------------------------------------------------------------

def bytes_a_parameter():
    """Of every run, from its command."""
    found = []
    for r in wide_results().values():
        flag = lambda name: int(re.search(rf"--{name} (\d+)", r.row["command"])[1])
        size = parameters(flag("layers"), flag("width"), flag("ffn"))
        found.append(flag("steps") * flag("batch") * flag("seq") / size)
    return found


def cause():
    """Of the cells with the norm in both: claims.md's own first."""
    leads = {cell: causes.contrast(causes.lead(cell)) for cell in causes.CELLS if cell[0] == "on"}
    own = leads["on", "0.08", 90]
    said = "That the place of the norms alone gives Peri-LN a lead"
    if len(own) < 5:
        return [f"{said}: claims.md asks for five seeds with embedding norm, initialisation and warmup the same, and not all "
                "have been run."]
    if verdict(own) != SHOWN:
        return [f"{said}: with embedding norm, initialisation and warmup the same none is shown."]
    words = [verdict(lead) for lead in leads.values()]
    if words.count(SHOWN) == len(words):
        return []
    behind = words.count(CONTRADICTED)
    return [f"{said} at all settings: of the cells in the table's row *both* {words.count(SHOWN)} of "
            f"{len(words)} show it{f'; in {behind} Pre-LN is ahead' if behind else ''}."]


def best_of_ten():
    post = corrections.post_leads()
    words = ("Which of ten placements is best: it changes with initial weights and the embedding norm. Post-LN at its best rate is behind "
             f"Pre-LN by {told(post['usual'])}; with N(0, 0.08^2) and {shared_rate()} it is ahead by {told([-x for x in post['matched']])} "
             "(12 x 64, 300 steps).")
    if found := causes_ten.behind():
        words += f" With the embedding norm in all ten and N(0, 0.08^2) (600 steps, best rates) Peri-LN is {ahead_of(found)}."
    if found := optimal.behind():
        leader, others = found
        without = ", without its embedding norm," * (leader[1] == "off")
        named = {optimal.label(arm): less for arm, less in others.items()}
        words += f" After 6,240 steps (N(0, 0.08^2), best rates) Peri-LN{without} is {ahead_of(named)}."
    return words


def ahead_of(others):
    """others: {name: its loss less Peri-LN's, by seed}"""
    says = {name: verdict(less) for name, less in others.items()}
    named = lambda which: ", ".join(f"`{name}` {told(less)}" for name, less in others.items() if which(says[name]))
    words = f"ahead of {list(says.values()).count(SHOWN)} of {len(says)}"
    if open_ := named(lambda said: said not in (SHOWN, CONTRADICTED)):
        words += f", but not clearly of {open_}"
    if lost := named(lambda said: said == CONTRADICTED):
        words += f", and behind {lost}"
    return words


def noise():
    """What twenty seeds of each say of early trouble; nothing before all are there."""
    count = {(norm, setting): [sum(map(eventful, found)), len(found)] for norm in twenty.NORMS for setting in twenty.AT_R
             if (found := done(twenty.runs_of(norm, setting)))}
    if len(count) < 2 * len(twenty.AT_R) or min(n for _, n in count.values()) < len(twenty.TWENTY):
        return ""
    small, large = ([count[norm, next(s for s in twenty.AT_R if s[1] == init and s[2])][0] for norm in twenty.NORMS]
                    for init in ("0.02", "0.08"))
    lost = [sum(map(twenty.lost, done(twenty.runs_of(norm, (4, "0.02", 0))))) for norm in twenty.NORMS]
    return (f" At {shared_rate()}, of {len(twenty.TWENTY)} runs each, {small[0]} of Pre-LN's and {small[1]} of Peri-LN's had a spike of the "
            f"gradient norm or a rise of the loss in their first half (with N(0, 0.08^2) {large[0]} and {large[1]}); but at four times the rate, "
            f"gradients not clipped, {lost[0]} and {lost[1]} failed. ([Twenty seeds](report/twenty-seeds.md))")


def failures():
    """{placement: (runs that ended no better than byte frequencies, all)}, of AdamW's in fp32."""
    found = {}
    for r in wide_results().values():
        if not re.search(r"--(optimizer sgd|precision|fake-quant)", r.row["command"]):
            norm = r.row["name"].split()[1]
            lost, made = found.get(norm, (0, 0))
            found[norm] = (lost + failed(r), made + 1)
    return found


def stability():
    found = failures()
    of = lambda norm: "{} of {}".format(*found[norm])
    often = sorted((norm for norm, (lost, made) in found.items() if lost > made / 10), key=lambda norm: -found[norm][0])
    return ("Which of Pre-LN and Peri-LN is the stabler. At rates that others bear, many runs of "
            f"{', '.join(f'`{norm}` ({of(norm)})' for norm in often)} learned byte frequencies alone; of Pre-LN's {of('pre')} did, "
            f"of Peri-LN's {of('peri')}.{noise()}")


def limits(counts):
    """counts: what report.py knows of the verdicts."""
    if not corrections.ready():
        return []
    amounts = bytes_a_parameter()
    few = [amount for amount in amounts if amount < ENOUGH]
    enough = len(amounts) - len(few)
    found = [f"That all of it holds at once: of {counts['tested']} claims that tests decided {counts['holm']} survive Holm's correction "
             f"for many tests ({', '.join(f'`{name}`' for name in counts['survivors'])}: none of the findings above), and most verdicts "
             "share seeds 11 to 13."]
    found += cause() + [
        best_of_ten(),
        f"How training ends{' in deeper and wider models' if enough else ''}. {ENOUGH} tokens a parameter are usual. Here a byte is a token: "
        f"{len(few)} of {len(amounts)} runs saw {min(few):.2f} to {max(few):.2f} a parameter"
        f"{f'; {enough}, of 12 layers and at most width 64, saw {ENOUGH} and more' if enough else ''}.",
        stability(),
        "Anything of other texts: nearly all runs are of one dictionary, in bytes."]
    return ["\n## What may not be concluded\n"] + [f"- {line}" for line in found]
