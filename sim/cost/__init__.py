"""Costs: energy of counters, area, and cycles of the host CPU's operators."""
