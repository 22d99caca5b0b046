"""A small file of `carat map --sample`, as the pictures of it read it."""

SAMPLE = {
    "operator": "L0.FF1",
    "shape": "matmul 32x128x64",
    "samples": 50,
    "histogram": {"edges": [1.0, 10.0, 100.0, 1000.0], "timed": [5, 10, 0], "at_least": [0, 15, 20]},
    "percentiles": [{"percent": 10, "relative_edp": 9.0, "exact": True}],
    "share_below_3x": 0.04,
    "library_relative_edp": 1.2,
}
