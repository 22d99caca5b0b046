"""Changes of the graph: pruning, sparse attention, factors, cascades. An edit that would change results is refused."""
