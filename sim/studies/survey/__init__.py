"""Techniques named by Chitty-Venkata et al. (arXiv 2307.07982), each beside a published figure."""
