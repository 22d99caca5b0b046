"""Published decoders by name."""

from __future__ import annotations

from functools import partial
from typing import Any

from workloads.networks.config import Config, Latent

# Radford et al. 2019, huggingface gpt2*: learned positions, biases everywhere, head tied to the word table.
GPT2: dict[str, Any] = {
    "vocab": 50257, "positions": 1024, "most_positions": 1024, "rotated": 0, "activation": "gelu_tanh", "gated": False,
    "norm": "layernorm", "biases": True, "tied": True,
}  # fmt: skip
# Zhang et al. 2022, facebook/opt-*: positions begin at 2.
OPT: dict[str, Any] = {**GPT2, "vocab": 50272, "positions": 2050, "most_positions": 2048, "activation": "relu"}
# Touvron et al. 2023, Llama 2; Llama 3 model card: RMSNorm, rotary embedding, SwiGLU, no biases.
LLAMA2 = partial(Config, vocab=32000, most_positions=4096)
LLAMA3 = partial(Config, vocab=128256, most_positions=8192, rope_base=500000.0, kv_heads=8)
# Qwen2 (Yang et al. 2024): biases of Q, K and V; small ones share the word table with the head.
QWEN2 = partial(Config, most_positions=32768, rope_base=1000000.0, qkv_bias=True)
# Qwen3 (2025): an RMSNorm of each head of Q and K. DeepSeekMoE (Dai et al. 2024): shared experts beside the routed.
QWEN3 = partial(Config, most_positions=40960, rope_base=1000000.0, qk_norm="head")
# Gemma (2024): heads of 256 columns, GeGLU, tied head.
GEMMA = partial(Config, vocab=256000, most_positions=8192, head_dim=256, activation="gelu_tanh", tied=True)
# Gemma 2, 3 (2024, 2025): norms on both sides of each branch; windows, except in every second or sixth layer.
GEMMA2 = partial(GEMMA, norms_at="both", window=4096, full_every=2, capped=True)
GEMMA3 = partial(
    GEMMA, vocab=262144, most_positions=32768, norms_at="both", window=512, full_every=6, qk_norm="head",
    rope_base=1000000.0,
)  # fmt: skip
# Black et al. 2022, Biderman et al. 2023: both branches read x; a quarter of each head is rotated.
NEOX = partial(
    Config, norm="layernorm", gated=False, activation="gelu", biases=True, parallel_norms=2, most_positions=2048
)
# Li et al. 2023; Javaheripi et al. 2023. BigScience 2022. Almazrouei et al. 2023. Lozhkov et al. 2024. OLMo 2 (2024).
PHI = partial(NEOX, vocab=51200, activation="gelu_tanh", parallel_norms=1, head_bias=True, rotated=32)
BLOOM = partial(
    Config, vocab=250880, most_positions=2048, norm="layernorm", gated=False, activation="gelu_tanh", biases=True,
    alibi=True, word_norm=True, rotated=0, tied=True,
)  # fmt: skip
FALCON = partial(Config, vocab=65024, norm="layernorm", gated=False, activation="gelu", most_positions=2048, tied=True)
STARCODER2 = partial(
    Config, vocab=49152, most_positions=16384, norm="layernorm", gated=False, activation="gelu_tanh", biases=True,
    tied=True, window=4096,
)  # fmt: skip
STABLELM = partial(Config, norm="layernorm", most_positions=4096)
OLMO2 = partial(Config, vocab=100352, most_positions=4096, norms_at="branch", qk_norm="row", rope_base=500000.0)
# Jiang et al. 2023, 2024.
# DeepSeek-V2 and V3 (2024): latent attention, shared experts beside the routed ones, dense first layers.
DEEPSEEK = partial(Config, most_positions=163840, first_ffn=12288)
LITE = Latent(rank=512, plain=128, rotated=64, values=128)
FULL = Latent(rank=512, plain=128, rotated=64, values=128, query_rank=1536)
# gpt-oss (OpenAI 2025): biases everywhere, windows in every second layer, sinks.
GPT_OSS = partial(
    Config, hidden=2880, heads=64, kv_heads=8, head_dim=64, ffn=2880, vocab=201088, most_positions=131072, window=128,
    full_every=2, qkv_bias=True, out_bias=True, ffn_bias=True, router_bias=True, sinks=True, rope_base=150000.0,
    per_token=4,
)  # fmt: skip
# Black et al. 2021: windows in every second layer, no biases of Q, K and V.
GPT_NEO = partial(
    Config, vocab=50257, positions=2048, most_positions=2048, rotated=0, activation="gelu_tanh", gated=False,
    norm="layernorm", out_bias=True, ffn_bias=True, tied=True, window=256,
)  # fmt: skip
# Nijkamp et al. 2022; MosaicML 2023; Li et al. 2023; Lin et al. 2021.
CODEGEN = partial(
    Config, vocab=51200, most_positions=2048, parallel_norms=1, activation="gelu_tanh", gated=False, norm="layernorm",
    ffn_bias=True, head_bias=True,
)  # fmt: skip
MISTRAL = partial(Config, layers=32, hidden=4096, heads=32, kv_heads=8, ffn=14336, vocab=32000, most_positions=32768)

