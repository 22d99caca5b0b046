"""Where do the cycles go, and what would help?"""

import sim

result = sim.simulate("bert-base", "gemmini_ibert", seq=128)
print(result.ops.groupby("op_kind")[["cycles", "compute_cycles", "load_wait_cycles", "store_wait_cycles"]].sum())
print(result.causes)
print(result.explain())
result.save("bert")  # then: carat report bert -o bert.html
