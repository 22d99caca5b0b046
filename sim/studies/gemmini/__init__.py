"""Gemmini's own paper (arXiv 1911.09925), and measurements of its developers and users."""
