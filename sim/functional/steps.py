"""Planned operators on the executor: all programs of a step of the plan, or the reason why it has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from sim.base.errors import InputError
from sim.lower import lower
from sim.timing import timer

if TYPE_CHECKING:
    from sim.functional.machine import Execution, Machine
    from sim.functional.unit import Unit
    from sim.plan.step import Step

INSTEAD = {
    "fft": 'via = "direct" of the [[compress]]: the load path expands circulants of any size',
    "ifft": 'via = "direct" of the [[compress]]: the load path expands circulants of any size',
    "mask": "a mask of your own, as the index that `sim.functional.sampled.write_index` puts into DRAM",
    "top_k": "prune the graph with tokens and heads of your choice",
    "predict": "sparsity.predictor_macs_per_cycle = 0, the prediction on the array",
}
"""Operation of a side unit -> the operation of the array that can replace it."""


def run_step(machine: Machine, step: Step, units: Sequence[Unit] = ()) -> tuple[Execution, ...]:
    """Run the programs of a step on the DRAM of ``machine``, in the order in which the timing core completes them.

    ``units``: for packed, stored or sampled products one per program, as `sim.functional.weights` and
    `sim.functional.sampled` return them. Raises InputError for a step without programs (a side unit, the host), and if
    the operands' form needs a unit that is not given; it is never run as if dense.
    """
    if not step.works:
        kind = step.kind.partition("+")[0]
        where = {"host": "the host", "vector": "the vector unit"}.get(step.engine, "a side unit")
        instead = INSTEAD.get(kind, "sim.functional.host, in float32")
        raise InputError(
            f"{step.name}: {step.kind} runs on {where}; time and energy of that are modelled, its rounding is not; the "
            f"executor runs programs of the array (nearest: {instead})"
        )
    packed = [work for work in step.works if work.PACKED]
    if len(units) not in (0, len(step.works)) or (packed and not units):
        what = f"its operands are packed ({step.scheme})" if packed else "its operands are stored as they are used"
        wanted = len(step.works) if packed else 0
        raise InputError(
            f"{step.name}: {what}: {len(units)} units for {len(step.works)} programs (nearest: {wanted}, of "
            "sim.functional.weights or sim.functional.sampled)"
        )
    hw = step.machine or machine.hw
    on = machine if hw == machine.hw else machine.for_operator(hw)
    done = []
    for number, work in enumerate(step.works):
        for place in work.places():
            if place.name == "identity":  # is stored like a weight
                on.write(place.operand.address, np.eye(place.rows), kind=on.types["a"])
        times = timer.run(lower(work, hw), hw, timeline=True)
        done.append(on.run(times, units[number] if units else None))
    return tuple(done)
