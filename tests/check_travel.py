#!/usr/bin/env python3
"""A run goes on elsewhere: with other threads, another precision, on another machine.

The same build, machine, threads and precision come to the same bits; what is promised of the rest is that it is the
same run but for rounding.

- Threads: other sums, so other last bits, and losses within rounding.
- Precision: a checkpoint goes on in the precision in which it was saved. Another one is refused in a sentence that names
  both remedies, and nothing of the run is touched; --init-from and --evaluate take its weights in any precision.
- Machines: a checkpoint of x86-64 goes on on aarch64 and back, within rounding, and so does one of each earlier version
  (tests/checkpoints); exports have the same bytes. A library that a machine does not have is named, and the run goes on
  without.

usage: tests/check_travel.py TRAIN [OTHER]   OTHER: train of aarch64, run under qemu; without it this part is skipped"""

import os
import pathlib
import shutil
import sys

import saved_run
import test_old_checkpoints as old
from saved_run import EPSILON, apart, losses

OUT = pathlib.Path(os.environ.get("OUT", "build/travel")).absolute()
QEMU = ["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"]
FLAGS = """--size tiny --layers 2 --width 16 --heads 2 --ffn 24 --batch 4 --seq 32 --steps 12 --lr 0.02 --save-every 4 --keep 0
    --val-every 4 --val-batches 2 --probe-every 0 --tune off --quiet""".split()
STEPS, TARGETS = 12, 4 * 32

# Sums in another order: a loss is off by an epsilon for each of the 13 products on its way, forward and backward, and
# each step; they add up as the root of their number.
ROUNDING = (STEPS * 2 * 13) ** 0.5 * EPSILON["fp32"]
# bf16 rounds each number by up to half an epsilon, apart from the others: a token's loss is off by the root of its
# products' number of them, and the mean over a step's targets by less as the root of theirs; twice that, as targets share
# the rounded weights.
ROUNDING_BF16 = 2 * (2 * 13 / TARGETS) ** 0.5 * EPSILON["bf16"] / 2


failures = 0


def expect(fine, words):
    global failures
    failures += not fine
    print(("" if fine else "FAILED: ") + words, flush=True)


def close(words, found, expected, tolerance):
    distance = apart(found, expected)
    expect(distance <= tolerance, f"{words}: losses apart by {distance:.1e}, allowed {tolerance:.1e}")


def far(words, found, expected, tolerance):
    """A planted fault is seen, and not on the edge."""
    distance = apart(found, expected)
    expect(distance > 4 * tolerance, f"{words}: seen, losses apart by {distance:.1e}, allowed {tolerance:.1e}")


def run(program, *flags, code=0):
    done = saved_run.train(program, *flags)
    if done.returncode != code:
        sys.exit(f"{' '.join(map(str, [*program, *flags]))}: exit code {done.returncode}, not {code}\n{done.stderr}")
    return done


def copy(source, name, step):
    """A run as it was after a step, in a directory of that name."""
    target = OUT / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    for saved in target.glob("step-*"):
        if int(saved.name[5:]) > step:
            shutil.rmtree(saved)
    return target


def go_on(program, directory, *flags):
    """Resumes it to its end; returns what it said on stderr."""
    return run(program, "--resume", "auto", "--out", directory, "--quiet", *flags).stderr


def content(directory):
    """All its files' bytes, but for the lock."""
    return {str(path.relative_to(directory)): path.read_bytes()
            for path in sorted(directory.rglob("*")) if path.is_file() and path.name != "lock"}


def evaluated(program, weights, *flags):
    lines = run(program, "--evaluate", "--init-from", weights, *flags).stdout.splitlines()
    return {"loss": float(next(line for line in lines if line.startswith("loss")).split()[1])}


# ---- threads ---------------------------------------------------------------------------------------


def threads(train, whole):
    print("threads")
    same = copy(whole, "threads-1", 4)
    go_on(train, same)
    bits = {name for name in content(whole) if name.endswith(".safetensors") or name == "validation.csv"}
    expect(all(content(same).get(name) == content(whole)[name] for name in bits), "1 and 1 again: the same bits")

    two = copy(whole, "threads-2", 4)
    go_on(train, two, "--threads", 2)
    close("1, then 2", losses(two), losses(whole), ROUNDING)
    three = copy(two, "threads-3", 8)
    go_on(train, three, "--threads", 3)
    close("1, 2, then 3", losses(three), losses(whole), ROUNDING)
    last = "step-00000012/optimizer.safetensors"
    expect(content(three)[last] != content(whole)[last], "their last bits differ: other sums were compared")

    lost = copy(whole, "threads-fault", 4)
    saved_run.forget_moments(lost / "step-00000004")
    go_on(train, lost, "--threads", 2)
    far("moments lost on the way", losses(lost), losses(whole), ROUNDING)


# ---- precision -------------------------------------------------------------------------------------