DECODERS: dict[str, Config] = {
    "gpt2": Config(layers=12, hidden=768, heads=12, ffn=3072, **GPT2),
    "gpt2-medium": Config(layers=24, hidden=1024, heads=16, ffn=4096, **GPT2),
    "gpt2-large": Config(layers=36, hidden=1280, heads=20, ffn=5120, **GPT2),
    "gpt2-xl": Config(layers=48, hidden=1600, heads=25, ffn=6400, **GPT2),
    "distilgpt2": Config(layers=6, hidden=768, heads=12, ffn=3072, **GPT2),
    "opt-125m": Config(layers=12, hidden=768, heads=12, ffn=3072, **OPT),
    "opt-350m": Config(layers=24, hidden=1024, heads=16, ffn=4096, norms_at="behind", embedding_size=512, **OPT),
    "opt-1.3b": Config(layers=24, hidden=2048, heads=32, ffn=8192, **OPT),
    "opt-2.7b": Config(layers=32, hidden=2560, heads=32, ffn=10240, **OPT),
    "opt-6.7b": Config(layers=32, hidden=4096, heads=32, ffn=16384, **OPT),
    "opt-13b": Config(layers=40, hidden=5120, heads=40, ffn=20480, **OPT),
    "opt-30b": Config(layers=48, hidden=7168, heads=56, ffn=28672, **OPT),
    "opt-66b": Config(layers=64, hidden=9216, heads=72, ffn=36864, **OPT),
    "llama-2-7b": LLAMA2(layers=32, hidden=4096, heads=32, ffn=11008),
    "llama-2-13b": LLAMA2(layers=40, hidden=5120, heads=40, ffn=13824),
    "llama-2-70b": LLAMA2(layers=80, hidden=8192, heads=64, kv_heads=8, ffn=28672),
    "tinyllama-1.1b": Config(layers=22, hidden=2048, heads=32, kv_heads=4, ffn=5632, vocab=32000, most_positions=2048),
    "llama-3-8b": LLAMA3(layers=32, hidden=4096, heads=32, ffn=14336),
    "llama-3-70b": LLAMA3(layers=80, hidden=8192, heads=64, ffn=28672),
    "llama-3.2-1b": LLAMA3(layers=16, hidden=2048, heads=32, ffn=8192, most_positions=131072, tied=True),
    "llama-3.2-3b": LLAMA3(layers=28, hidden=3072, heads=24, head_dim=128, ffn=8192, most_positions=131072, tied=True),
    "mistral-7b": MISTRAL(window=4096),
    "mixtral-8x7b": MISTRAL(experts=8, per_token=2, rope_base=1000000.0),
    "deepseek-moe-16b": Config(
        layers=28,
        hidden=2048,
        heads=16,
        ffn=1408,
        vocab=102400,
        most_positions=4096,
        experts=64,
        per_token=6,
        shared_ffn=2816,
        first_ffn=10944,
    ),
    "qwen3-30b-a3b": QWEN3(
        layers=48, hidden=2048, heads=32, kv_heads=4, head_dim=128, ffn=768, vocab=151936, experts=128, per_token=8
    ),
    "qwen2-0.5b": QWEN2(layers=24, hidden=896, heads=14, kv_heads=2, ffn=4864, vocab=151936, tied=True),
    "qwen2-1.5b": QWEN2(layers=28, hidden=1536, heads=12, kv_heads=2, ffn=8960, vocab=151936, tied=True),
    "qwen2-7b": QWEN2(layers=28, hidden=3584, heads=28, kv_heads=4, ffn=18944, vocab=152064),
    "gemma-2b": GEMMA(layers=18, hidden=2048, heads=8, kv_heads=1, ffn=16384),
    "gemma-7b": GEMMA(layers=28, hidden=3072, heads=16, ffn=24576),
    "qwen3-0.6b": QWEN3(layers=28, hidden=1024, heads=16, kv_heads=8, head_dim=128, ffn=3072, vocab=151936, tied=True),
    "qwen1.5-moe-a2.7b": QWEN2(
        layers=24,
        hidden=2048,
        heads=16,
        ffn=1408,
        vocab=151936,
        most_positions=8192,
        experts=60,
        per_token=4,
        shared_ffn=5632,
        shared_gate=True,
    ),
    "gemma-2-2b": GEMMA2(layers=26, hidden=2304, heads=8, kv_heads=4, ffn=9216),
    "gemma-2-9b": GEMMA2(layers=42, hidden=3584, heads=16, kv_heads=8, ffn=14336),
    "gemma-2-27b": GEMMA2(layers=46, hidden=4608, heads=32, kv_heads=16, head_dim=128, ffn=36864),
    "gemma-3-1b": GEMMA3(layers=26, hidden=1152, heads=4, kv_heads=1, ffn=6912),
    "pythia-70m": NEOX(layers=6, hidden=512, heads=8, ffn=2048, vocab=50304, rotated=16),
    "pythia-160m": NEOX(layers=12, hidden=768, heads=12, ffn=3072, vocab=50304, rotated=16),
    "pythia-410m": NEOX(layers=24, hidden=1024, heads=16, ffn=4096, vocab=50304, rotated=16),
    "pythia-1.4b": NEOX(layers=24, hidden=2048, heads=16, ffn=8192, vocab=50304, rotated=32),
    "pythia-2.8b": NEOX(layers=32, hidden=2560, heads=32, ffn=10240, vocab=50304, rotated=20),
    "pythia-6.9b": NEOX(layers=32, hidden=4096, heads=32, ffn=16384, vocab=50432, rotated=32),
    "gpt-neox-20b": NEOX(layers=44, hidden=6144, heads=64, ffn=24576, vocab=50432, rotated=24),
    "gpt-j-6b": NEOX(
        layers=28,
        hidden=4096,
        heads=16,
        ffn=16384,
        vocab=50400,
        rotated=64,
        activation="gelu_tanh",
        parallel_norms=1,
        biases=False,
        ffn_bias=True,
        head_bias=True,
    ),
    "phi-1.5": PHI(layers=24, hidden=2048, heads=32, ffn=8192),
    "phi-2": PHI(layers=32, hidden=2560, heads=32, ffn=10240),
    "phi-3-mini": Config(layers=32, hidden=3072, heads=32, ffn=8192, vocab=32064, most_positions=4096, window=2047),
    "bloom-560m": BLOOM(layers=24, hidden=1024, heads=16, ffn=4096),
    "bloom-1b1": BLOOM(layers=24, hidden=1536, heads=16, ffn=6144),
    "bloom-3b": BLOOM(layers=30, hidden=2560, heads=32, ffn=10240),
    "bloom-7b1": BLOOM(layers=30, hidden=4096, heads=32, ffn=16384),
    "falcon-7b": FALCON(layers=32, hidden=4544, heads=71, kv_heads=1, ffn=18176, parallel_norms=1),
    "falcon-40b": FALCON(layers=60, hidden=8192, heads=128, kv_heads=8, ffn=32768, parallel_norms=2),
    "starcoder2-3b": STARCODER2(layers=30, hidden=3072, heads=24, kv_heads=2, ffn=12288, rope_base=999999.4420358813),
    "starcoder2-7b": STARCODER2(layers=32, hidden=4608, heads=36, kv_heads=4, ffn=18432, rope_base=1000000.0),
    "stablelm-3b": STABLELM(layers=32, hidden=2560, heads=32, ffn=6912, vocab=50304, rotated=20),
    "stablelm-2-1.6b": STABLELM(layers=24, hidden=2048, heads=32, ffn=5632, vocab=100352, rotated=16, qkv_bias=True),
    "olmo-2-1b": OLMO2(layers=16, hidden=2048, heads=16, ffn=8192),
    "olmo-2-7b": OLMO2(layers=32, hidden=4096, heads=32, ffn=11008),
    "deepseek-v2-lite": DEEPSEEK(
        layers=27,
        hidden=2048,
        heads=16,
        ffn=1408,
        vocab=102400,
        first_ffn=10944,
        experts=64,
        per_token=6,
        shared_ffn=2816,
        latent=LITE,
    ),
    "deepseek-v2": DEEPSEEK(
        layers=60,
        hidden=5120,
        heads=128,
        ffn=1536,
        vocab=102400,
        experts=160,
        per_token=6,
        shared_ffn=3072,
        latent=FULL,
    ),
    "deepseek-v3": DEEPSEEK(
        layers=61,
        hidden=7168,
        heads=128,
        ffn=2048,
        vocab=129280,
        first_ffn=18432,
        dense_layers=3,
        experts=256,
        per_token=8,
        shared_ffn=2048,
        router="sigmoid",
        latent=FULL,
    ),
    "gpt-oss-20b": GPT_OSS(layers=24, experts=32),
    "gpt-oss-120b": GPT_OSS(layers=36, experts=128),
    "gpt-neo-125m": GPT_NEO(layers=12, hidden=768, heads=12, ffn=3072, full_layers=tuple(range(0, 12, 2))),
    "gpt-neo-1.3b": GPT_NEO(layers=24, hidden=2048, heads=16, ffn=8192, full_layers=tuple(range(0, 24, 2))),
    "gpt-neo-2.7b": GPT_NEO(layers=32, hidden=2560, heads=20, ffn=10240, full_layers=tuple(range(0, 32, 2))),
    "codegen-350m": CODEGEN(layers=20, hidden=1024, heads=16, ffn=4096, rotated=32),
    "codegen-2b": CODEGEN(layers=32, hidden=2560, heads=32, ffn=10240, rotated=64),
    "mpt-7b": Config(
        layers=32,
        hidden=4096,
        heads=32,
        ffn=16384,
        vocab=50432,
        most_positions=2048,
        rotated=0,
        alibi=True,
        activation="gelu",
        gated=False,
        norm="layernorm",
        norm_weights="gamma",
        tied=True,
    ),
    "starcoder-15b": Config(
        layers=40,
        hidden=6144,
        heads=48,
        kv_heads=1,
        ffn=24576,
        **{**GPT2, "vocab": 49152, "positions": 8192, "most_positions": 8192},
    ),
    "xglm-564m": Config(
        layers=24,
        hidden=1024,
        heads=16,
        ffn=4096,
        vocab=256008,
        most_positions=2048,
        rotated=0,
        sinusoids=True,
        activation="gelu",
        biases=True,
        tied=True,
        gated=False,
        norm="layernorm",
    ),
    "command-r": Config(
        layers=40,
        hidden=8192,
        heads=64,
        ffn=22528,
        vocab=256000,
        most_positions=131072,
        rope_base=8000000.0,
        norm="layernorm",
        norm_weights="gamma",
        parallel_norms=1,
        tied=True,
    ),
    "olmoe-1b-7b": Config(
        layers=16,
        hidden=2048,
        heads=16,
        ffn=1024,
        vocab=50304,
        most_positions=4096,
        experts=64,
        per_token=8,
        qk_norm="row",
    ),
    "phi-3.5-moe": Config(
        layers=32,
        hidden=4096,
        heads=32,
        kv_heads=8,
        ffn=6400,
        vocab=32064,
        most_positions=131072,
        experts=16,
        norm="layernorm",
        qkv_bias=True,
        out_bias=True,
        head_bias=True,
    ),
    "smollm3-3b": Config(
        layers=36,
        hidden=2048,
        heads=16,
        kv_heads=4,
        ffn=11008,
        vocab=128256,
        most_positions=65536,
        rope_base=5000000.0,
        tied=True,
        unrotated=tuple(range(3, 36, 4)),
    ),
    "glm-4-9b": Config(
        layers=40,
        hidden=4096,
        heads=32,
        kv_heads=2,
        head_dim=128,
        ffn=13696,
        vocab=151552,
        most_positions=131072,
        qkv_bias=True,
        rotated=64,
    ),
    "granite-3.1-2b": Config(
        layers=40,
        hidden=2048,
        heads=32,
        kv_heads=8,
        ffn=8192,
        vocab=49155,
        most_positions=131072,
        rope_base=5000000.0,
        tied=True,
    ),
    "internlm2-7b": Config(
        layers=32,
        hidden=4096,
        heads=32,
        kv_heads=8,
        ffn=14336,
        vocab=92544,
        most_positions=32768,
        rope_base=1000000.0,
    ),
    "exaone-3.5-2.4b": Config(
        layers=30,
        hidden=2560,
        heads=32,
        kv_heads=8,
        ffn=7168,
        vocab=102400,
        most_positions=32768,
        rope_base=1000000.0,
        tied=True,
    ),
    "minitron-4b": Config(
        layers=32,
        hidden=3072,
        heads=24,
        kv_heads=8,
        head_dim=128,
        ffn=9216,
        vocab=256000,
        most_positions=4096,
        activation="relu2",
        gated=False,
        norm="layernorm",
        rotated=64,
    ),
    "smollm2-135m": Config(
        layers=30,
        hidden=576,
        heads=9,
        kv_heads=3,
        ffn=1536,
        vocab=49152,
        most_positions=8192,
        rope_base=100000.0,
        tied=True,
    ),
}
"""Decoders by the name that the command line takes."""
