"""The report's first screen: the question, five findings with their numbers, and what may not be concluded."""
import re
from statistics import median

import causes
import corrections
import few_bits
import growth
import warmup
from corrections import short
from lab import parameters, results, wide_results
from learning_rate import same_embedding, shared_rate
from measures import done, end_over_start, largest, last_variance
from verdict import SHOWN, verdict

ENOUGH = 20  # bytes of text a parameter, as compute-optimal training has tokens

QUESTION = """# Where the norms go, and what it does

*Peri-LN: Revisiting Normalization Layer in the Transformer Architecture* puts a norm before and behind each
sub-layer, and finds training steadier and models better than with Pre-LN or Post-LN, at 400M parameters and
more. What of that can be seen on two cores, with 12 layers of width 64 or 128 on English text, in bytes? And
is it the place of the norms that does it, or what comes along with it: Peri-LN's embedding norm, the size of
the initial weights, the warmup?
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

def about(values):
    """"350,000 to 500,000": to two digits."""
    low, high = (f"{float(f'{value:.2g}'):,g}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def states():
    """Where Peri-LN helps most plainly: the size of the hidden states."""
    ratio = {norm: [end_over_start(r) for r in done(growth.runs_of(norm, "8e-3"))] for norm in ("pre", "peri")}
    ends = {norm: median(map(last_variance, done(growth.runs_of(norm, "2e-3")))) for norm in ("pre", "peri")}
    return ("**It keeps hidden states in bounds at high rates.** At twice the usual rate training multiplies their "
            f"variance {about(ratio['pre'])} times with Pre-LN, {about(ratio['peri'])} times with "
            f"Peri-LN (12 x 128, three seeds). At a low rate that is not so: there Peri-LN's ends at {ends['peri']:.0f}, "
            f"Pre-LN's at {ends['pre']:.0f}. ([Growth](report/growth-of-the-hidden-state.md))")


def halves():
    """What that means for FP16."""
    shape, rate = "12 x 128", few_bits.RATES[-1]
    made = {norm: done(few_bits.in_fp16(norm, rate, shape)) for norm in few_bits.PAIR}
    if not all(made.values()):
        return None
    past = {norm: f"{sum(map(few_bits.passes, found))} of {len(found)}" for norm, found in made.items()}
    sizes = {norm: [largest(r)[0] for r in done(few_bits.in_fp32(norm, rate))] for norm in few_bits.PAIR}
    inside = any(few_bits.passes(r) and few_bits.inside(r) for r in made["peri"])
    return ("**So it is the safer one in FP16, but not safe.** At the highest rate that fp32 bears Pre-LN's largest "
            f"state is {about(sizes['pre'])}, Peri-LN's {about(sizes['peri'])}. Trained in FP16, whose limit "
            f"is 65,504, there {past['pre']} runs of Pre-LN pass it and {past['peri']} of Peri-LN"
            f"{', inside of a sub-layer, before the norm that would have bounded it' if inside else ''}. "
            "([Few bits](report/few-bits.md))")


def leads():
    """What it gains in loss, and what the embedding norm has to do with it."""
    usual, both = corrections.as_usual(), same_embedding()
    return (f"**Most of its lead in loss is not the norms'.** At {shared_rate()} it is {short(usual)} nats a byte, but "
            f"of ten placements Peri-LN alone has an embedding norm; with that in both it is {short(both)}, with it in "
            f"neither {short(same_embedding('off'))}. {crossed()}([What causes the lead](report/what-causes-the-lead.md))")


def crossed():
    """Placement against embedding norm where all four factors are crossed."""
    found = causes.contrast(causes.lead(("on", "0.08", 90)))
    told = causes.contrast(causes.told("0.08", 90))
    if len(found) < 3 or len(told) < 3:
        return ""
    return (f"With larger initial weights, longer warmup and every arm's own best rate the lead as told is {short(told)}, with "
            f"the norm in both {short(found)} (600 steps). ")


def circumstances():
    at = {steps: [causes.contrast(causes.told(init, steps)) for init in ("0.02", "0.08")] for steps in (30, 90)}
    if min(len(values) for found in at.values() for values in found) >= 3:
        words = {steps: f"{short(small)} at N(0, 0.02^2) and {short(large)} at N(0, 0.08^2)"
                 for steps, (small, large) in at.items()}
        return ("**Initialisation and warmup decide how large a lead is seen.** As told, each at its best rate: with 30 steps "
                f"of warmup {words[30]}, with 90 {words[90]} (600 steps). "
                "([What causes the lead](report/what-causes-the-lead.md))")
    rate = shared_rate()
    short_, long_ = (warmup.leads(share)[rate] for share in warmup.SHARES)
    return ("**Initialisation and warmup decide how large a lead is seen.** As told, after 300 steps at "
            f"{rate}, it is {short(short_)} with 30 steps of warmup and {short(long_)} with 90; with initial weights four times "
            f"as large {short(corrections.matched_lead('S64'))}. ([Data, schedule](report/data-schedule-and-kind-of-norm.md), "
            "[initialisation](report/weight-decay-and-initialisation.md))")


def deep():
    """A result of our own."""
    told = lambda step: ", ".join(f"{p:.2f}" for p in corrections.exponents(step))
    return ("**Over depth its variance grows faster than the line that the paper has.** It is like s^p behind sub-layer s, with p "
            f"= {told(-1)} at 12, 24, 48 and 96 layers after training, {told(0)} before: training adds to what is there already. "
            "([Beyond the papers](report/beyond-the-papers.md))")


def findings():
    if not corrections.ready():
        return []
    found = [states(), halves(), leads(), circumstances(), deep()]
    return ["## What was found\n"] + [f"{i}. {text}" for i, text in enumerate(filter(None, found), 1)]


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
    whole = causes.contrast(causes.lead(("on", "0.08", 90)))
    if len(whole) == 5 and verdict(whole) == SHOWN:
        return []
    why = ("with embedding norm, initialisation and warmup the same no lead is shown." if len(whole) == 5 else
           "embedding norm, initialisation and warmup are not yet crossed with five seeds, and with the first in both no lead "
           "is shown after 300 steps" + (f"; after 600, {len(whole)} seeds give {short(whole)}." if len(whole) > 2 else "."))
    return [f"That the place of the norms makes Peri-LN's lead: {why}"]


def limits():
    if not corrections.ready():
        return []
    amounts = bytes_a_parameter()
    few = [amount for amount in amounts if amount < ENOUGH]
    enough = len(amounts) - len(few)
    diverged = sum(r.diverged for r in wide_results().values())
    found = cause() + [
        "Which of ten placements is best: their order changes with the size of the initialisation and with the embedding "
        "norm, and Post-LN at width 128 was tried at two rates.",
        f"How training ends. {ENOUGH} bytes a parameter are usual; {len(few)} of {len(amounts)} runs saw {min(few):.2f} to "
        f"{max(few):.2f} (without embeddings){f', {enough} as many or more' if enough else ''}.",
        f"How stable a placement is: gradients are clipped at 1, and {diverged} of {len(amounts)} runs diverged.",
        "Anything of other texts: nearly all are of one dictionary, in bytes; and most verdicts share seeds 11 to 13."]
    return ["\n## What may not be concluded\n"] + [f"- {line}" for line in found]
