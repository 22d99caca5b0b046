"""Changes of the graph: pruning, sparse attention, factors, cascades. Each keeps or refuses what it replaces."""
