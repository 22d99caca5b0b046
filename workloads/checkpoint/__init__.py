"""Trained encoders from a folder on disk: weights, tokenizer, and the layer graph whose values count."""

from workloads.checkpoint.model import CONFIG_KEYS, Checkpoint, load

__all__ = ["CONFIG_KEYS", "Checkpoint", "load"]
