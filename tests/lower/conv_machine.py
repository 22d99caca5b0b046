"""The memories after a convolution: commands as the timing core's loop emits them, executed on a machine without time.

What the hardware loop adds to the commands of a product: block strides, pixels side by side in a row (PixelRepeater of
Gemmini), rows of A apart, max-pooling at the store (StoreController.scala). Numbers in DRAM lie by quarters of a byte.
"""

from __future__ import annotations

import numpy as np
from functional_machine import Machine, unsigned

GARBAGE_BITS = 7
"""The three highest bits of an address without a row (LocalAddr.scala)."""


class ConvMachine(Machine):
    """Executes commands one after the other; rows that nobody wrote are errors where they are read."""

    cells = 4

    def __init__(self, hw, dram_bytes: int):
        super().__init__(hw, dram_bytes)
        self.block_stride, self.pixels = [hw.dim] * 3, [1] * 3
        self.a_stride, self.pool = 1, None

    def replay(self, timeline) -> None:
        """Execute the unrolled commands in the order in which the reservation station took them."""
        for entry in timeline[np.argsort(timeline["t_alloc"], kind="stable")]:
            self.step(int(entry["funct"]), unsigned(entry["rs1"]), unsigned(entry["rs2"]))

    def config(self, rs1: int, rs2: int) -> None:
        kind, state = rs1 & 3, rs1 >> 3 & 3
        if kind == 0:
            self.a_stride = rs1 >> 16 & 0xFFFF
            self.flow = rs1 >> 2 & 1 if rs1 >> 7 & 1 == 0 else self.flow
        elif kind == 1:
            self.ld_stride[state], self.shrink[state] = rs2, bool(rs1 >> 2 & 1)
            self.block_stride[state], self.pixels[state] = rs1 >> 16 & 0xFFFF, max(1, rs1 >> 8 & 0xFF)
        elif kind == 2:
            self.st_stride = rs2 & 0xFFFFFFFF
            size, stride = rs1 >> 6 & 3, rs1 >> 4 & 3
            dims = [rs1 >> shift & 0xFF for shift in (24, 32, 40, 48, 56)]
            self.pool = (size, stride, rs1 >> 8 & 3, rs1 >> 10 & 3, *dims) if stride else None

    def mvin(self, state: int, dram: int, local: int, cols: int, rows: int) -> None:
        wide = local >> 31 and not self.shrink[state]
        size = self.hw.acc_bytes if wide else self.size(("a", "b", "word")[state])
        stride = self.ld_stride[state]
        data = np.zeros((rows, cols))
        for r in range(rows if dram else 0):
            data[r] = self.dram[self.row(dram + r * stride, cols, size)]
        copies = 1 if wide else self.pixels[state]
        half = self.hw.sp_rows // 2
        for block in range(0, cols, self.dim):
            part = data[:, block : block + self.dim]
            start = (local & 0xFFFFFF) + block // self.dim * self.block_stride[state]
            for r in range(rows):
                for copy in range(copies):
                    at = start + r - copy
                    if copies > 1 and at < start // half * half:
                        continue
                    memory = self.acc if local >> 31 else self.spad
                    memory[at, copy * part.shape[1] : (copy + 1) * part.shape[1]] = part[r]

    def preload(self, first, target) -> None:
        self.staged = None if first[0] >> 29 == GARBAGE_BITS else self.operand(first)
        self.target = target

    def compute(self, a, bd, preloaded: bool) -> None:
        local, cols, rows = a
        left = self.spad[(local & 0xFFFFFF) + self.a_stride * np.arange(rows), :cols]
        assert not np.isnan(left).any(), "reads what nobody loaded"
        if preloaded:
            self.weights = self.staged
        assert bd[0] >> 29 == GARBAGE_BITS
        self.macs += rows * self.weights.size
        where, width, count = self.target
        self.rows_of(where, 0, count)[:, :width] += left @ self.weights

    def mvout(self, dram: int, local: int, cols: int, rows: int) -> None:
        if self.pool is None:
            return super().mvout(dram, local, cols, rows)
        size, stride, upad, lpad, out_dim, porows, pocols, orows, ocols = self.pool
        start, width = local & 0xFFFFFF, self.size("c")
        image = self.acc[start : start + orows * ocols, :cols].reshape(orows, ocols, cols)
        for i in range(porows):
            for j in range(pocols):
                top, left = i * stride - upad, j * stride - lpad
                window = image[max(0, top) : top + size, max(0, left) : left + size]
                there = self.row(dram + (i * out_dim + j) * self.st_stride, cols, width)
                self.dram[there] = window.max(axis=(0, 1))
        return None
