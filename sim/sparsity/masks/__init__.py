"""Masks of zeros: drawn or measured, packed, stored and expanded."""
