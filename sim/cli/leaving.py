"""Print early exit: cost of inputs that leave after each layer, and the average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sim.base.errors import InputError
from sim.base.numbers import decimal
from sim.cli import common

if TYPE_CHECKING:
    from sim.analysis.exits import Exits
    from sim.run.result import Result

HEADINGS = ("layer", "inputs", "cycles", "energy uJ")


def read(given: str | None) -> tuple[float, ...] | None:
    """Return ``--exits`` as numbers, None without that option. Raises InputError for text that is no number."""
    try:
        return None if given is None else tuple(decimal(word) for word in given.split(","))
    except ValueError as error:
        raise InputError(f"--exits {given!r:.60}: must be a share for each layer, e.g. 0.25,0.25,0.5") from error


def found(result: Result, shares: tuple[float, ...] | None) -> Exits | None:
    """Return the cost of early exit, None without ``--exits``. Raises InputError as `early_exit` does."""
    from sim.analysis.exits import early_exit  # numpy

    return None if shares is None else early_exit(result, shares)


def plain(left: Exits | None) -> dict[str, Any] | None:
    """Return the cost as plain data, None without ``--exits``."""
    if left is None:
        return None
    return {
        "cycles": left.cycles, "energy_pj": left.energy_pj, "layers": left.layers,
        "classifier_cycles": left.classifier_cycles, "exits": [vars(one) for one in left.exits],
    }  # fmt: skip


def show(left: Exits) -> None:
    """Print a line per layer, and the average."""
    rows = [
        (str(one.layer), f"{one.share:.1%}", f"{one.cycles:,}", f"{one.energy_pj / 1e6:,.1f}") for one in left.exits
    ]
    common.print_table("Inputs that leave after a layer", HEADINGS, rows)
    typer.echo(
        f"on average an input goes through {left.layers:.2f} layers and takes {left.cycles:,.0f} cycles, "
        f"{left.cycles / left.whole_cycles:.3f} of the whole network's, and {left.energy_pj / 1e6:,.1f} uJ; an exit's "
        f"classifier takes {left.classifier_cycles:,}, the host's decision is not priced"
    )
