"""The program of a row measured on a whole machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.base.errors import InputError
from sim.lower import build
from sim.lower.place import BASE_ADDRESS
from sim.lower.work import BiasKind, Work
from sim.validate.soc import fpga, issue, pages
from sim.validate.soc.host import BaselineLayer, of_row
from sim.validate.soc.pairs import run_of
from sim.validate.soc.programs import Calls, LayerPasses
from sim.validate.soc.traces import TraceCall
from sim.validate.tasks import MachineProgram

if TYPE_CHECKING:
    from sim.hardware import Hardware

DATA_SET_BYTES = 1 << 24
"""Bytes between the two data sets of a program that alternates between them; more than any operand has."""

IN_TURN = "_TWO_"
"""In the id of a row whose program uses two data sets in turn."""

FIRST_OF_KIND = {
    "soc_resadd": "resadd_16x16",
    "soc_conv": "conv_t7_64_3x3",
    "layernorm": "32x64",
    "softmax": "32x64",
}
"""The first call of each kind in the program that calls_soc.csv comes from, and in that of the normalisations (cases
calls_dn and normc of the traces): only these miss the function's code; the others miss their own call site and the
pieces of code that they are the first to run.
"""


def source_of(columns: Mapping[str, str], hw: Hardware, path: Path) -> MachineProgram:
    """Return the program of a row. Raises InputError if its machine or case is not modelled."""
    if reason := columns.get("reason"):
        raise InputError(reason)
    if columns["kind"] == "soc_trace":
        return TraceCall(path, columns["case"], int(columns["call"]))
    if columns["kind"] == "soc_cores":
        return run_of(columns, path)
    if columns["kind"] == "soc_pages":
        return pages.run_of(columns, path)
    if columns["kind"].startswith("fpga_"):
        return fpga.program(columns, hw, path)
    calls = int(columns.get("call", "0")) + 1
    if columns["kind"] == "soc_encoder":
        seq, hidden, heads, ffn = (int(columns[name]) for name in ("seq", "hidden", "heads", "ffn"))
        return LayerPasses(seq, hidden, heads, ffn, calls)
    if columns["kind"] == "soc_issue":
        return issue.of_row(columns)
    if columns["kind"] == "soc_host":
        return of_row(dict(columns))
    if columns["kind"] == "soc_baseline":
        seq, hidden, heads, ffn = (int(columns[name]) for name in ("seq", "hidden", "heads", "ffn"))
        return BaselineLayer(seq, hidden, heads, ffn, "integer" in columns["config"])
    work = _work(columns, hw)
    works = tuple(_data_set(work, columns["id"], number) for number in range(calls))
    # the program of the normalisations computes their sums itself, so that the first call finds them in the cache too
    return Calls(works, _ran(columns, work), columns["kind"] == "soc_norm")


def _data_set(work: Work, case: str, number: int) -> Work:
    """Return a call of a program at the addresses of its data set."""
    if not (IN_TURN in case and number % 2 and work.product is not None):
        return work
    return work.moved({address: address + DATA_SET_BYTES for address in work.addresses()})


def _ran(columns: Mapping[str, str], work: Work) -> frozenset[str]:
    kind, case = columns["kind"], columns.get("case", "")
    if kind == "soc_norm":
        first = f"{columns['rows']}x{columns['cols']}" == FIRST_OF_KIND[columns["op"]]
        own = "norm_softmax" if columns["op"] == "softmax" else "layernorm"
        earlier = {"norm"} if columns["op"] == "softmax" else set()
        return frozenset(earlier if first else {"norm", own})
    if kind in FIRST_OF_KIND and case != FIRST_OF_KIND[kind]:
        return frozenset({kind.removeprefix("soc_")})
    return frozenset()


def _work(columns: Mapping[str, str], hw: Hardware) -> Work:
    kind, case = columns["kind"], columns.get("case", "")
    bytes_of: dict[str, Any] = {"input_bytes": hw.input_bytes, "acc_bytes": hw.acc_bytes}
    if kind == "soc_norm":
        rows, cols = int(columns["rows"]), int(columns["cols"])
        return build.norm(rows, cols, "softmax" if columns["op"] == "softmax" else "layernorm", **bytes_of)
    if kind == "soc_matmul" and columns.get("M"):
        m, n, k = (int(columns[name]) for name in "MNK")
        return build.matmul(m, n, k, dataflow=columns["flow"], base=BASE_ADDRESS, **bytes_of)
    if found := re.fullmatch(r"mm_(\d+)x(\d+)x(\d+)((?:_\w+?)*)", case):
        m, n, k = (int(size) for size in found.groups()[:3])
        words = found[4].split("_")
        bias: BiasKind = "row" if "rowbias" in words else "full" if "bias" in words else "none"
        activation = "relu" if "relu" in words else "none"
        return build.matmul(m, n, k, bias=bias, activation=activation, **bytes_of)
    if found := re.fullmatch(r"resadd_(\d+)x(\d+)", case):
        return build.resadd(int(found[1]), int(found[2]), input_bytes=hw.input_bytes)
    if found := re.fullmatch(r"conv_t(\d+)_(\d+)_(\d+)x\d+(?:s(\d+))?(?:_pool(\d+))?", case):
        size, channels, kernel = (int(number) for number in found.groups()[:3])
        pool = int(found[5] or 0)
        return build.conv(
            size, channels, channels, kernel, padding=kernel // 2, stride=int(found[4] or 1),
            pool_size=pool, pool_stride=pool, **bytes_of,
        )  # fmt: skip
    raise InputError(f"kind {kind!r}, case {case!r}: the call is unknown")
