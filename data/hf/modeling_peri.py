"""A Transformer whose norms may sit anywhere, as peri.cpp trains it (there: src/model.cpp).

Every sub-layer, attention or MLP, is five lines in the notation of the Peri-LN paper:

    x~ = A ? Norm(x) : x
    a  = Module(x~)
    a~ = B ? Norm(a) : a
    o  = alpha x + a~
    y  = C ? Norm(o) : o

The configuration holds a row of A, B, C and alpha for each. Tensors have the names that they have
in peri.cpp's checkpoints.
"""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_peri import PeriConfig


class Norm(nn.Module):
    """gamma (x - mean) / sqrt(var + eps) + beta, in fp32. RMSNorm has neither mean nor beta.

    Rows are as wide as gamma: of queries and keys that is one head, or all of them together.
    """

    def __init__(self, config, width):
        super().__init__()
        self.eps = config.norm_eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if config.layernorm else None

    def forward(self, x):
        rows = x.float().unflatten(-1, (-1, self.weight.numel()))
        if self.bias is not None:
            rows = rows - rows.mean(-1, keepdim=True)
        rows = self.weight * rows * torch.rsqrt(rows.square().mean(-1, keepdim=True) + self.eps)
        if self.bias is not None:
            rows = rows + self.bias
        return rows.flatten(-2).to(x.dtype)


def norm_if(present, config, width):
    return Norm(config, width) if present else nn.Identity()


def linear(inputs, outputs):
    return nn.Linear(inputs, outputs, bias=False)


class SubLayer(nn.Module):
    def __init__(self, config, row):
        super().__init__()
        self.alpha = row["alpha"]
        self.input_norm = norm_if(row["A"], config, config.hidden_size)
        self.output_norm = norm_if(row["B"], config, config.hidden_size)
        self.main_norm = norm_if(row["C"], config, config.hidden_size)

    def forward(self, x, **context):
        a = self.module(self.input_norm(x), **context)
        o = self.alpha * x + self.output_norm(a)
        return self.main_norm(o)


class Attention(SubLayer):
    """q, k, v -> [Norm] -> RoPE -> softmax(q k^T / sqrt(D)) v -> o"""

    def __init__(self, config, row, layer):
        super().__init__(config, row)
        C, D = config.hidden_size, config.head_size
        kv_width = config.num_key_value_heads * D
        self.layer, self.head_size = layer, D
        self.q, self.o = linear(C, C), linear(C, C)
        self.k, self.v = linear(C, kv_width), linear(C, kv_width)
        full = row["qk"] == "full"
        self.q_norm = norm_if(row["qk"] != "none", config, C if full else D)
        self.k_norm = norm_if(row["qk"] != "none", config, kv_width if full else D)
        self.v_norm = norm_if(row["inner"], config, kv_width)

    def heads(self, x):  # (B, T, H D) -> (B, H, T, D)
        return x.unflatten(-1, (-1, self.head_size)).transpose(1, 2)

    def module(self, x, rope, mask, cache):
        q = rotated(self.heads(self.q_norm(self.q(x))), rope)
        k = rotated(self.heads(self.k_norm(self.k(x))), rope)
        v = self.heads(self.v_norm(self.v(x)))
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
        return self.o(context.transpose(1, 2).flatten(-2))


class MLP(SubLayer):
    """gate, up -> [Norm] -> silu(gate) up -> down"""

    def __init__(self, config, row):
        super().__init__(config, row)
        C, ffn = config.hidden_size, config.intermediate_size
        self.gate, self.up, self.down = linear(C, ffn), linear(C, ffn), linear(ffn, C)
        self.gate_norm = norm_if(row["inner"], config, ffn)
        self.up_norm = norm_if(row["inner"], config, ffn)

    def module(self, x, **_):
        return self.down(F.silu(self.gate_norm(self.gate(x))) * self.up_norm(self.up(x)))


def rope_table(positions, head_size, base):
    """cos and sin of theta = position base^(-2i/D), i < D/2: (B, 1, T, D/2) each"""
    i = torch.arange(0, head_size, 2, device=positions.device, dtype=torch.float32)
    theta = positions[:, None, :, None].float() * base ** (-i / head_size)
    return theta.cos(), theta.sin()


def rotated(x, rope):
    """Each pair (x[i], x[i + D/2]) of each head, by the angle of its position."""
    cos, sin = rope
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


def causal_mask(first, T, attention_mask, device):
    """(B or 1, 1, T, first + T): query first + t sees keys 0 .. first + t, without those padded."""
    queries = torch.arange(first, first + T, device=device)[:, None]
    keys = torch.arange(first + T, device=device)
    mask = (keys <= queries)[None, None]
    if attention_mask is None:
        return mask
    # a padded query sees itself, as the softmax of nothing would be NaN
    return mask & attention_mask[:, None, None, :].bool() | (keys == queries)


class PeriForCausalLM(PreTrainedModel, GenerationMixin):
    """embedding -> [Norm] -> sub-layers -> [Norm] -> head"""

    config_class = PeriConfig
    _supports_sdpa = True
    _no_split_modules = ["Attention", "MLP"]

    def __init__(self, config):
        super().__init__(config)
        C, rows = config.hidden_size, config.sublayers
        self.embedding = nn.Embedding(config.vocab_size, C)
        self.embedding_norm = norm_if(config.embedding_norm, config, C)
        self.layers = nn.ModuleList(
            nn.ModuleDict({"attention": Attention(config, a, i), "mlp": MLP(config, m)})
            for i, (a, m) in enumerate(zip(rows[::2], rows[1::2]))
        )
        self.final_norm = norm_if(config.final_norm, config, C)
        self.head = linear(C, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.embedding

    def set_input_embeddings(self, embedding):
        self.embedding = embedding

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, head):
        self.head = head

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        logits_to_keep=0,
        cache=None,  # what transformers from 5.24 on calls past_key_values
        **kwargs,
    ):
        embedded = self.embedding(input_ids) if inputs_embeds is None else inputs_embeds
        T = embedded.shape[1]
        cache = past_key_values if cache is None else cache
        if use_cache and cache is None:
            cache = DynamicCache()
        first = 0 if cache is None else cache.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(first, first + T, device=embedded.device)[None]
        context = {
            "rope": rope_table(position_ids, self.config.head_size, self.config.rope_theta),
            "mask": causal_mask(first, T, attention_mask, embedded.device),
            "cache": cache,
        }
        x = self.embedding_norm(embedded)
        for layer in self.layers:
            x = layer["attention"](x, **context)
            x = layer["mlp"](x)
        x = self.final_norm(x)
        rows = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.head(x[:, rows])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(loss, logits, cache)
