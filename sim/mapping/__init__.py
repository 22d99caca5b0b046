"""Mappings as data: the library's, one given by hand, or the best one found by simulating candidates.

In: work items and a machine. Out: `OpMapping`s and maps of whole workloads.
"""

from __future__ import annotations

from sim.mapping.kinds import library
from sim.mapping.opmapping import OpMapping
from sim.mapping.searching import Found, search

__all__ = ["Found", "OpMapping", "library", "search"]
