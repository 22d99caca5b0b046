"""Gemmini's own paper (arXiv 1911.09925), and what its developers and users measured."""
