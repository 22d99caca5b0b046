"""Tables measured on a whole machine, the CPU included: their formats and programs."""
