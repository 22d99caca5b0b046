"""Compiled parts of the sparse lowering: plans and command streams of block-sparse products, and the merge.

Each command of a sparse product is issued by hand, some 240,000 in an encoder layer: a loop per command takes seconds
in Python, 20 ms compiled. Plain numba over arrays and records; nothing here knows a work item.
"""
