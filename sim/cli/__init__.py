"""The command line. Nothing heavy is imported before a command runs: ``carat --help`` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sim.base.errors import CaratError

REFUSED = 2
"""Exit code of anything Carat refuses, as for a wrong option."""

typed: list[str] = []
"""The words of the command that runs now: what a kept run says reproduces it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; ends the process. Refused input: message on stderr, exit code 2, no traceback."""
    from sim.cli.app import app

    try:
        typed[:] = sys.argv[1:] if arguments is None else arguments
        app(args=list(typed), prog_name="carat")
    except CaratError as error:
        sys.stderr.write(f"carat: {error}\n")
        sys.exit(REFUSED)
