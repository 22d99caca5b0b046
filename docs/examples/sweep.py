"""Sweep hardware from a script: accumulator size against memory latency, two processes, resumable."""

import sim

table = sim.sweep(
    hardware="gemmini_ibert",
    grid={"accumulator.capacity": ["64KiB", "128KiB", "256KiB"], "memory.latency_cycles": [40, 100]},
    workloads=["encoder-layer"],
    jobs=2,
    store="sweep.sqlite",
)
print(table[["accumulator.capacity", "memory.latency_cycles", "cycles", "energy_pj", "error"]].to_string())
