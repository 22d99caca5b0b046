"""Random legal machines and random programs that respect the ISA's rules, for property tests of the core.

A program is drawn as a list of actions on few local addresses, so that hazards of every kind are frequent;
every command stays inside the memories, moves at most one request's worth of bytes a row, pairs each preload
with a compute and keeps a hardware loop's tile inside its half of the memories. Each action has a seed of its
own: cases differ widely (plain draws repeat themselves), and a failing program shrinks by losing actions.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import strategies as st

from sim.base.errors import InputError
from sim.hardware import Hardware, load
from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT, FULL_WIDTH_BIT, GARBAGE_ADDRESS, Funct, Program
from sim.lower import Conv, Matmul, Norm, Operand, ResidualAdd, lower
from sim.lower.encode import MatmulLoop, Stream

IDENTITY = 0x3F800000
HALF = 0x3F000000  # 0.5: any scale but one makes the mvin scaler work
DRAM = 0x2001_0000
SHAPES = ((2, 1), (4, 1), (2, 2), (8, 1), (4, 2), (16, 1), (4, 4), (32, 1))  # mesh rows, tile rows
TYPES = (("int8", "int32"), ("fp32", "fp32"), ("bf16", "fp32"), ("int16", "int32"))


SEEDS = st.integers(0, 2**32 - 1)


def machine(seed: int) -> Hardware:
    """A machine that every rule of sim.hardware.legality allows, all timing parameters drawn from the seed.

    At least two DMA ids: with a single one a Put of two beats can never end, in the RTL as here.
    """
    one = _choice(seed)
    mesh, tile = one(*SHAPES)
    dim = mesh * tile
    input_type, acc_type = one(*TYPES)
    in_bytes = {"int8": 1, "bf16": 2, "int16": 2, "fp32": 4}[input_type]
    dataflow = one("BOTH", "WS", "OS")
    if dim == 2:
        dataflow = "WS"  # the others are refused there (sim/timing/programs.py)
    acc_banks, acc_blocks = one(1, 2, 4), one(4, 8, 16)
    sp_banks = one(1, 2, 4, 8)
    # the scratchpad holds the accumulator's blocks and two more
    sp_blocks = max(one(8, 16, 32), 2 * acc_banks * acc_blocks // sp_banks, 4)
    read_delay = one(1, 2, 4, 6)
    bus = one(8, 16, 32, 64)
    l2_bytes = one(0, 0, 1024, 4096, 65536)  # small ones, so that lines are evicted
    command = one(1, 1, 2, 7, 30)
    overrides: dict[str, object] = {
        "rtl": one("gemmini-25809f78", "gemmini-8c3f992"),
        "array.mesh_rows": mesh,
        "array.mesh_columns": mesh,
        "array.tile_rows": tile,
        "array.tile_columns": tile,
        "array.dataflow": dataflow,
        "array.input_type": input_type,
        "array.acc_type": acc_type,
        "array.tile_latency_cycles": one(0, 0, 1, 2),
        "array.mesh_output_delay_cycles": one(0, 1, 2),
        "array.ex_read_from_acc": one(False, True),
        "array.ex_write_to_spad": one(False, True),
        "array.hardcode_d_to_garbage": dataflow == "WS" and one(False, True),
        "scratchpad.capacity": sp_banks * sp_blocks * dim * dim * in_bytes,
        "scratchpad.banks": sp_banks,
        "scratchpad.single_ported": one(False, True),
        "scratchpad.read_delay_cycles": read_delay,
        **_accumulator(one, dim, acc_banks, acc_blocks),
        "dma.bus_bytes": bus,
        "dma.max_request_bytes": min(bus * one(1, 2, 4), 64) if l2_bytes else bus * one(1, 2, 4),
        "dma.max_in_flight_requests": one(2, 4, 16, 64, min(256, 63 * dim)),
        "dma.mvin_scale_latency_cycles": one(1, 3, 4),
        "dma.mvin_scale_units": one("none", "per_lane", 1, 4),
        "dma.mvin_acc_scale": one("none", 1, 4),
        **_queues(one),
        "features.normalizations": acc_type == "int32" and one(False, True),
        "features.max_pool": one(False, True),
        "features.training_convs": one(False, True),
        "features.first_layer_optimizations": one(False, True),
        "memory.l2_bytes": l2_bytes,
        **_surroundings(one, command),
    }
    if input_type.startswith("int") and one(False, False, True):  # rows of several cycles
        overrides |= {"array.pe": "bit_serial", "array.serial_activation_bits": one(1, 3, 4)}
    overrides["memory.one_port"] = l2_bytes > 0 and one(False, True)
    return load("gemmini_default", overrides)


def _surroundings(one: Any, command: int) -> dict[str, object]:
    """Speed of the memory and of the CPU."""
    return {
        "memory.latency_cycles": one(1, 2, 10, 40, 200),
        "memory.read_bytes_per_cycle": one(0.37, 1.0, 5.3, 16.0, 64.0),
        "memory.write_bytes_per_cycle": one(1.0, 5.3, 16.0, 64.0),
        "cpu.command_cycles": command,
        "cpu.loop_cycles": command + one(0, 0, 50),
    }


def _accumulator(one: Any, dim: int, banks: int, blocks: int) -> dict[str, object]:
    single = one(False, True)
    return {
        "accumulator.capacity": banks * blocks * dim * dim * 4,
        "accumulator.banks": banks,
        "accumulator.single_ported": single,
        "accumulator.sub_banks": one(1, 2, 4) if single else -1,
        "accumulator.latency_cycles": one(2, 2, 3),
        "accumulator.scale_latency_cycles": one(1, 4, 8, 11),
    }


def _queues(one: Any) -> dict[str, object]:
    """Entries of the reservation station and of the controllers' queues."""
    return {
        "reservation_station.ld": one(2, 4, 8, 16),
        "reservation_station.st": one(1, 2, 4),
        "reservation_station.ex": one(4, 8, 16),
        "queues.ld": one(1, 2, 8),
        "queues.st": one(1, 2),
        "queues.ex": one(3, 4, 8),
    }


