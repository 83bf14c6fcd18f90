"""The report's first screen: the question, five findings with their numbers, and what may not be concluded."""
import re
from statistics import mean, median

import causes
import causes_ten
import corrections
import few_bits
import growth
import warmup
from lab import parameters, results, wide_results
from learning_rate import same_embedding, shared_rate
from measures import done, end_over_start, largest, last_variance
from verdict import SHOWN, pairs, verdict

ENOUGH = 20  # bytes of text a parameter, as compute-optimal training has tokens

QUESTION = """# Where the norms go, and what it does

*Peri-LN: Revisiting Normalization Layer in the Transformer Architecture* puts a norm before and behind each
sub-layer, and finds training steadier and models better than with Pre-LN or Post-LN, at 400M parameters and
more. What of that can be seen on two cores, with 12 layers of width 64 or 128 on English text, in bytes? And
is it the place of the norms that does it, or what comes along with it: Peri-LN's embedding norm, the size of
the initial weights, the warmup?
"""

SHORTLY = """**In short:** Peri-LN keeps hidden states in bounds where rates are high. Its lead in loss is here mostly that of
the embedding norm that comes with it, and the other placements lack. With that norm in both, the place of the norms adds
hundredths of a nat a byte where weights start larger, and takes as much or nothing where they start small.

A *lead* is the other's validation loss less Peri-LN's, in nats a byte, over n pairs of runs with the same seed: mean and
95 % interval; above 0 Peri-LN is ahead. Losses here are about 1.6 to 2.2.
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
  ends of its 95 % interval. Holm's correction is over all claims that rest on such tests; others rest on
  thresholds or counts, named in claims.md.
- A run that failed counts as a loss of 3.2 nats a byte, what byte frequencies alone give.

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
    start = {norm: f"{median(last_variance(r, 0) for r in found):.2g}" for norm, found in made.items()}
    end = {norm: f"{median(map(last_variance, found)):,.2g}" for norm, found in made.items()}
    low = {norm: f"{median(map(last_variance, done(growth.runs_of(norm, '2e-3')))):.2g}" for norm in made}
    return ("**It keeps hidden states in bounds at high rates.** Training at 8e-3 multiplies the variance of the last hidden "
            f"state {ratio['pre']} times with Pre-LN, from {start['pre']} to {float(end['pre']):,.0f}, and {ratio['peri']} times "
            f"with Peri-LN, from {start['peri']} to {end['peri']} (12 x 128, three seeds). At 2e-3 it is the other way round: "
            f"Pre-LN's ends at {low['pre']}, Peri-LN's at {low['peri']}. ([Growth](report/growth-of-the-hidden-state.md))")


def halves():
    """What that means for FP16."""
    rate = few_bits.RATES[-1]
    made = {(norm, shape): done(few_bits.in_fp16(norm, rate, shape))
            for norm in few_bits.PAIR for shape in few_bits.SHAPES}
    if not all(made.values()):
        return None
    past = {key: f"{sum(map(few_bits.passes, found))} of {len(found)}" for key, found in made.items()}
    sizes = {norm: about(largest(r)[0] for r in done(few_bits.in_fp32(norm, rate))) for norm in few_bits.PAIR}
    inside = {shape: any(few_bits.passes(r) and few_bits.inside(r) for r in made["peri", shape]) for shape in few_bits.SHAPES}
    counts = "; ".join(f"at {shape} {past['pre', shape]} runs of Pre-LN and {past['peri', shape]} of Peri-LN"
                       f"{', the latter inside of a sub-layer, ahead of the norm behind it' if inside[shape] else ''}"
                       for shape in few_bits.SHAPES)
    text = (f"**In FP16 that helps, and is not enough.** At {rate}, where fp32 still trains both, the largest "
            f"number in a hidden state is {sizes['pre']} with Pre-LN and {sizes['peri']} with Peri-LN (12 x 128); FP16 ends at "
            f"65,504. Trained in FP16, these overflow: {counts}. Of ten placements {few_bits.trains_at(rate)} in both.")
    pre, peri = (pairs(few_bits.quantised(norm, "int4"), few_bits.quantised(norm, None)) for norm in few_bits.PAIR)
    if min(len(pre), len(peri)) > 2:
        text += (f" Trained with hidden states rounded to four bits (int4, at {few_bits.R}), Pre-LN's loss rises by {told(pre)}, "
                 f"Peri-LN's by {told(peri)}.")
    return text + " ([Few bits](report/few-bits.md))"


def crossed():
    """[(what has the embedding norm, [the lead by initialisation and warmup])], None until three seeds have all."""
    cells = [(init, warmup_) for init in ("0.02", "0.08") for warmup_ in (30, 90)]
    arms = [("Peri-LN alone, as the paper has it", causes.told),
            ("both", lambda *cell: causes.lead(("on", *cell))), ("neither", lambda *cell: causes.lead(("off", *cell)))]
    found = [(name, [causes.contrast(terms(*cell)) for cell in cells]) for name, terms in arms]
    return found if min(len(lead) for _, row in found for lead in row) >= 3 else None


def leads():
    """What it gains in loss, and what the embedding norm has to do with it."""
    usual, both, neither = corrections.as_usual(), same_embedding(), same_embedding("off")
    text = (f"**Its lead in loss goes with its embedding norm.** Of ten placements Peri-LN alone has one. After 300 steps at "
            f"{shared_rate()} its lead over Pre-LN is {told(usual)}; with that norm in both {told(both)}; with it in neither "
            f"{told(neither)}.")
    if table := crossed():
        means = [mean(lead) for lead in dict(table)["both"]]
        text += (f" The table below has all at their best rates: with the norm in both {min(means):+.3f} to "
                 f"{max(means):+.3f} is left.")
    return text + " ([What causes the lead](report/what-causes-the-lead.md))"


def circumstances():
    rate = shared_rate()
    short_, long_ = (warmup.leads(share)[rate] for share in warmup.SHARES)
    post = corrections.post_leads()
    return (f"**How large a lead is, and whose, depends on warmup and initial weights.** After 300 steps at {rate} "
            f"Peri-LN's is {told(short_)} with 30 steps of warmup, {told(long_)} with 90, and "
            f"{told(corrections.matched_lead('S64'))} with initial weights four times as large. Post-LN's is "
            f"{told([-x for x in post['usual']])} over Pre-LN, and {told([-x for x in post['matched']])} with these weights "
            "(12 x 64). ([Data, schedule](report/data-schedule-and-kind-of-norm.md), "
            "[initialisation](report/weight-decay-and-initialisation.md))")


def deep():
    """A result of our own."""
    at = lambda step: ", ".join(f"{p:.2f}" for p in corrections.exponents(step))
    return ("**After training, Peri-LN's variance grows faster over depth than the paper's line.** Behind sub-layer s it is like "
            f"s^p, with p = {at(-1)} at 12, 24, 48 and 96 layers; before training p = {at(0)}. "
            "([Beyond the papers](report/beyond-the-papers.md))")


def factors():
    """The lead by embedding norm, initialisation and warmup, as a table."""
    if not (table := crossed()):
        return []
    seeds = min(len(lead) for _, row in table for lead in row)
    lines = ["\n| Peri-LN's lead over Pre-LN; embedding norm in | N(0, 0.02^2), 30 steps of warmup | N(0, 0.02^2), 90 | "
             "N(0, 0.08^2), 30 | N(0, 0.08^2), 90 |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(map(corrections.short, row))} |" for name, row in table]
    return lines + [f"\n*12 x 64, 600 steps, each arm at its best rate, n = {seeds}.*"]


def findings():
    if not corrections.ready():
        return []
    found = [states(), halves(), leads(), circumstances(), deep()]
    return ["## What was found\n", SHORTLY] + [f"{i}. {text}" for i, text in enumerate(filter(None, found), 1)] + factors()


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
    some = [f"N(0, {init}^2) and {steps} steps of warmup" for (_, init, steps), lead in leads.items() if verdict(lead) != SHOWN]
    return [f"{said} at all settings: with the embedding norm in both it is shown in {len(leads) - len(some)} of {len(leads)} "
            f"cells of the table, not with {', nor with '.join(some)}."] if some else []


def best_of_ten():
    words = ("Which of ten placements is best: their order changes with the size of the initialisation and with the embedding "
             "norm, and Post-LN at width 128 was tried at two rates.")
    if not (found := causes_ten.behind()):
        return words
    ahead = [norm for norm, behind in found.items() if verdict(behind) == SHOWN]
    rest = ", ".join(f"`{norm}` {told(behind)}" for norm, behind in found.items() if norm not in ahead)
    return (f"{words} With all of it the same, and weights from N(0, 0.08^2), Peri-LN is ahead of {len(ahead)} of {len(found)}, and "
            f"not told apart from {rest}.")


def limits():
    if not corrections.ready():
        return []
    amounts = bytes_a_parameter()
    few = [amount for amount in amounts if amount < ENOUGH]
    enough = len(amounts) - len(few)
    diverged = sum(r.diverged for r in wide_results().values())
    found = cause() + [
        best_of_ten(),
        f"How training ends. {ENOUGH} bytes of text a parameter are usual; {len(few)} of {len(amounts)} runs saw "
        f"{min(few):.2f} to {max(few):.2f} (without embeddings){f', {enough} as many or more' if enough else ''}.",
        f"Which placement is the stablest: gradients are clipped at 1, and of {len(amounts)} runs outside of FP16 {diverged} "
        "diverged.",
        "Anything of other texts: nearly all are of one dictionary, in bytes; and most verdicts share seeds 11 to 13."]
    return ["\n## What may not be concluded\n"] + [f"- {line}" for line in found]