def precisions(train, whole, half):
    print("precision")
    for source, other in ((whole, "bf16"), (half, "fp32")):
        before = content(source)
        for flags in (("--resume", "auto", "--out", source), ("--resume", source / "step-00000008", "--out", OUT / "elsewhere")):
            said = run(train, *flags, "--precision", other, "--quiet", code=2).stderr
            expect("is of another --precision" in said and "--init-from" in said and "terminate" not in said,
                   f"--resume {flags[1] if flags[1] == 'auto' else 'PATH'} with --precision {other}: refused, with what to do")
        expect(content(source) == before, "and nothing of the run has changed")

        weights = source / "step-00000008"
        own, others = evaluated(train, weights), evaluated(train, weights, "--precision", other)
        close(f"its weights evaluated in {other}", others, own, ROUNDING_BF16)
        started = {}
        for precision in ("fp32", "bf16"):
            out = OUT / f"from-{other}-{precision}"
            run(train, *FLAGS, "--threads", 1, "--steps", 4, "--lr", 2e-3, "--precision", precision, "--init-from", weights, "--out", out)
            started[precision] = losses(out)
        close("a run that starts from them, in either", started["bf16"], started["fp32"], ROUNDING_BF16)

        broken = copy(source, "precision-fault", 8) / "step-00000008"
        saved_run.rewrite(broken / "model.safetensors",
                          lambda name, data: bytes(len(data)) if name.endswith("output_norm.weight") else data)
        far("output norms lost on the way", evaluated(train, broken, "--precision", other), own, ROUNDING_BF16)


# ---- machines --------------------------------------------------------------------------------------


def libraries(train, whole):
    """Products chosen from a library that is not here."""
    print("libraries")
    there = copy(whole, "library", 4)
    (there / "step-00000004/products.txt").write_text("fp32 nn 128 16 16 set accelerate 2.00\n")
    said = go_on(train, there)
    expect("accelerate" in said and "cannot be followed here: the last bits may differ" in said, "one that is not here is named")
    close("without it", losses(there), losses(whole), ROUNDING)


def machines(train, other, whole, half):
    print("machines: aarch64, by qemu")
    there = copy(whole, "to-aarch64", 4)
    go_on(other, there)
    close("x86-64, then aarch64", losses(there), losses(whole), ROUNDING)
    back = copy(there, "and-back", 8)
    go_on(train, back)
    close("and back", losses(back), losses(whole), ROUNDING)

    theirs = OUT / "whole-aarch64"
    run(other, *FLAGS, "--threads", 1, "--out", theirs)
    close("all on aarch64, from the seed on", losses(theirs), losses(whole), ROUNDING)
    here = copy(theirs, "from-aarch64", 4)
    go_on(train, here)
    close("aarch64, then x86-64", losses(here), losses(theirs), ROUNDING)
    rounded = copy(half, "bf16-to-aarch64", 4)
    go_on(other, rounded)
    close("x86-64, then aarch64, in bf16", losses(rounded), losses(half), ROUNDING_BF16)
    said = ""
    for kind, precision in old.KINDS.items():
        found, expected = {}, {}
        versions = [version for version in old.VERSIONS if (version / kind).exists()]
        for version in versions:
            there = copy(version / kind, f"{version.name}-{kind}", old.STEP)
            said += go_on(other, there, "--tune", "off")
            found |= {(version.name, *at): loss for at, loss in losses(there).items()}
            expected |= {(version.name, *at): loss for at, loss in losses(version / kind).items()}
        close(f"{len(versions)} versions' {kind}", found, expected, old.TOLERANCE[precision])
    expect(all("cannot be followed here" in line for line in said.splitlines()),
           f"of their libraries {len(said.splitlines())} are not there, and nothing else is said")

    for name, machine in (("export", train), ("export-aarch64", other)):
        shutil.rmtree(OUT / name, ignore_errors=True)
        run(machine, "--export-hf", OUT / name, "--init-from", whole)
    expect(content(OUT / "export") == content(OUT / "export-aarch64") != {}, "exports have the same bytes")
    close("evaluated there", evaluated(other, whole), evaluated(train, whole), 1e-4)  # printed with four digits

    lost = copy(whole, "aarch64-fault", 4)
    saved_run.forget_moments(lost / "step-00000004")
    go_on(other, lost)
    far("moments lost on the way", losses(lost), losses(whole), ROUNDING)


def main():
    train = [os.path.abspath(sys.argv[1])]
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    whole, half = OUT / "whole", OUT / "whole-bf16"
    run(train, *FLAGS, "--threads", 1, "--out", whole)
    run(train, *FLAGS, "--threads", 1, "--precision", "bf16", "--out", half)
    threads(train, whole)
    precisions(train, whole, half)
    libraries(train, whole)
    other = sys.argv[2] if len(sys.argv) > 2 else ""
    if other and os.path.exists(other) and shutil.which(QEMU[0]):
        machines(train, [*QEMU, os.path.abspath(other)], whole, half)
    else:
        print("skipped: machines (no train for aarch64, or no qemu-aarch64-static: make deps-cross)")
    if failures:
        sys.exit(f"{failures} failed")


if __name__ == "__main__":
    main()
