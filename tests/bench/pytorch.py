#!/usr/bin/env python3
"""The same model and training step in PyTorch, eager and fp32, to compare ./train with.

Prints the seconds of each counted step. Run by tests/bench/compare.sh, in turn with ./train.
"""
import argparse
import math
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class RMSNorm(nn.Module):
    def __init__(self, width, eps=1e-5):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return self.gamma * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x, cos, sin, mask):
        B, T, C = x.shape
        q, k, v = (m(x).view(B, T, self.heads, -1).transpose(1, 2) for m in (self.q, self.k, self.v))

        def rope(u):
            a, b = u.chunk(2, -1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

        scores = rope(q) @ rope(k).transpose(-1, -2) / math.sqrt(q.shape[-1])
        probabilities = scores.masked_fill(mask, -math.inf).softmax(-1)
        return self.o((probabilities @ v).transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, width, ffn):
        super().__init__()
        self.gate, self.up = (nn.Linear(width, ffn, bias=False) for _ in range(2))
        self.down = nn.Linear(ffn, width, bias=False)

    def forward(self, x, *_):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class PeriLN(nn.Module):
    def __init__(self, layers, width, heads, ffn, vocab):
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        self.head = nn.Linear(width, vocab, bias=False)
        self.first, self.last = RMSNorm(width), RMSNorm(width)
        modules = [m for _ in range(layers) for m in (Attention(width, heads), MLP(width, ffn))]
        self.sublayers = nn.ModuleList(modules)
        self.input_norms = nn.ModuleList(RMSNorm(width) for _ in modules)
        self.output_norms = nn.ModuleList(RMSNorm(width) for _ in modules)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, 0, 0.02)

    def forward(self, tokens, labels, cos, sin, mask):
        x = self.first(self.embedding(tokens))
        for module, a, b in zip(self.sublayers, self.input_norms, self.output_norms):
            x = x + b(module(a(x), cos, sin, mask))
        return F.cross_entropy(self.head(self.last(x)).flatten(0, 1), labels.flatten())


def main():
    parser = argparse.ArgumentParser()
    for name, value in dict(layers=12, width=128, heads=4, ffn=384, vocab=256, batch=16, seq=128,
                            steps=10, threads=0).items():
        parser.add_argument("--" + name, type=int, default=value)
    a = parser.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    model = PeriLN(a.layers, a.width, a.heads, a.ffn, a.vocab)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.033)
    half = a.width // a.heads // 2
    angles = torch.arange(a.seq)[:, None] * 10000.0 ** (-torch.arange(half)[None] / half)
    mask = torch.ones(a.seq, a.seq, dtype=torch.bool).triu(1)
    tokens = torch.randint(a.vocab, (a.batch, a.seq + 1))
    for step in range(a.steps + 2):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = model(tokens[:, :-1], tokens[:, 1:], angles.cos(), angles.sin(), mask)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()
        if step >= 2:
            print(f"{time.perf_counter() - start:.4f}")


if __name__ == "__main__":
    main()
