#!/usr/bin/env python3
"""Seconds a step of the paper's models on 1 to 1,024 GPUs by data parallelism with ZeRO-1, on paper.

    python3 docs/scaling.py            the table of docs/scaling.md

A step of one GPU: operations / (share x peak). Between GPUs: every process sends its gradients, in fp32,
but for its own piece (reduce-scatter) and receives the weights of the others' pieces, in bf16
(all-gather): 4 P and 2 P bytes for P parameters, (N - 1) / N of them. What stays within a node goes over
NVLink, the rest through each GPU's own network adapter, both at a share of their published rates. As the
program is, everyone sends to everyone. `nodes` adds up within each node first (tree.h's order allows that),
and then 1 / (GPUs of a node) of the bytes leaves it. Nothing here was measured on a GPU.
"""

PEAK = 989e12          # FLOP/s of an H100 or H200 in bf16, dense (NVIDIA's data sheet)
SHARE = 0.45           # of it that a step's operations use: llm.c, Megatron-LM, llm-foundry report 0.35 to 0.48
NVLINK = 450e9         # bytes a second and direction (data sheet: 900 GB/s both ways)
NETWORK = 50e9         # bytes a second and GPU: 400 Gbit/s InfiniBand each
EFFICIENCY = 0.7       # of both, that large messages get
NODE = 8               # GPUs
SEQUENCES, LENGTH = 256, 8192  # a step's, in all

# parameters, those a token multiplies with (all but the embedding), layers, width (docs/speed.md)
MODELS = {"400m": (589e6, 487e6, 24, 1024), "1.5b": (1946e6, 1741e6, 24, 2048),
          "3.2b": (3712e6, 3455e6, 32, 2560)}


def compute(model, gpus):
    """Seconds of a GPU's share of the operations: whole sequences."""
    _, multiplied, layers, width = MODELS[model]
    operations = 6 * multiplied + 6 * layers * width * LENGTH
    return -(-SEQUENCES // gpus) * LENGTH * operations / (SHARE * PEAK)


def communicate(model, gpus, nodes):
    """Seconds of reduce-scatter and all-gather, one after the other."""
    size = 6 * MODELS[model][0]  # bytes: fp32 gradients, bf16 weights
    here = min(gpus, NODE)
    outside = (gpus - here) / gpus / (NODE if nodes else 1)
    inside = (here - 1) / here if nodes else (here - 1) / gpus
    return size * (inside / (EFFICIENCY * NVLINK) + outside / (EFFICIENCY * NETWORK))


def step(model, gpus, nodes=False, overlap=False):
    """With overlap two thirds of the operations, backward's, can hide the gradients' two thirds of the
    bytes; the weights' third waits for the update."""
    work, talk = compute(model, gpus), communicate(model, gpus, nodes)
    if not overlap:
        return work + talk
    return work + talk / 3 + max(0.0, 2 / 3 * talk - 2 / 3 * work)


def main():
    print("| GPUs | " + " | ".join(f"`{m}`, seconds a step" for m in MODELS)
          + " | efficiency of the three | with `nodes` | with `nodes` and overlap |")
    print("|---|" + "---|" * (len(MODELS) + 3))
    for gpus in (1, 8, 16, 32, 64, 128, 256, 512, 1024):
        cells = [f"{step(m, gpus):.2f}" for m in MODELS]
        for flags in ((), (True,), (True, True)):
            cells.append(", ".join(f"{100 * compute(m, 1) / gpus / step(m, gpus, *flags):.0f} %"
                                   for m in MODELS))
        print(f"| {gpus} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
