"""Shared by several rooms of tests: random programs and machines, gates on the core, reference computations, models."""
