"""`carat infer`: a trained encoder with integer arithmetic on a machine."""

from __future__ import annotations

from sim.cli import options
from sim.cli.infer.given import InferOptions


@options.records
def infer(request: InferOptions) -> None:
    """Run a trained encoder with integer arithmetic on a machine; report cycles and the difference from float."""
    from sim.cli.infer.work import run  # numpy and the simulator, for this command alone

    run(request)
