"""From graph and machine to a plan: each operator on its engine, fused, placed in memory, with its word sizes."""
