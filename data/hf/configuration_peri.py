"""The settings of a Transformer whose norms may sit anywhere (modeling_peri.py)."""

from transformers import PretrainedConfig


class PeriConfig(PretrainedConfig):
    """`sublayers` is the table of placements: for attention and MLP of each layer by turns, a row

        {"A": True, "B": True, "C": False, "alpha": 1.0, "qk": "none", "inner": False}

    A, B, C: norms before the module, behind it, and behind the addition (the Peri-LN paper's
    Figure 2); alpha: the weight of the residual stream; qk: "none", "head" or "full", norms of the
    queries and keys, each head alone or all together; inner: norms of value, gate and up.
    """

    model_type = "peri"

    def __init__(
        self,
        vocab_size=256,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=0,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=128,
        rope_theta=10000.0,
        norm_eps=1e-5,
        layernorm=False,
        embedding_norm=False,
        final_norm=True,
        sublayers=(),
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.max_position_embeddings = max_position_embeddings
        self.rope_theta = rope_theta
        self.norm_eps = norm_eps
        self.layernorm = layernorm
        self.embedding_norm = embedding_norm
        self.final_norm = final_norm
        self.sublayers = list(sublayers)
        super().__init__(**{"tie_word_embeddings": False, **kwargs})

    @property
    def head_size(self):
        return self.hidden_size // self.num_attention_heads
