"""Networks by name: published sizes, and the graph of each for a phase of its work."""
