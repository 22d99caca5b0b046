"""BERT-base at narrower words on three kinds of array: a table, and a picture of cycles and energy (precision.png)."""

import matplotlib.pyplot as plt
import numpy as np

import sim
from reports import style

MACHINES = ("gemmini_widening", "gemmini_decomposable", "gemmini_bitserial")
LINES = ("w8a8", "w4a8", "w4a4")

found = {(hw, line): sim.simulate("bert-base", hw, seq=128, sparsity=line) for hw in MACHINES for line in LINES}
for (hw, line), result in found.items():
    totals = result.totals
    moved = totals["dram_read_bytes"] + totals["dram_write_bytes"]
    print(
        f"{hw:22}{line:6}{result.cycles:>12,} cycles {totals['peak_macs_per_cycle']:>6.0f} peak "
        f"{totals['utilization']:>6.1%} {moved / 1e6:>6.1f} MB {totals['energy_pj'] / 1e9:>6.1f} mJ"
    )

with style.sheet():
    figure, (above, below) = plt.subplots(2, 1, figsize=(6.4, 5.2), sharex=True, layout="constrained")
    places = np.array([4 * group + bar for group in range(len(MACHINES)) for bar in range(len(LINES))])
    for axes, unit in ((above, 1e6), (below, 1e9)):
        left = np.zeros(len(places))
        parts = {"": "#0072B2"} if axes is above else style.ENERGY_COLORS
        for part, color in parts.items():
            heights = [(r.energy[part] if part else r.cycles) / unit for r in found.values()]
            if any(heights):
                axes.bar(places, heights, bottom=left, color=color, width=0.9, label=part.replace("_", " "))
            left += heights
        for place, height in zip(places, left, strict=True):
            axes.text(place, height, f"{height:.1f}", ha="center", va="bottom", fontsize=7)
    above.set_ylabel("cycles (M)")
    below.set_ylabel("energy (mJ)")
    below.legend(loc="upper left", bbox_to_anchor=(1, 1))
    below.set_xticks(places, [line for _, line in found])
    for group, hw in enumerate(MACHINES):
        name = hw.removeprefix("gemmini_")
        below.text(4 * group + 1, -0.13, name, ha="center", va="top", transform=below.get_xaxis_transform())
    figure.savefig("precision.png", dpi=150)
