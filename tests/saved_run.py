"""Runs' directories and checkpoints as the tests read, change and compare them."""
import csv
import json
import struct
import subprocess
import zlib

EPSILON = {"fp32": 2.0 ** -23, "bf16": 2.0 ** -8, "fp16": 2.0 ** -11}


def train(program, *flags, **more):
    """program: a list, such as qemu's words before the path."""
    return subprocess.run([*program, *map(str, flags)], capture_output=True, text=True, errors="replace", timeout=300, **more)


def rows(path):
    """The rows of a table by their step."""
    with open(path, newline="") as file:
        return {int(row["step"]): row for row in csv.DictReader(file)}


def losses(run, after=0):
    """Of training and of validation, by table and step."""
    return {(name, step): float(row["loss"]) for name in ("metrics.csv", "validation.csv")
            for step, row in rows(run / name).items() if step > after}


def apart(found, expected):
    """The largest relative difference of losses; infinite where steps are missing or a loss is no number."""
    if found.keys() != expected.keys() or not expected:
        return float("inf")
    worst = max(abs(found[at] - expected[at]) / abs(expected[at]) for at in expected)
    return worst if all(value == value for value in found.values()) else float("inf")


# ---- safetensors -----------------------------------------------------------------------------------


def header(path):
    """The header as it is, and where the numbers begin."""
    data = path.read_bytes()
    end = 8 + struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:end]), end


def rewrite(path, change, checksums=True):
    """Gives each tensor the bytes change(name, bytes), with checksums that fit, or none at all."""
    head, begin = header(path)
    data = path.read_bytes()[begin:]
    numbers = b""
    for name, tensor in sorted(((n, t) for n, t in head.items() if n != "__metadata__"), key=lambda t: t[1]["data_offsets"]):
        first, end = tensor["data_offsets"]
        changed = change(name, data[first:end])
        assert len(changed) == end - first
        numbers += changed
        if checksums:
            head["__metadata__"]["crc32 " + name] = f"{zlib.crc32(changed):08x}"
        else:
            del head["__metadata__"]["crc32 " + name]
    text = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)


def forget_moments(checkpoint):
    """The fault that comparisons must see: a checkpoint, whole by its checksums, whose moments are all 0."""
    rewrite(checkpoint / "optimizer.safetensors",
            lambda name, data: data if name.startswith("master.") else bytes(len(data)))
