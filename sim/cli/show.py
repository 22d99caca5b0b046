"""``carat show``: the two printable doors, the graph and the lowered program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli import common

if TYPE_CHECKING:
    from sim.hardware import Hardware
    from sim.plan.planner import Step


def show(
    workload: common.Workload,
    hw: common.Machine = common.DEFAULT_HARDWARE,
    set_: common.Settings = None,
    cpu: common.Cpu = None,
    op: Annotated[str | None, typer.Option("--op", help="Only this operator, with its work items.")] = None,
    commands: Annotated[bool, typer.Option("--commands", help="Print the commands of the lowered program.")] = False,
    invocation: Annotated[int, typer.Option("--invocation", min=0, help="Which head or batch item's program.")] = 0,
    seq: common.Seq = None,
    batch: common.Batch = None,
    size: common.Sizes = None,
    sparsity: common.SparsityText = None,
    prune: common.Prune = None,
    seed: common.Seed = 0,
    dataflow: common.Dataflow = None,
) -> None:
    """Print a workload's graph, what runs where on a machine, and the commands it is lowered to."""
    from sim.base.errors import InputError, did_you_mean
    from sim.plan.planner import plan
    from sim.run.pipeline import load_machine, resolve_graph, resolve_pruning, resolve_sparsity

    machine = load_machine(hw, common.settings(set_, cpu))
    rules = resolve_sparsity(sparsity, seed)
    graph, _ = resolve_pruning(resolve_graph(workload, common.sizes(seq, batch, size)), prune, rules)
    graph = rules.edit(graph) if rules is not None else graph
    steps = plan(graph, machine, dataflow=dataflow, sparsity=rules)
    if op is not None:
        chosen = [step for step in steps if step.name == op or step.name.startswith(f"{op}.")]
        if not chosen:
            fused = {name.name for name in graph.ops}
            hint = did_you_mean(op, [step.name for step in steps])
            where = "it is fused into the matmul before it" if op in fused else f"no such operator{hint}"
            raise InputError(f"--op {op}: {where}")
        steps = tuple(chosen)
    programs = [_program(step, machine, invocation) for step in steps] if commands else []
    title = [] if op is not None else [f"{graph}\n"]
    typer.echo("\n".join([*title, f"{machine.name}:", *_lines(steps), *programs]))


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
    from sim.base.errors import InputError
    from sim.isa.disassembly import disassemble
    from sim.lower import lower

    if not step.works:
        return (
            f"\n{step.name}: no commands, {'the host' if step.engine == 'host' else 'a unit beside the array'} runs it"
        )
    if invocation >= len(step.works):
        legal = f"0 to {len(step.works) - 1}"
        raise InputError(f"--invocation {invocation}: {step.name} has {len(step.works)} (legal: {legal})")
    program = lower(step.works[invocation], step.machine or machine)
    title = f"{step.name}, invocation {invocation} of {len(step.works)}: {len(program)} commands"
    return f"\n{title}\n{disassemble(program)}"
