"""What does sparsity do to cycle counts? Block-sparse weights: no load, no preload, no compute for a zero block."""

import sim

for density in (1.0, 0.75, 0.5, 0.25, 0.1):
    result = sim.simulate("bert-base", "gemmini_ibert", seq=128, sparsity=f"block16:{density}", seed=1)
    totals = result.totals
    print(f"{density:4} {totals['cycles']:>12,} cycles {totals['macs']:>14,} MACs {totals['utilization']:.1%}")
