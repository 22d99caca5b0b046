"""Published studies run again: tables and figures with published and simulated values.

A study is one file of published figures (`figures/NAME.toml`: printed values, source, machine of the simulation, rule
of agreement, and reasons of disagreement) and one module or folder of functions that simulate them. Values fitted to a
figure are marked as fitted; values that cannot be simulated are listed with the reason.
"""

from __future__ import annotations

from sim.studies.exhibit import STUDIES, Exhibit, Finding, read, run

__all__ = ["STUDIES", "Exhibit", "Finding", "read", "run"]
