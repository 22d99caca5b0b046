"""Analysis of results: saved runs, the bottleneck, the effect of a changed machine, the difference of two runs."""
