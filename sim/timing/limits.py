"""Limits of the timing core's record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.hardware.legality import sentence
from sim.hardware.legality.core import CORE_RULES

if TYPE_CHECKING:
    from sim.hardware import Hardware


def check(hw: Hardware) -> None:
    """Raise InputError, with all problems, for a machine beyond the limits of the record or the core's mechanisms.

    Loading a machine file checks the same rules, which it can waive; the core accepts no waiver.
    """
    problems = [f"{hw.name}: {sentence(rule.__name__, broken)}" for rule in CORE_RULES for broken in rule(hw)]
    if problems:
        raise InputError(problems)
