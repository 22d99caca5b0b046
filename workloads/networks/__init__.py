"""Networks by name: published sizes, and the graph of each in each phase."""
