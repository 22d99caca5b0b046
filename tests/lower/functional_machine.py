"""A machine without time: executes a program in program order on floating-point memories.

Reads of rows that nobody wrote, and addresses outside a memory, are errors. Scales and activations are not
applied, so results stay exact. Hardware loops follow gemmini_machine.md 7.1-7.2 (slots, halves, accumulate
flag), independently of the lowering. Written for tests only.
"""

from __future__ import annotations

import numpy as np

from sim.isa import Funct

BASE = 0x2001_0000
GARBAGE = 0xFFFFFFFF


def unsigned(value: int) -> int:
    return int(value) & 0xFFFF_FFFF_FFFF_FFFF


def fields(value: int) -> tuple[int, int, int]:
    """(local address, columns, rows) of an operand."""
    return value & 0xFFFFFFFF, value >> 32 & 0xFFFF, value >> 48


class Machine:
    """DRAM holds one float per ``cells``-th part of a byte: the element that starts there. Sizes are bytes."""

    cells = 1

    def __init__(self, hw, dram_bytes: int):
        self.hw, self.dim = hw, hw.dim
        self.dram = np.full(dram_bytes * self.cells, np.nan)
        self.spad = np.full((hw.sp_rows, hw.dim), np.nan)
        self.acc = np.full((hw.acc_rows, hw.dim), np.nan)
        self.ld_stride, self.shrink = [0, 0, 0], [False] * 3
        self.st_stride, self.flow, self.transpose = 0, 1, (False, False)
        self.weights = self.staged = self.inside = None
        self.target = None
        self.macs = 0
        self.slot = self.loops = 0
        self.halves = [0, 0, 0]  # of the accumulator: bias loads, computes, stores
        self.bounds = self.addresses = self.strides = None

    def size(self, operand: str) -> float:
        """Bytes of an element of input type: of A, B, C, or of any other load."""
        return self.hw.bits(operand) / 8

    def row(self, address: float, count: int, element_bytes: float) -> slice:
        """The cells of adjacent elements."""
        start, step = (address - BASE) * self.cells, element_bytes * self.cells
        assert start % 1 == step % 1 == 0, "an element starts between two cells"
        return slice(int(start), int(start + count * step), int(step))

    def write(self, address: int, row_stride: int, matrix: np.ndarray, element_bytes: float) -> None:
        for r, row in enumerate(matrix):
            self.dram[self.row(address + r * row_stride * element_bytes, len(row), element_bytes)] = row

    def read(self, address: float, row_stride: int, shape: tuple[int, int], element_bytes: float) -> np.ndarray:
        out = np.empty(shape)
        for r in range(shape[0]):
            out[r] = self.dram[self.row(address + r * row_stride * element_bytes, shape[1], element_bytes)]
        return out

    def run(self, program) -> None:
        for funct, rs1, rs2, _gap in program.tolist():
            self.step(funct, unsigned(rs1), unsigned(rs2))

    def step(self, funct: int, rs1: int, rs2: int) -> None:
        if funct == Funct.CONFIG:
            self.config(rs1, rs2)
        elif funct in (Funct.MVIN, Funct.MVIN2, Funct.MVIN3):
            self.mvin((Funct.MVIN, Funct.MVIN2, Funct.MVIN3).index(funct), rs1, *fields(rs2))
        elif funct == Funct.MVOUT:
            self.mvout(rs1, *fields(rs2))
        elif funct == Funct.PRELOAD:
            self.preload(fields(rs1), fields(rs2))
        elif funct in (Funct.COMPUTE_PRELOADED, Funct.COMPUTE_ACCUMULATED):
            self.compute(fields(rs1), fields(rs2), funct == Funct.COMPUTE_PRELOADED)
        elif funct == Funct.LOOP_WS_CONFIG_BOUNDS:
            split = [(v & 0xFFFF, v >> 16 & 0xFFFF, v >> 32 & 0xFFFF) for v in (rs2, rs1)]
            self.bounds = split
        elif funct == Funct.LOOP_WS_CONFIG_ADDRS_AB:
            self.addresses = [rs1, rs2]
        elif funct == Funct.LOOP_WS_CONFIG_ADDRS_DC:
            self.addresses += [rs1, rs2]
        elif funct == Funct.LOOP_WS_CONFIG_STRIDES_AB:
            self.strides = [rs1, rs2]
        elif funct == Funct.LOOP_WS_CONFIG_STRIDES_DC:
            self.strides += [rs1, rs2]
        elif funct == Funct.LOOP_WS:
            self.loop(rs1, rs2)
        else:
            assert funct == Funct.FENCE, f"unknown funct {funct}"

    def config(self, rs1: int, rs2: int) -> None:
        kind = rs1 & 3
        if kind == 0:
            self.flow, self.transpose = rs1 >> 2 & 1, (bool(rs1 >> 8 & 1), bool(rs1 >> 9 & 1))
        elif kind == 1:
            self.ld_stride[rs1 >> 3 & 3] = rs2
            self.shrink[rs1 >> 3 & 3] = bool(rs1 >> 2 & 1)
            assert rs1 >> 16 & 0xFFFF == self.dim, "block stride"
        elif kind == 2:
            self.st_stride = rs2 & 0xFFFFFFFF

    def rows_of(self, local: int, start: int, rows: int) -> np.ndarray:
        memory = self.acc if local >> 31 else self.spad
        first = (local & 0xFFFFFF) + start
        assert first >= 0 and first + rows <= len(memory), f"rows {first}..{first + rows} outside {len(memory)}"
        return memory[first : first + rows]

    def mvin(self, state: int, dram: int, local: int, cols: int, rows: int) -> None:
        wide = local >> 31 and not self.shrink[state]
        size = self.hw.acc_bytes if wide else self.size(("a", "b", "word")[state])
        longest = self.hw.max_block_len_acc if wide else self.hw.max_block_len
        assert 1 <= rows <= self.dim and 1 <= cols <= longest * self.dim
        for block in range(0, cols, self.dim):
            width = min(self.dim, cols - block)
            target = self.rows_of(local, block // self.dim * self.dim, rows)[:, :width]
            if dram == 0:
                data = np.zeros((rows, width))
            else:
                data = self.read(dram + block * size, 0, (1, width), size)
                data = np.repeat(data, rows, 0)
                if self.ld_stride[state]:
                    for r in range(rows):
                        data[r] = self.dram[self.row(dram + r * self.ld_stride[state] + block * size, width, size)]
            if local >> 30 & 1:
                data = data + target
            target[:] = data

    def mvout(self, dram: int, local: int, cols: int, rows: int) -> None:
        size = self.hw.acc_bytes if local >> 29 & 1 else self.size("c")
        assert 1 <= rows <= self.dim and 1 <= cols <= self.hw.max_block_len * self.dim
        for block in range(0, cols, self.dim):
            width = min(self.dim, cols - block)
            data = self.rows_of(local, block // self.dim * self.dim, rows)[:, :width]
            assert not np.isnan(data).any(), "stores what nobody computed"
            for r in range(rows):
                self.dram[self.row(dram + r * self.st_stride + block * size, width, size)] = data[r]

    def operand(self, where: tuple[int, int, int]) -> np.ndarray:
        local, cols, rows = where
        data = self.rows_of(local, 0, rows)[:, :cols]
        assert not np.isnan(data).any(), "reads what nobody loaded"
        return data.copy()

    def preload(self, first: tuple[int, int, int], target: tuple[int, int, int]) -> None:
        self.staged = None if first[0] == GARBAGE else self.operand(first)
        self.target = target

    def compute(self, a: tuple[int, int, int], bd: tuple[int, int, int], preloaded: bool) -> None:
        left = self.operand(a)
        if self.flow:
            if preloaded:
                assert self.staged is not None, "switches to weights that were never preloaded"
                self.weights = self.staged
            if self.transpose[0]:
                left = left.T
            weights = self.weights.T if self.transpose[1] else self.weights
            assert bd[0] == GARBAGE
            result = left @ weights
            self.macs += left.shape[0] * weights.size
        else:
            right = self.operand(bd)
            partial = left @ right
            self.macs += left.shape[0] * right.size
            self.inside = partial if preloaded else self.inside + partial
            result = self.inside
        local, cols, rows = self.target
        if local == GARBAGE:
            return
        assert result.shape == (rows, cols), f"result {result.shape}, tile {(rows, cols)}"
        into = self.rows_of(local, 0, rows)[:, :cols]
        into[:] = into + result if local >> 30 & 1 else result

    def loop(self, rs1: int, rs2: int) -> None:
        (count_i, count_j, count_k), pads = self.bounds
        a, b, d, c = self.addresses
        stride_a, stride_b, stride_d, stride_c = self.strides
        accumulate, full, residual = rs1 & 1, rs1 >> 1 & 1, rs2 >> 2 & 1
        dim, half_acc, half_spad = self.dim, self.hw.acc_rows // 2, self.hw.sp_rows // 2
        pinned_b, pinned_a = rs1 >> 16 & 3, rs1 >> 18 & 3
        turn = self.loops % 2
        self.loops += 1
        a_half, b_half = (p - 1 if p else turn for p in (pinned_a, pinned_b))
        a_size, b_size, c_size = (self.size(operand) for operand in "abc")
        assert self.transpose == (bool(rs2 & 1), bool(rs2 >> 1 & 1)) or residual

        def length(index: int, count: int, pad: int) -> int:
            return dim - (pad if index == count - 1 else 0)

        if residual:
            base = turn * half_acc
            assert count_i * count_j * dim <= half_acc
            for i in range(count_i):
                for j in range(count_j):
                    rows, cols = length(i, count_i, pads[0]), length(j, count_j, pads[1])
                    at = base + (i * count_j + j) * dim
                    left = self.read(a + (i * stride_a + j) * dim * a_size, stride_a, (rows, cols), a_size)
                    there = b + (i * stride_b + j) * dim * b_size
                    right = self.read(there, stride_b, (rows, cols), b_size) if b else np.zeros((rows, cols))
                    self.acc[at : at + rows, :cols] = left + right
                    self.mvout(c + (i * stride_c + j) * dim * c_size, 1 << 31 | at, cols, rows)
            return
        assert (count_i + count_j) * count_k * dim <= half_spad, "a tile exceeds half of the scratchpad"
        assert count_i * count_j * dim <= half_acc, "a tile exceeds half of the accumulator"
        a_at = lambda i, k: a_half * half_spad + (k * count_i + i if rs2 & 1 else i * count_k + k) * dim  # noqa: E731
        b_base = (b_half + 1) * half_spad - count_k * count_j * dim
        b_at = lambda k, j: b_base + (j * count_k + k if rs2 >> 1 & 1 else k * count_j + j) * dim  # noqa: E731
        ld, ex, st = (half * half_acc for half in self.halves)
        for i in range(count_i):
            for k in range(count_k if a else 0):
                rows, cols = length(i, count_i, pads[0]), length(k, count_k, pads[2])
                x, y, shape = (k, i, (cols, rows)) if rs2 & 1 else (i, k, (rows, cols))
                data = self.read(a + (x * stride_a + y) * dim * a_size, stride_a, shape, a_size)
                self.spad[a_at(i, k) : a_at(i, k) + dim] = np.nan
                self.spad[a_at(i, k) : a_at(i, k) + shape[0], : shape[1]] = data
        for k in range(count_k if b else 0):
            for j in range(count_j):
                rows, cols = length(k, count_k, pads[2]), length(j, count_j, pads[1])
                x, y, shape = (j, k, (cols, rows)) if rs2 >> 1 & 1 else (k, j, (rows, cols))
                data = self.read(b + (x * stride_b + y) * dim * b_size, stride_b, shape, b_size)
                self.spad[b_at(k, j) : b_at(k, j) + dim] = np.nan
                self.spad[b_at(k, j) : b_at(k, j) + shape[0], : shape[1]] = data
        for i in range(count_i if d else 0):
            for j in range(count_j):
                rows, cols = length(i, count_i, pads[0]), length(j, count_j, pads[1])
                source = d + (i * stride_d + j) * dim * self.hw.acc_bytes
                at = ld + (i * count_j + j) * dim
                self.acc[at : at + rows, :cols] = self.read(source, stride_d, (rows, cols), self.hw.acc_bytes)
        for k in range(count_k):
            for j in range(count_j):
                for i in range(count_i):
                    rows, cols = length(i, count_i, pads[0]), length(j, count_j, pads[1])
                    deep = length(k, count_k, pads[2])
                    target = 1 << 31 | (1 << 30 if accumulate or k else 0) | ex + (i * count_j + j) * dim
                    a_shape = (rows, deep) if rs2 & 1 else (deep, rows)
                    b_shape = (deep, cols) if rs2 >> 1 & 1 else (cols, deep)
                    self.preload((b_at(k, j), *b_shape) if i == 0 else (GARBAGE, dim, dim), (target, cols, rows))
                    self.compute((a_at(i, k), *a_shape), (GARBAGE, dim, dim), i == 0)
        c_bytes = self.hw.acc_bytes if full else c_size
        for i in range(count_i if c else 0):
            for j in range(count_j):
                rows, cols = length(i, count_i, pads[0]), length(j, count_j, pads[1])
                local = 1 << 31 | full << 29 | st + (i * count_j + j) * dim
                self.mvout(c + (i * stride_c + j) * dim * c_bytes, local, cols, rows)
        toggles = (bool(d), bool(c), bool(c))
        self.halves = [half ^ toggle for half, toggle in zip(self.halves, toggles, strict=True)]
