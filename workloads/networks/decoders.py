"""Published decoders by name: GPT-2, OPT, LLaMA, Mistral, Mixtral, Qwen, Gemma."""

from __future__ import annotations

from functools import partial
from typing import Any

from workloads.networks.config import Config

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
QWEN3 = partial(Config, most_positions=40960, rope_base=1000000.0, qk_norm=True)
# Gemma (2024): heads of 256 columns, GeGLU, tied head.
GEMMA = partial(Config, vocab=256000, most_positions=8192, head_dim=256, activation="gelu_tanh", tied=True)
# Jiang et al. 2023, 2024.
MISTRAL = partial(Config, layers=32, hidden=4096, heads=32, kv_heads=8, ffn=14336, vocab=32000, most_positions=32768)

DECODERS: dict[str, Config] = {
    "gpt2": Config(layers=12, hidden=768, heads=12, ffn=3072, **GPT2),
    "gpt2-medium": Config(layers=24, hidden=1024, heads=16, ffn=4096, **GPT2),
    "gpt2-large": Config(layers=36, hidden=1280, heads=20, ffn=5120, **GPT2),
    "gpt2-xl": Config(layers=48, hidden=1600, heads=25, ffn=6400, **GPT2),
    "distilgpt2": Config(layers=6, hidden=768, heads=12, ffn=3072, **GPT2),
    "opt-125m": Config(layers=12, hidden=768, heads=12, ffn=3072, **OPT),
    "opt-350m": Config(layers=24, hidden=1024, heads=16, ffn=4096, pre_norm=False, embedding_size=512, **OPT),
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
}
"""Decoders by the name that the command line takes."""
