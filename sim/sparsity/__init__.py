"""Sparsity: block-sparse weights as masks (`spec`) and structured pruning as graph edits (`prune`)."""

from __future__ import annotations
