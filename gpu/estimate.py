#!/usr/bin/env python3
"""Milliseconds a micro-batch of the paper's models on an H200, on paper: operations and bytes of each kernel over
the rate that such a kernel is expected to reach.

    python3 gpu/estimate.py            the table of gpu/README.md
    python3 gpu/estimate.py tiles      attention by the program's own tiles in place of cuDNN

Nothing here was measured on a GPU. The rates are assumptions, each with where it comes from.
"""
import sys

T, V, CHUNK = 8192, 100277, 2560   # tokens a sequence, vocabulary, rows of the head at once
# sequences a micro-batch, layers, width, heads, width of the MLP
MODELS = {"400m": (4, 24, 1024, 8, 3840), "1.5b": (2, 24, 2048, 16, 7680), "3.2b": (2, 32, 2560, 16, 9600)}

# FLOP/s of cuBLASLt's bf16 products by width: 57 to 69 % of 989 T, what llm.c and Megatron-LM reach at these sizes
PRODUCTS = {1024: 560e12, 2048: 651e12, 2560: 680e12}
HEAD = 650e12                      # the head's, whose sizes are all large
# FLOP/s of attention, forward and backward, by head size: NVIDIA's table of cuDNN 9 on an H200, backward less a
# quarter for being deterministic; a head of 160 has half-empty tiles
CUDNN = {128: (590e12, 400e12), 160: (330e12, 230e12)}
TILES = {128: (300e12, 178e12), 160: (270e12, 125e12)}  # gpu/README.md derives these
COPY = 3.5e12                      # bytes/s of kernels with 16-byte loads: 0.8 of the 4.3 T that a copy reaches
LAUNCHES, GAP = 43, 2.5e-6         # kernels a layer, forward and backward; seconds from one to the next


def products(B, layers, C, heads, F):
    """q, k, v, o; gate, up, down: forward, and twice that backward."""
    return 6 * B * T * layers * (4 * C * C + 3 * C * F) / PRODUCTS[C]


def attention(B, layers, C, heads, F, rates):
    """Causal, so half of T x T: two products forward, five backward."""
    forward, backward = rates[C // heads]
    one = 2 * B * layers * T * T * C / 2
    return 2 * one / forward + 5 * one / backward


def elementwise(B, layers, C, heads, F):
    """Numbers of bf16 that each kernel moves a row, as the comments beside them say, with Peri-LN's norms: input
    and output norm of two sub-layers, RoPE of q and k, SwiGLU; forward and backward."""
    norms = 2 * (2 + 3) * C + 2 * (4 + 3) * C  # forward: A 2, B with the residual 3; backward: A with it 4, B 3
    rope = 2 * 2 * 2 * C
    swiglu = (3 + 5) * F
    return 2 * B * T * layers * (norms + rope + swiglu) / COPY


def head(B, layers, C, heads, F):
    """Three products in chunks of rows, each of which rereads w twice (bf16) and dw (fp32, read and written);
    softmax: 4 bytes a logit for the sum, 4 and 2 for its gradient."""
    rows = B * T
    chunks = -(-rows // CHUNK)
    return (6 * rows * C * V / HEAD + chunks * V * C * (2 * 2 + 2 * 4) / COPY + rows * V * 10 / COPY)


def embedding(B, layers, C, heads, F):
    """Both passes, and a row of dtable read and written for each row at most."""
    return B * T * C * (2 * 2 + 2 + 2 * 4) / COPY + 0.5e-3  # blocks that find their row is another's


def main():
    rates = TILES if sys.argv[1:] == ["tiles"] else CUDNN
    print("| | " + " | ".join(f"`{name}`" for name in MODELS) + " |")
    print("|---|" + "---|" * len(MODELS))
    parts = {"products of the layers": products, "attention": lambda *m: attention(*m, rates), "head and loss": head,
             "norms, RoPE, SwiGLU": elementwise, "embedding": embedding, "between kernels": lambda *m: m[1] * LAUNCHES * GAP}
    for name, part in parts.items():
        print(f"| {name} | " + " | ".join(f"{1e3 * part(*m):.0f} ms" for m in MODELS.values()) + " |")
    sums = {name: sum(part(*m) for part in parts.values()) for name, m in MODELS.items()}
    print("| a micro-batch | " + " | ".join(f"{1e3 * s:.0f} ms" for s in sums.values()) + " |")
    print("| tokens/s | " + " | ".join(f"{MODELS[n][0] * T / s / 1e3:.1f}k" for n, s in sums.items()) + " |")


if __name__ == "__main__":
    main()