def _choice(seed: int) -> Any:
    """Return a function that picks one of its arguments."""
    random = Random(seed)
    return lambda *values: random.choice(values)


class _Program:
    """Actions on one machine; each method appends commands that are legal in the present configuration."""

    def __init__(self, hw: Hardware):
        self.hw, self.one = hw, _choice(0)
        self.stream = Stream(hw)
        self.shrink = [False, False, False]
        self.blocks = hw.loop_max_block_len
        self.actions = [
            *[self.mvin] * 4, *[self.mvout] * 3, *[self.compute] * 5, *[self.loop_ws] * 2,
            self.config_ex, self.config_ld, self.config_st, self.fence, self.flush, self.library, self.pause,
        ]  # fmt: skip
        if hw.features.normalizations:
            self.actions += [self.normalise] * 3
        if hw.features.max_pool:
            self.actions += [self.pool]

    def flag(self) -> bool:
        return bool(self.one(False, True))

    def act(self, number: int, seed: int) -> None:
        """Perform one action with choices of its own."""
        self.one = _choice(seed)
        self.actions[number % len(self.actions)]()

    def upto(self, most: int) -> int:
        """1..most, most of the time an end of the range."""
        return max(1, int(self.one(most, most, 1, most // 2, most - 1)))

    def spad(self, blocks: int = 1) -> int:
        """Scratchpad row with room for some blocks behind it: one of few places in one of few banks."""
        bank = self.one(*range(min(3, self.hw.scratchpad.banks)))
        place = bank * self.hw.sp_bank_rows + self.one(0, 0, 1, 2) * self.hw.dim
        return int(max(0, min(place, self.hw.sp_rows - blocks * self.hw.dim)))

    def acc(self, blocks: int = 1) -> int:
        """Accumulator address, likewise."""
        bank = self.one(*range(min(2, self.hw.accumulator.banks)))
        place = bank * self.hw.acc_bank_rows + self.one(0, 0, 1) * self.hw.dim
        return int(max(0, min(place, self.hw.acc_rows - blocks * self.hw.dim))) | ACCUMULATOR_BIT

    def loadable(self, blocks: int) -> int:
        """Blocks of one move: a few, no more than an eighth of the smaller memory."""
        rows = min(self.hw.sp_rows, self.hw.acc_rows)
        return self.upto(min(blocks, max(1, rows // 8 // self.hw.dim)))

    def dram(self) -> int:
        return int(DRAM + self.one(0, 0, 64, 4096) + self.one(0, 0, 4, 48))

    def config_ld(self, state: int | None = None) -> None:
        i = self.one(0, 1, 2) if state is None else state
        self.shrink[i] = self.flag()
        scale = self.one(IDENTITY, IDENTITY, HALF) << 32
        block_stride = self.one(1, 1, 2) * self.hw.dim
        pixels = self.one(1, 1, 2, 3)
        rs1 = scale | block_stride << 16 | pixels << 8 | i << 3 | self.shrink[i] << 2 | 1
        self.stream.emit(Funct.CONFIG, rs1, self.one(0, 16, 64, 200))

    def config_ex(self) -> None:
        flow = self.hw.array.dataflow
        ws = flow == "WS" or (flow == "BOTH" and self.one(True, True, False))
        # one transposer: OS needs it for A unless A comes transposed; an illegal choice is rare and hangs
        legal = ((False, False), (True, False), (False, True) if ws else (True, True))
        a_t, b_t = self.one(*legal * 5, (True, True) if ws else (False, True))
        self.stream.config_ex(
            dataflow=int(ws),
            transpose_a=a_t,
            transpose_b=b_t,
            a_stride=self.one(1, 1, 2),
            c_stride=self.one(1, 1, 2),
        )

    def config_st(self) -> None:
        self.stream.config_st(self.one(16, 64, 100), activation=self.one(0, 1))

    def mvin(self) -> None:
        state, dim = self.one(0, 1, 2), self.hw.dim
        wide = self.hw.loop_max_block_len_acc
        dram = self.one(*[self.dram()] * 3, 0)
        if self.one(True, True, False):
            blocks = self.loadable(self.blocks)
            local = self.spad(2 * blocks)
        else:
            blocks = self.loadable(self.blocks if self.shrink[state] else wide)
            local = self.acc(2 * blocks) | self.one(0, ACCUMULATE_BIT)
        cols = (blocks - 1) * dim + self.upto(dim)
        if self.shrink[state] and local & ACCUMULATOR_BIT:
            dram = dram or DRAM  # the zero writer reports full width: such a command never completes
        self.stream.mvin(dram, local, cols, self.upto(dim), state)

    def mvout(self) -> None:
        dim, kind = self.hw.dim, self.one("spad", "acc", "acc", "full")
        if kind == "full":
            self.stream.mvout(self.dram(), self.acc() | FULL_WIDTH_BIT, self.upto(dim), self.upto(dim))
            return
        blocks = self.loadable(self.blocks)
        local = self.spad(blocks) if kind == "spad" else self.acc(blocks)
        self.stream.mvout(self.dram(), local, (blocks - 1) * dim + self.upto(dim), self.upto(dim))

    def compute(self) -> None:
        """A chain of preload and compute pairs."""
        hw, dim = self.hw, self.hw.dim
        for n in range(self.one(1, 1, 2, 5)):
            rows, k, cols = self.upto(dim), self.upto(dim), self.upto(dim)
            b = self.spad() if n == 0 or self.flag() else GARBAGE_ADDRESS
            c = self.acc(2) | self.one(0, ACCUMULATE_BIT)
            kind = self.one("acc", "acc", "acc", "spad", "none")
            if kind == "spad" and hw.array.ex_write_to_spad:
                c = self.spad(2)
            elif kind == "none":
                c = GARBAGE_ADDRESS
            self.stream.preload(b, c, (cols, k), (cols, rows))
            d = self.one(GARBAGE_ADDRESS, GARBAGE_ADDRESS, self.spad())
            self.stream.compute(self.spad(2), d, (k, rows), (cols, rows), preloaded=b != GARBAGE_ADDRESS)

    def loop_ws(self) -> None:
        hw, dim = self.hw, self.hw.dim
        most = (hw.sp_rows // 2 // dim, hw.acc_rows // 2 // dim)
        i, j, k = self.one(1, 2, 3), self.one(1, 2, 4), self.one(1, 2, 3)
        residual = self.one(False, False, False, True)
        k = 0 if residual else k
        if i * j > most[1] or i * k + k * j > most[0]:
            i, j, k = 1, 1, min(k, 1)
        if i * j > most[1] or i * k + k * j > most[0]:
            return
        if residual:
            for state in (0, 1):
                rs1 = IDENTITY << 32 | dim << 16 | 1 << 8 | state << 3 | 1 << 2 | 1
                self.stream.emit(Funct.CONFIG, rs1, 64)
                self.shrink[state] = True
        row = 64
        half = self.one(0, 0, 1, 2)
        self.stream.loop_ws(
            MatmulLoop(
                (i, j, k),
                (self.one(0, dim - 1), self.one(0, dim - 1), self.one(0, dim // 2)),
                (
                    self.one(DRAM, DRAM, 0),
                    self.one(DRAM + 4096, DRAM + 4096, 0),
                    0 if residual else self.one(0, DRAM + 8192),
                    self.one(DRAM + 12288, DRAM + 12288, 0),
                ),
                (row, row, self.one(0, row), row),
                transpose_a=not residual and self.one(False, False, True),
                transpose_b=not residual and self.one(False, False, True),
                full_c=self.one(False, False, True),
                low_d=self.flag(),
                accumulate=self.flag(),
                activation=self.one(0, 1, 2, 4) if hw.features.normalizations else self.one(0, 1),
                a_half=half,
                b_half=self.one(0, half),
                residual=residual,
            )
        )

    def library(self) -> None:
        """A small operator as the C library would lower it: configuration, loops, fence."""
        hw, dim = self.hw, self.hw.dim
        m, n, k = self.upto(3 * dim), self.upto(3 * dim), self.upto(3 * dim)
        at = [Operand(DRAM + 65536 * place, stride) for place, stride in enumerate((k, n, n, n))]
        kind = self.one("matmul", "resadd", "conv", "norm")
        if kind == "matmul":
            flow = hw.array.dataflow
            work: Any = Matmul(
                m, n, k, at[0], at[1], at[3], d=at[2], bias=self.one("row", "full"),
                dataflow="OS" if flow == "OS" else "WS",
                transpose_b=self.one(False, False, True) and flow != "OS",
            )  # fmt: skip
            if work.transpose_b:
                work = Matmul(m, n, k, at[0], Operand(at[1].address, k), at[3], d=at[2], transpose_b=True)
        elif kind == "resadd":
            work = ResidualAdd(m, n, at[1], at[2], at[3])
        elif kind == "norm":
            work = Norm(min(m, 4), n, self.one("layernorm", "softmax"), at[1], at[3])
        else:
            pool = self.one(0, 0, 2) if hw.features.max_pool else 0
            size, ich, och = self.one(3, 4, 6), self.one(1, 3, dim), self.one(1, dim + 1)
            work = Conv(
                1, size, size, ich, och, self.one(1, 3), Operand(DRAM, ich), Operand(DRAM + 65536, och),
                Operand(DRAM + 131072, och), bias=self.one(None, Operand(DRAM + 196608, 0)),
                stride=self.one(1, 2), pool_size=pool, pool_stride=pool,
            )  # fmt: skip
        try:
            commands = lower(work, hw)
        except InputError:
            return  # this machine or its memories cannot run the operator
        self.stream.commands += [(int(c["funct"]), int(c["rs1"]), int(c["rs2"]), int(c["gap"])) for c in commands]
        self.shrink = [True, True, self.shrink[2]] if kind == "resadd" else [False] * 3

    def normalise(self) -> None:
        """Statistics of one row, in passes of one-row mvouts."""
        for command in (self.one(*range(8)) for _ in range(self.one(1, 2, 4))):
            self.stream.config_norm(self.one(0, 1), only_stat=True)
            blocks = self.loadable(self.blocks)
            self.stream.mvout(self.dram(), self.acc(blocks) | command << 26, blocks * self.hw.dim, 1)

    def pool(self) -> None:
        size, stride = self.one(1, 2, 3), self.one(1, 2)
        out, rows = self.one(1, 2), self.one(2, 4)
        pad = self.one(0, 1) if size > 1 else 0
        rs1 = rows << 56 | rows << 48 | out << 40 | out << 32 | out << 24
        rs1 |= pad << 10 | pad << 8 | size << 6 | stride << 4 | 2
        self.stream.emit(Funct.CONFIG, rs1, IDENTITY << 32 | 64)
        self.stream.mvout(self.dram(), self.acc(2), self.upto(self.hw.dim), 1)
        self.config_st()

    def fence(self) -> None:
        self.stream.fence()

    def flush(self) -> None:
        self.stream.emit(Funct.FLUSH)

    def pause(self) -> None:
        """The CPU is busy with something else for a while."""
        self.stream.gap = self.one(1, self.hw.cpu.command_cycles, 100)


def program(hw: Hardware, actions: list[tuple[int, int]]) -> Program:
    """The program of some actions (number, seed): all configuration first and a fence last."""
    drawn = _Program(hw)
    drawn.config_ex()
    drawn.config_st()
    for state in range(3):
        drawn.config_ld(state)
    for number, seed in actions:
        drawn.act(number, seed)
    drawn.fence()
    return drawn.stream.program()


def programs(hw: Hardware, most: int = 20) -> st.SearchStrategy[Program]:
    """Programs of up to ``most`` actions for a machine."""
    actions = st.lists(st.tuples(SEEDS, SEEDS), min_size=2, max_size=most)
    return actions.map(lambda drawn: program(hw, drawn))


@st.composite
def cases(draw: Any, most: int = 20) -> tuple[Hardware, Program, int]:
    """A machine, a program for it and the loop slot that comes next."""
    hw = machine(draw(SEEDS))
    return hw, draw(programs(hw, most)), draw(st.integers(0, 1))
