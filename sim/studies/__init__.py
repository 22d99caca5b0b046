"""Published studies run again: each table and figure that a simulator can speak to, published beside simulated.

A study is one file of published figures (`figures/NAME.toml`: what is printed, where, on which machine it is run again,
when a value counts as agreement, and why one does not agree) and one module or folder of functions that simulate them.
No number is forced: what is fitted to a figure is named as fitted, what cannot be simulated is listed with the reason.
"""

from __future__ import annotations

from sim.studies.exhibit import STUDIES, Exhibit, Finding, read, run

__all__ = ["STUDIES", "Exhibit", "Finding", "read", "run"]
