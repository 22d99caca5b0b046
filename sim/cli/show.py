"""``carat show``: print the graph, the lowered program and the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sim.base.errors import InputError, did_you_mean
from sim.cli import common, options

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.plan.step import Step
    from sim.run.request import Case, Request


WHO = {"host": "the host", "vector": "the vector unit"}
"""The unit that runs a step without commands, by engine."""


@options.asks("", without=("clock",))
def show(
    request: Request,
    op: Annotated[str | None, typer.Option("--op", help="Only this operator, with its work items.")] = None,
    commands: Annotated[bool, typer.Option("--commands", help="Print the commands of the lowered program.")] = False,
    invocation: Annotated[
        int, typer.Option("--invocation", min=0, help="Index of the program among those of heads and batch items.")
    ] = 0,
    toml: Annotated[bool, typer.Option("--toml", help="Without a workload: the machine as a TOML file.")] = False,
) -> None:
    """Print a workload's graph, its plan on a machine, and its commands; without a workload the machine's keys."""
    if toml or not request.graph:
        _print_machine(request, toml)
        return
    from sim.run.request import resolve  # numpy

    case = resolve(request)
    steps = case.steps() if op is None else _called(op, case)
    programs = [_program(step, case.hw, invocation) for step in steps] if commands else []
    title = [] if op is not None else [f"{case.graph}\n"]
    typer.echo("\n".join([*title, f"{case.hw.name}:", *_lines(steps), *programs]))


def _print_machine(request: Request, toml: bool) -> None:
    """Print each key of the machine with unit, range and meaning, or the machine as TOML."""
    from sim import hardware  # pydantic
    from sim.hardware.keys import keys, to_toml  # pydantic: not for --help

    if request.graph:
        raise InputError(f"--toml: prints a machine and takes no workload; leave out {request.graph}")
    hw = hardware.load(request.machine, dict(request.overrides))
    if toml:
        typer.echo(to_toml(hw), nl=False)
        return
    rows = [(key.name, str(key.value), key.unit, key.range, key.meaning) for key in keys(hw)]
    common.print_table(f"{hw.name}: {hw.description}", ("key", "value", "unit", "legal", "meaning"), rows, 5)
    typer.echo(f"as a file to change: carat show --hw {request.machine} --toml > mine.toml; then --hw mine.toml")


def _called(op: str, case: Case) -> tuple[Step, ...]:
    """Return the steps of one operator. Raises InputError if it has none."""
    from sim.plan.step import VectorStep  # numpy: not for --help

    steps = case.steps()
    chosen = tuple(step for step in steps if step.name == op or step.name.startswith(f"{op}."))
    if not chosen:
        if whole := next((step for step in steps if isinstance(step, VectorStep) and op in step.ops), None):
            return (whole,)
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
        lines.append(f"  {step.name:<{width}}  {step.engine:<6}  {step.kind:<14}  {times}{shape}{flow}")
    return lines


def _program(step: Step, machine: Hardware, invocation: int) -> str:
    from sim.isa.disassembly import disassemble  # numpy: not for --help
    from sim.lower import lower  # numpy

    if not step.works:
        return f"\n{step.name}: no commands, {WHO.get(step.engine, 'a side unit')} runs it"
    if invocation >= len(step.works):
        legal = f"0 to {len(step.works) - 1}"
        raise InputError(f"--invocation {invocation}: {step.name} has {len(step.works)} (legal: {legal})")
    hw = step.machine or machine
    program = lower(step.works[invocation], hw)
    title = f"{step.name}, invocation {invocation} of {len(step.works)}: {len(program)} commands"
    return f"\n{title}\n{disassemble(program, bool(hw.sparsity.decoder))}"
