"""A timing core that counts commands instead of cycles: what validate does around it can be tested apart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sim.base.errors import Hang
from sim.isa.commands import Funct

HEAD = "cfg,id,kind,mem_latency,rd_bytes_per_cycle,wr_bytes_per_cycle,cycles,read_bytes,write_bytes,sections"
TIMES = [(name, "i8") for name in ("queue", "funct", "rs1", "rs2", "t_alloc", "t_issue", "t_complete")]


class FakeCore:
    """Ten cycles a command; a program without any fence never ends. Keeps what it was requested to run."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, str, int]] = []

    def run(self, program, hw, *, clock="periodic", timeline=False, phase=0, written_rows=(), l2=None):
        self.calls.append((program.tobytes(), hw.key, phase))
        fences = np.flatnonzero(program["funct"] == Funct.FENCE)
        if not len(fences):
            raise Hang("load: idle\nexecute: waits for the mesh")
        ends = [0, *(10 * (end + 1) for end in fences)]
        commands = program[program["funct"] != Funct.FENCE]
        times = np.zeros(len(commands), dtype=TIMES)
        for name in ("funct", "rs1", "rs2"):
            times[name] = commands[name]
        times["t_alloc"] = np.arange(len(commands)) + 4
        times["t_issue"] = times["t_alloc"] + 1
        times["t_complete"] = -1
        return SimpleNamespace(
            cycles=10 * len(program),
            sections=tuple(int(part) for part in np.diff(ends)),
            counters={"DRAM_READ_BYTES": 64, "DRAM_WRITE_BYTES": 0},
            causes={"issue": 10 * len(program)},
            timeline=times if timeline else None,
            phase=phase,
            l2=l2,
        )


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FakeCore:
    fake = FakeCore()
    monkeypatch.setattr("sim.timing.timer.run", fake.run)
    return fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of four replayed rows beside its programs: right, wrong, never ending, without a program."""
    rows = [
        "default,right,mvin,40,16,16,30,64,0,30",
        "default,wrong,mvin,40,16,16,20,128,0,",
        "default,endless,chain,40,16,16,-1,,,",
        "default,lost,mvin,40,16,16,50,64,0,",
    ]
    (tmp_path / "anything.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    (tmp_path / "programs").mkdir()
    streams = [
        "case,seq,funct,rs1,rs2",
        "right,0,0,0x1,0x2",
        "right,1,2,0xffffffffffffffff,0x10",
        "right,2,fence,,",
        "wrong,0,0,0x1,0x2",
        "wrong,1,2,0xffffffffffffffff,0x10",
        "wrong,2,fence,,",
        "endless,0,0,0x1,0x2",
    ]
    (tmp_path / "programs" / "streams.csv").write_text("\n".join(streams) + "\n")
    return tmp_path
