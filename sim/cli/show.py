"""``carat show``: the two printable doors, the graph and the lowered program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sim.base.errors import InputError, did_you_mean
from sim.cli import options

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.plan.step import Step
    from sim.run.request import Case, Request


@options.asks(without=("clock",))
def show(
    request: Request,
    op: Annotated[str | None, typer.Option("--op", help="Only this operator, with its work items.")] = None,
    commands: Annotated[bool, typer.Option("--commands", help="Print the commands of the lowered program.")] = False,
    invocation: Annotated[int, typer.Option("--invocation", min=0, help="Which head or batch item's program.")] = 0,
) -> None:
    """Print a workload's graph, what runs where on a machine, and the commands it is lowered to."""
    from sim.run.request import resolve  # the planner, for this command alone

    case = resolve(request)
    steps = case.steps() if op is None else _called(op, case)
    programs = [_program(step, case.hw, invocation) for step in steps] if commands else []
    title = [] if op is not None else [f"{case.graph}\n"]
    typer.echo("\n".join([*title, f"{case.hw.name}:", *_lines(steps), *programs]))


def _called(op: str, case: Case) -> tuple[Step, ...]:
    """Return the steps of one operator. Raises InputError for one that has no step."""
    steps = case.steps()
    chosen = tuple(step for step in steps if step.name == op or step.name.startswith(f"{op}."))
    if not chosen:
        fused = op in {known.name for known in case.graph.ops}
        hint = did_you_mean(op, [step.name for step in steps])
        raise InputError(
            f"--op {op}: {'it is fused into the matmul before it' if fused else f'no such operator{hint}'}"
        )
    return chosen


def _lines(steps: tuple[Step, ...]) -> list[str]:
    width = max(len(step.name) for step in steps)
    lines = []
    for step in steps:
        shape = f"{step.m}x{step.n}" + (f"x{step.k}" if step.k else "")
        times = f"{step.batch} of " if step.batch > 1 else ""
        flow = f" {step.dataflow}" if step.dataflow else ""
        lines.append(f"  {step.name:<{width}}  {step.engine:<5}  {step.kind:<14}  {times}{shape}{flow}")
    return lines


def _program(step: Step, machine: Hardware, invocation: int) -> str:
    from sim.isa.disassembly import disassemble  # numpy: not for --help
    from sim.lower import lower

    if not step.works:
        return f"\n{step.name}: no commands, {'the host' if step.engine == 'host' else 'a side unit'} runs it"
    if invocation >= len(step.works):
        legal = f"0 to {len(step.works) - 1}"
        raise InputError(f"--invocation {invocation}: {step.name} has {len(step.works)} (legal: {legal})")
    program = lower(step.works[invocation], step.machine or machine)
    title = f"{step.name}, invocation {invocation} of {len(step.works)}: {len(program)} commands"
    return f"\n{title}\n{disassemble(program)}"
