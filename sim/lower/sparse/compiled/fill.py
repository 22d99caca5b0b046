"""The three command streams of a block-sparse product (loads, computes, stores), tile after tile.

Each item says which items of the other streams must precede it (`merge`). `fill` walks the tiles; one function a kind
of command. The state of a walk is one record (`STATE`) and arrays by block (`Tables`).
"""

from __future__ import annotations

import numpy as np

from sim.isa.commands import (
    ACCUMULATE_BIT,
    ACCUMULATOR_BIT,
    FULL_WIDTH_BIT,
    GARBAGE_ADDRESS,
    STORED_SHIFT,
    ConfigKind,
    Funct,
)
from sim.lower.sparse.compiled.jit import entry, njit
from sim.lower.sparse.compiled.loads import blocks_of, row_cycles, run_length
from sim.lower.sparse.compiled.records import BITMAP as BITMAP
from sim.lower.sparse.compiled.records import BITS as BITS
from sim.lower.sparse.compiled.records import NO_INDEX as NO_INDEX

A_STATE, B_STATE, D_STATE = int(Funct.MVIN), int(Funct.MVIN2), int(Funct.MVIN3)
"""Loads of A, of B, and of bias, zeros and block index in turn, each by a load state of its own."""
CONFIG, PRELOAD, MVOUT = int(Funct.CONFIG), int(Funct.PRELOAD), int(Funct.MVOUT)
SWITCH, GO_ON = int(Funct.COMPUTE_PRELOADED), int(Funct.COMPUTE_ACCUMULATED)
LOAD_CONFIG = int(ConfigKind.LD)
ACC, ADD, FULL, NOWHERE = int(ACCUMULATOR_BIT), int(ACCUMULATE_BIT), int(FULL_WIDTH_BIT), int(GARBAGE_ADDRESS)
THIRD_STATE = 2
BITS_PER_BYTE = 8
SHORTEST_COMPUTE_CYCLES = 4
"""A compute of fewer rows takes as long (rtl README, compute rules)."""


@njit
def _operand(address, cols, rows):
    return (address & 0xFFFFFFFF) | (cols & 0xFFFF) << 32 | (rows & 0xFFFF) << 48


@njit
def _extent(first, count, dim, size):
    """Return the elements of ``count`` blocks from block ``first`` on, without what lies beyond the matrix."""
    return min((first + count) * dim, size) - first * dim


@njit
def _add(items, number, funct, rs1, rs2, busy, drain, loads, computes, stores):
    """Write an item of one command."""
    item = items[number]
    item["commands"] = 1
    item["funct"] = funct
    item["rs1"] = rs1
    item["rs2"] = rs2
    item["busy_cycles"] = busy
    item["drain_cycles"] = drain
    item["loads"] = loads
    item["computes"] = computes
    item["stores"] = stores


