#!/usr/bin/env python3
"""The same model and training step in PyTorch, to compare ./train with.

Prints the seconds of each counted step, or "skipped: REASON" where this PyTorch lacks what a mode
needs. Run by tests/bench/compare.sh, in turn with ./train.

  eager     every operation as it is written here
  fused     scaled_dot_product_attention, rms_norm and AdamW as single operations
  compiled  fused, through torch.compile
"""
import argparse
import contextlib
import math
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


def fused_attention():
    return getattr(F, "scaled_dot_product_attention", None)


class RMSNorm(nn.Module):
    def __init__(self, width, fused, eps=1e-5):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.fused = fused and hasattr(F, "rms_norm")
        self.eps = eps

    def forward(self, x):
        if self.fused:
            return F.rms_norm(x, x.shape[-1:], self.gamma, self.eps)
        return self.gamma * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


class Attention(nn.Module):
    def __init__(self, width, heads, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x, cos, sin, mask):
        B, T, C = x.shape
        q, k, v = (m(x).view(B, T, self.heads, -1).transpose(1, 2) for m in (self.q, self.k, self.v))

        def rope(u):
            a, b = u.chunk(2, -1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

        q, k = rope(q), rope(k)
        if self.fused:
            y = fused_attention()(q, k, v, is_causal=True)
        else:
            scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
            y = scores.masked_fill(mask, -math.inf).softmax(-1) @ v
        return self.o(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, width, ffn):
        super().__init__()
        self.gate, self.up = (nn.Linear(width, ffn, bias=False) for _ in range(2))
        self.down = nn.Linear(ffn, width, bias=False)

    def forward(self, x, *_):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class PeriLN(nn.Module):
    def __init__(self, layers, width, heads, ffn, vocab, fused):
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        self.head = nn.Linear(width, vocab, bias=False)
        self.first, self.last = RMSNorm(width, fused), RMSNorm(width, fused)
        modules = [m for _ in range(layers) for m in (Attention(width, heads, fused), MLP(width, ffn))]
        self.sublayers = nn.ModuleList(modules)
        self.input_norms = nn.ModuleList(RMSNorm(width, fused) for _ in modules)
        self.output_norms = nn.ModuleList(RMSNorm(width, fused) for _ in modules)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0, 0.02)

    def forward(self, tokens, labels, cos, sin, mask):
        x = self.first(self.embedding(tokens))
        for module, a, b in zip(self.sublayers, self.input_norms, self.output_norms):
            x = x + b(module(a(x), cos, sin, mask))
        return F.cross_entropy(self.head(self.last(x)).flatten(0, 1), labels.flatten())


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    for name, value in dict(layers=12, width=128, heads=4, ffn=384, vocab=256, batch=16, seq=128,
                            steps=10, warmup=2, threads=0).items():
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--mode", choices=("eager", "fused", "compiled"), default="eager")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "autocast", "bf16"), default="fp32")
    return parser.parse_args()


def make(a):
    """The model, as a function of a batch, and its optimizer."""
    fused = a.mode != "eager"
    if fused and not fused_attention():
        sys.exit(print("skipped: no scaled_dot_product_attention"))
    if a.mode == "compiled" and not hasattr(torch, "compile"):
        sys.exit(print("skipped: no torch.compile"))
    model = PeriLN(a.layers, a.width, a.heads, a.ffn, a.vocab, fused)
    if a.precision == "bf16":
        model = model.bfloat16()
    settings = dict(lr=1e-3, betas=(0.9, 0.95), weight_decay=0.033)
    try:
        optimizer = torch.optim.AdamW(model.parameters(), fused=fused, **settings)
    except (RuntimeError, TypeError):  # this version's fused AdamW wants a GPU, or there is none
        optimizer = torch.optim.AdamW(model.parameters(), **settings)
    return (torch.compile(model) if a.mode == "compiled" else model), optimizer


def main():
    a = parse()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    if a.device != "cpu":
        torch.set_default_device(a.device)
    model, optimizer = make(a)
    half = a.width // a.heads // 2
    angles = torch.arange(a.seq)[:, None] * 10000.0 ** (-torch.arange(half)[None] / half)
    kind = torch.bfloat16 if a.precision == "bf16" else torch.float32
    cos, sin = angles.cos().to(kind), angles.sin().to(kind)
    mask = torch.ones(a.seq, a.seq, dtype=torch.bool).triu(1)
    tokens = torch.randint(a.vocab, (a.batch, a.seq + 1))
    for step in range(a.steps + a.warmup):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with (torch.autocast(a.device, torch.bfloat16) if a.precision == "autocast"
              else contextlib.nullcontext()):
            loss = model(tokens[:, :-1], tokens[:, 1:], cos, sin, mask)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
        if step >= a.warmup:
            print(f"{time.perf_counter() - start:.4f}", flush=True)


if __name__ == "__main__":
    main()
