"""Repetition by the periodic clock: states in normal form, and the steps between them."""