@njit
def _load(s, cost, state, items, funct, dram, local, cols, rows, bits, computes, stores):
    """Append an mvin of elements of ``bits``."""
    blocks = blocks_of(cols, s["dim"])
    busy = float(rows * blocks)
    if dram:
        busy = rows * row_cycles(cost, blocks, s["dim"] * bits // BITS_PER_BYTE)
    beats = rows * blocks_of(cols * bits, BITS_PER_BYTE * cost["bus_bytes"])
    _add(items, state["loads"], funct, dram, _operand(local, cols, rows), busy, beats, 0, computes, stores)
    state["loads"] += 1


@njit
def _third_state(s, state, items, stride_bytes, shrink):
    """Point the third load state at rows ``stride_bytes`` apart, if it isn't there already."""
    if state["stride_bytes"] == stride_bytes:
        return
    state["stride_bytes"] = stride_bytes
    rs1 = s["scale_bits"] << 32 | s["dim"] << 16 | 1 << 8 | THIRD_STATE << 3 | shrink << 2 | LOAD_CONFIG
    _add(items, state["loads"], CONFIG, rs1, stride_bytes, 1.0, 1.0, 0, 0, 0)
    state["loads"] += 1


@njit
def _bytes(elements, bits):
    return blocks_of(elements * bits, BITS_PER_BYTE)


@njit
def _part_bits(index_bits, q, stop_q, j, stop_j):
    total = 0
    for row in range(q, stop_q):
        for col in range(j, stop_j):
            total += index_bits[row, col]
    return total


@njit
def _index(s, cost, state, t, loads, tile, bounds, slot_row, slot):
    """Fetch the index of a part of B to the start of its slot, as whole scratchpad rows; return how many."""
    q, stop_q, j, stop_j = bounds
    if s["index_kind"] == NO_INDEX:
        return 0
    row_bytes = s["index_row_bytes"]
    wide = 1
    if s["index_kind"] == BITMAP:  # column by column; the first row may hold others' bits too
        column = blocks_of(s["blocks_q"], BITS_PER_BYTE)
        first, last = j * column // row_bytes, blocks_of(stop_j * column, row_bytes)
    else:  # in the order of use, each part from a fresh line on, as wide as a request
        line = blocks_of(_part_bits(t.index_bits, q, stop_q, j, stop_j), BITS_PER_BYTE)
        if t.index_at[tile[1], tile[2]] < 0:
            t.index_at[tile[1], tile[2]] = state["index_end"]
            state["index_end"] += blocks_of(line, row_bytes)
        first, wide = t.index_at[tile[1], tile[2]], s["group"]
        last = first + blocks_of(line, row_bytes)
    computes = t.slot_pairs_b[slot]
    if s["index_kind"] == BITS and t.last_read[slot] >= 0:
        # No command names the index rows, so the reservation station lets loads overwrite them while preloads of the
        # slot's last part have yet to read them. A zero on the block that is preloaded last waits for that preload, and
        # all later loads wait behind it.
        _load(s, cost, state, loads, B_STATE, 0, t.last_read[slot], 1, 1, s["word_bits"], computes, 0)
    row = first
    while row < last:  # whole blocks side by side, so that nothing is written behind the index
        blocks = max(1, min(wide, (last - row) // s["dim"]))
        rows = min(s["dim"], last - row)
        _third_state(s, state, loads, row_bytes * blocks, 0)
        dram = s["index_address"] + row * row_bytes
        local = slot_row + row - first
        _load(s, cost, state, loads, D_STATE, dram, local, blocks * s["dim"], rows, s["word_bits"], computes, 0)
        note = t.index_loads[state["index_loads"]]
        note[0], note[1], note[2], note[3], note[4], note[5] = tile[1], tile[2], dram, blocks, rows, row - first
        state["index_loads"] += 1
        row += rows * blocks
    return last - first


@njit
def _distinct(first_row, stop_row, first_col, stop_col, block):
    """Return the values of circulants of ``block`` that a window meets (`sim.sparsity.masks.formats`)."""
    total = 0
    row = first_row
    while row < stop_row:
        high = min(stop_row, (row // block + 1) * block) - row
        col = first_col
        while col < stop_col:
            wide = min(stop_col, (col // block + 1) * block) - col
            total += min(block, high + wide - 1)
            col += wide
        row += high
    return total


@njit
def _expand(s, cost, state, t, loads, q, j, count, local, cols, rows, computes):
    """Append an expanding mvin: bytes as stored, in the order of use, each from a fresh beat on."""
    local_rows = rows * blocks_of(cols, s["dim"])
    bits = 0
    if s["circulant"]:
        start = q * s["dim"], j * s["dim"]
        met = _distinct(start[0], start[0] + rows, start[1], start[1] + cols, s["circulant"])
        bits = s["value_bits"] * met
    else:
        for block in range(j, j + blocks_of(cols, s["dim"])):
            bits += t.stored_bits[q, block]
    row_bytes = max(1, blocks_of(blocks_of(bits, BITS_PER_BYTE), local_rows))
    stored = row_bytes * local_rows
    beats = blocks_of(stored, cost["bus_bytes"])
    if t.stored_at[q, j] < 0:
        t.stored_at[q, j] = state["stored_end"]
        t.stored_count[q, j] = count
        state["stored_end"] += beats * cost["bus_bytes"]
    dram = s["index_address"] + t.stored_at[q, j]
    busy = max(row_cycles(cost, 1, stored), float(local_rows * s["decode_cycles"]))
    rs2 = row_bytes << STORED_SHIFT | _operand(local, cols, rows)
    _add(loads, state["loads"], B_STATE, dram, rs2, busy, beats, 0, computes, 0)
    state["loads"] += 1


@njit
def _b_row(s, cost, state, t, loads, q, bounds, b_next, computes):
    """Load the blocks of row q of a part of B; return the next free local row."""
    j, stop_j = bounds[2], bounds[3]
    while j < stop_j:
        if not t.mask[q, j]:
            j += 1
            continue
        count = run_length(t.mask[q], j, stop_j, s["group"], 0)
        # Neighbours with fewer packed rows are padded: the lines of a request are stored side by side.
        rows = t.rows[q, j : j + count].max()
        cols = _extent(j, count, s["dim"], s["n"])
        if s["stored"]:
            _expand(s, cost, state, t, loads, q, j, count, b_next, cols, rows, computes)
        else:
            dram = s["b_address"] + _bytes((q * s["b_stride"] + j) * s["dim"], s["b_bits"])
            _load(s, cost, state, loads, B_STATE, dram, b_next, cols, rows, s["b_bits"], computes, 0)
        for place in range(count):
            t.b_local[q, j + place] = b_next + place * s["dim"]
            t.ready_b[q, j + place] = state["loads"]
        b_next += count * s["dim"]
        j += count
    return b_next


@njit
def _a_run(s, cost, state, t, loads, q, count, rows_i, a_next, a_columns, computes):
    """Load a run of blocks of A that begins at column block q, for every row of blocks."""
    dim, fetch = s["dim"], s["fetch"]
    last = q + count - 1
    last_column = last // fetch * s["depth"] + last % fetch * dim
    column = q // fetch * s["depth"] + q % fetch * dim
    width = max(0, min(dim, s["depth"] - last % fetch * dim, s["k"] - last_column))
    cols = last_column + width - column
    for i in range(rows_i[0], rows_i[1]):
        dram = s["a_address"] + _bytes(i * s["a_stride"] * dim + column, s["a_bits"])
        local = a_next + (i - rows_i[0]) * a_columns * dim
        rows = _extent(i, 1, dim, s["m"])
        _load(s, cost, state, loads, A_STATE, dram, local, cols, rows, s["a_bits"], computes, 0)
        for place in range(count):
            t.a_local[i, q + place] = local + place * dim
            t.ready_a[i, q + place] = state["loads"]


@njit
def _operands(s, cost, state, t, loads, rows_i, bounds, step, a_row, b_next):
    """Load the operands of a tile that no slot holds: row q of B, then the columns of A that begin there."""
    q0, stop_q, load_a, load_b = bounds[0], bounds[1], step[5], step[6]
    needed = t.a_needed[step[3]]
    a_columns = 0
    q = q0
    while load_a and q < stop_q:
        length = run_length(needed, q, stop_q, s["a_group"], s["bridge"]) if needed[q] else 0
        a_columns += length
        q += max(1, length)
    next_a = q0
    for q in range(q0, stop_q):
        if load_b:
            b_next = _b_row(s, cost, state, t, loads, q, bounds, b_next, t.slot_pairs_b[step[8]])
        if load_a and q >= next_a and needed[q]:
            count = run_length(needed, q, stop_q, s["a_group"], s["bridge"])
            _a_run(s, cost, state, t, loads, q, count, rows_i, a_row, a_columns, t.slot_pairs_a[step[7]])
            a_row += count * s["dim"]
            next_a = q + count


@njit
def _begin_output(s, cost, state, t, loads, rows_i, cols_j, half):
    """Bring the bias into the accumulator half, or zeros where no block of B will ever write."""
    dim, group = s["dim"], s["group_acc"]
    biased = s["biased"] != 0
    started = False
    j = cols_j[0]
    while j < cols_j[1]:
        if not biased and t.column_used[j]:
            j += 1
            continue
        count = 1
        while j + count < min(cols_j[1], (j // group + 1) * group) and (biased or not t.column_used[j + count]):
            count += 1
        if biased and not started:
            started = True
            _third_state(s, state, loads, _bytes(s["d_stride"], s["d_bits"]), s["low_d"])
        for i in range(rows_i[0], rows_i[1]):
            dram = 0
            if biased:
                row = 0 if s["row_bias"] else i * s["d_stride"]
                dram = s["d_address"] + _bytes((row + j) * dim, s["d_bits"])
            cols, rows = _extent(j, count, dim, s["n"]), _extent(i, 1, dim, s["m"])
            local = (ACC | half * s["acc_half"]) + _place(i, j, rows_i, cols_j) * dim
            stores = t.half_stores[half]
            _load(s, cost, state, loads, D_STATE, dram, local, cols, rows, s["d_bits"], 0, stores)
            for place in range(count):
                t.ready_c[i, j + place] = state["loads"]
        j += count


@njit
def _place(i, j, rows_i, cols_j):
    """Return the number of an output block within its tile."""
    return (i - rows_i[0]) * (cols_j[1] - cols_j[0]) + j - cols_j[0]


@njit
def _pair(s, state, t, pairs, q, j, i, rows_i, cols_j, half):
    """Append the preload of a block of B (or none, behind the first row) and the compute of a row of A."""
    dim, biased = s["dim"], s["biased"] != 0
    first = i == rows_i[0]
    cols, depth, height = _extent(j, 1, dim, s["n"]), t.rows[q, j], _extent(i, 1, dim, s["m"])
    group = q // s["fetch"] * s["fetch"]
    c = (ACC | half * s["acc_half"]) + _place(i, j, rows_i, cols_j) * dim
    if biased or t.column_end[j] > 0:
        c |= ADD
    loads = max(t.ready_a[i, group], t.ready_b[q, j])
    if biased:
        loads = max(loads, t.ready_c[i, j])
    busy = float(dim if first else max(height, SHORTEST_COMPUTE_CYCLES))
    item = pairs[state["pairs"]]
    item["commands"] = 2
    item["funct"] = PRELOAD
    item["rs1"] = _operand(t.b_local[q, j] if first else NOWHERE, cols, depth)
    item["rs2"] = _operand(c, cols, height)
    item["next_funct"] = SWITCH if first else GO_ON
    item["next_rs1"] = _operand(t.a_local[i, group], depth, height)
    item["next_rs2"] = _operand(NOWHERE, dim, dim)
    item["busy_cycles"] = busy
    item["drain_cycles"] = busy
    item["loads"] = loads
    item["computes"] = 0
    item["stores"] = t.half_stores[half]
    state["pairs"] += 1


@njit
def _computes(s, state, t, pairs, rows_i, bounds, step, half):
    """Append one preload per block of B, one compute per row of output blocks."""
    cols_j = bounds[2], bounds[3]
    for q in range(bounds[0], bounds[1]):
        for j in range(cols_j[0], cols_j[1]):
            if t.mask[q, j]:
                for i in range(rows_i[0], rows_i[1]):
                    _pair(s, state, t, pairs, q, j, i, rows_i, cols_j, half)
                t.column_end[j] = state["pairs"]
                t.last_read[step[8]] = t.b_local[q, j]
    t.slot_pairs_a[step[7]] = state["pairs"]
    t.slot_pairs_b[step[8]] = state["pairs"]


@njit
def _store(s, state, t, stores, rows_i, cols_j, half):
    """Store an output tile, up to a request's blocks at a time, columns in the order in which they are complete."""
    dim = s["dim"]
    group = 1 if s["full_c"] else s["group"]
    chunks = blocks_of(cols_j[1] - cols_j[0], group)
    ends = np.zeros(chunks, np.int64)
    for chunk in range(chunks):
        for j in range(cols_j[0] + chunk * group, min(cols_j[0] + (chunk + 1) * group, cols_j[1])):
            ends[chunk] = max(ends[chunk], t.column_end[j])
    for chunk in np.argsort(ends, kind="mergesort"):
        first = cols_j[0] + chunk * group
        count = min(first + group, cols_j[1]) - first
        for i in range(rows_i[0], rows_i[1]):
            loads = 0
            for j in range(first, first + count):
                loads = max(loads, t.ready_c[i, j])
            local = (ACC | half * s["acc_half"]) + _place(i, first, rows_i, cols_j) * dim | ADD
            if s["full_c"]:
                local |= FULL
            dram = s["c_address"] + _bytes((i * s["c_stride"] + first) * dim, s["c_bits"])
            cols, rows = _extent(first, count, dim, s["n"]), _extent(i, 1, dim, s["m"])
            busy = float(rows * (2 * count - 1))
            rs2 = _operand(local, cols, rows)
            _add(stores, state["stores"], MVOUT, dram, rs2, busy, busy, loads, ends[chunk], 0)
            state["stores"] += 1
    t.half_stores[half] = state["stores"]


@entry
def fill(sizes, cost, state, tables, steps, a_rows, b_rows, loads, pairs, stores):
    """Fill the three streams.

    ``sizes``, ``cost``, ``state``: one record each (`SIZES`, `COST`, `STATE`). ``steps``: int64[steps, 9], tile (i, j,
    q), parts of A and B, whether each is loaded, slots of both. ``a_rows``, ``b_rows``: first scratchpad row of each
    slot. ``loads``, ``pairs``, ``stores``: ITEM arrays with room for all.
    """
    s, c, st, t = sizes[0], cost[0], state[0], tables
    outputs = -1
    for number in range(len(steps)):
        step = steps[number]
        tile = step[0], step[1], step[2]
        rows_i = tile[0] * s["tile_i"], min((tile[0] + 1) * s["tile_i"], s["blocks_i"])
        cols_j = tile[1] * s["tile_j"], min((tile[1] + 1) * s["tile_j"], s["blocks_j"])
        bounds = tile[2] * s["tile_q"], min((tile[2] + 1) * s["tile_q"], s["blocks_q"]), cols_j[0], cols_j[1]
        if tile[2] == 0:
            outputs += 1
            t.column_end[:] = 0
            _begin_output(s, c, st, t, loads, rows_i, cols_j, outputs % 2)
        b_next = b_rows[step[8]]
        if step[6]:
            b_next += _index(s, c, st, t, loads, tile, bounds, b_rows[step[8]], step[8])
        _operands(s, c, st, t, loads, rows_i, bounds, step, a_rows[step[7]], b_next)
        _computes(s, st, t, pairs, rows_i, bounds, step, outputs % 2)
        if tile[2] == s["last_k"]:
            _store(s, st, t, stores, rows_i, cols_j, outputs % 2)
