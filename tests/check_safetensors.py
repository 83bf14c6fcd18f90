"""Checkpoints and the Python package `safetensors`: each reads what the other has written.

usage: check_safetensors.py TRAIN DIRECTORY   (the program; a directory for its runs, made anew)

What is written here must be read by the package with the names, shapes and bytes that this file
finds by a reader of its own. What the package writes from them must give the same loss, to the last
digit printed. Runs in fp32 and bf16; PyTorch is not needed, as the package hands out raw bytes.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

try:
    import ml_dtypes
    import numpy
    import safetensors
    import safetensors.numpy
except ImportError as error:
    print(f"skipped: check-safetensors ({error}: pip install safetensors numpy ml_dtypes)")
    sys.exit(0)

train, directory = sys.argv[1], Path(sys.argv[2])
small = "--size tiny --batch 2 --seq 17 --tune off --threads 1 --val-batches 2".split()


def run(*flags):
    """What ./train prints."""
    command = [train, *small, *map(str, flags)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    assert done.returncode == 0, done.stderr
    return done.stdout


def loss(weights, config):
    lines = run("--evaluate", "--init-from", weights, "--config", config).splitlines()
    return [line for line in lines if line.startswith(("loss", "perplexity"))]


def read(path):
    """The format, read without the package: name -> (dtype, shape, bytes)."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    return {
        name: (t["dtype"], t["shape"], data[start:][slice(*t["data_offsets"])])
        for name, t in header.items()
    }


def read_by_package(path):
    tensors = safetensors.deserialize(path.read_bytes())
    return {name: (t["dtype"], list(t["shape"]), bytes(t["data"])) for name, t in tensors}


def check_numpy(path):
    """The same once more as most programs use the package."""
    expected = read(path)
    with safetensors.safe_open(path, framework="np") as file:
        assert set(file.keys()) == set(expected)
        assert file.metadata()["step"] == "3"
        for name, (dtype, shape, data) in expected.items():
            array = file.get_tensor(name)
            assert (dtype, array.dtype) == ("F32", numpy.float32), name
            assert list(array.shape) == shape, name
            assert array.tobytes() == data, name


def check_read(checkpoint):
    for name in "model.safetensors", "optimizer.safetensors":
        ours, theirs = read(checkpoint / name), read_by_package(checkpoint / name)
        assert ours == theirs and len(ours) > 20, checkpoint / name


def check_written(checkpoint, as_type=lambda array: array):
    """The package's own file of these weights gives their loss."""
    config, path = checkpoint / "config.json", directory / "by_package.safetensors"
    arrays = safetensors.numpy.load_file(checkpoint / "model.safetensors")
    safetensors.numpy.save_file({name: as_type(array) for name, array in arrays.items()}, path)
    written = loss(path, config)
    assert len(written) == 2
    return written


shutil.rmtree(directory, ignore_errors=True)
run("--steps", 3, "--out", directory / "fp32")
run("--steps", 3, "--precision", "bf16", "--out", directory / "bf16")
fp32, bf16 = (directory / name / "step-00000003" for name in ("fp32", "bf16"))

check_numpy(fp32 / "model.safetensors")
check_numpy(fp32 / "optimizer.safetensors")
check_read(fp32)
check_read(bf16)
assert {dtype for dtype, _, _ in read(bf16 / "model.safetensors").values()} == {"BF16", "F32"}

expected = loss(fp32, fp32 / "config.json")
assert check_written(fp32) == expected
assert check_written(fp32, lambda array: array.astype(numpy.float64)) == expected
# rounded to 10 bits of fraction: the same numbers as fp16 and as fp32, but not the weights' own
half = check_written(fp32, lambda array: array.astype(numpy.float16))
assert half == check_written(fp32, lambda array: array.astype(numpy.float16).astype(numpy.float32))
assert half != expected

numpy_types = {"BF16": ml_dtypes.bfloat16, "F32": numpy.float32}
arrays = {
    name: numpy.frombuffer(data, numpy_types[dtype]).reshape(shape)
    for name, (dtype, shape, data) in read(bf16 / "model.safetensors").items()
}
path = directory / "bf16_by_package.safetensors"
safetensors.numpy.save_file(arrays, path)
assert read(path) == read(bf16 / "model.safetensors")
assert loss(path, bf16 / "config.json") == loss(bf16, bf16 / "config.json") != expected

print(f"safetensors {safetensors.__version__}: {len(arrays)} tensors in fp32 and in bf16, "
      "read and written by both: the same bytes, the same loss")
