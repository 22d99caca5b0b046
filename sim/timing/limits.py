"""Limits of the timing core's record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.base.errors import InputError
from sim.hardware.legality import sentence
from sim.hardware.legality.core import CORE_RULES

if TYPE_CHECKING:
    from sim.hardware import Hardware


def check(hw: Hardware) -> None:
    """Raise InputError, all problems at once, for a machine beyond the record's room or the core's mechanisms.

    A machine file is refused at the door for the same rules, unless it waives them; the core takes no waiver.
    """
    problems = [f"{hw.name}: {sentence(rule.__name__, broken)}" for rule in CORE_RULES for broken in rule(hw)]
    if problems:
        raise InputError(problems)
