"""Prices of what was counted: energy, area, and the host CPU's operators."""
