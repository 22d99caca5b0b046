"""`carat infer`: a trained encoder with integer arithmetic on a machine."""

from __future__ import annotations

from sim.cli import options
from sim.cli.infer.given import Request


@options.records
def infer(request: Request) -> None:
    """Run a trained encoder with integer arithmetic on a machine; report cycles and the difference from float."""
    from sim.cli.infer.work import run  # numpy and the simulator, for this command alone

    run(request)
