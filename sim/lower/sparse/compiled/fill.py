"""The three command streams of a block-sparse product (loads, computes, stores), tile after tile.

Each item says which items of the other streams must precede it (`merge`). `fill` walks the tiles; one function a kind
of command. The state of a walk is one record (`STATE`) and arrays by block (`Tables`).
"""

from __future__ import annotations

import numpy as np

from sim.isa.commands import STORED_SHIFT
from sim.lower.sparse.compiled.items import (
    A_STATE,
    ACC,
    ADD,
    B_STATE,
    BITS_PER_BYTE,
    CONFIG,
    D_STATE,
    FULL,
    GO_ON,
    MVOUT,
    NOWHERE,
    PRELOAD,
    SHORTEST_COMPUTE_CYCLES,
    SWITCH,
    Needs,
    extent,
    operand,
    packed_bytes,
    put,
    third_state,
)
from sim.lower.sparse.compiled.jit import entry, njit
from sim.lower.sparse.compiled.loads import blocks_of, largest, row_cycles, run_length
from sim.lower.sparse.compiled.records import BITMAP, BITS, NO_INDEX, Moved, Tile, Walk


@njit
def _append_load(w, funct, rs1, rs2, busy_cycles, drain_cycles, needs):
    put(w.loads[w.state["loads"]], funct, rs1, rs2, busy_cycles, drain_cycles, needs)
    w.state["loads"] += 1


@njit
def _load(w, funct, moved, needs):
    """Append an mvin."""
    dim, rows = w.sizes["dim"], moved.rows
    blocks = blocks_of(moved.cols, dim)
    busy = float(rows * blocks)
    if moved.dram:
        busy = rows * row_cycles(w.cost, blocks, dim * moved.bits // BITS_PER_BYTE)
    beats = rows * blocks_of(moved.cols * moved.bits, BITS_PER_BYTE * w.cost["bus_bytes"])
    _append_load(w, funct, moved.dram, operand(moved.local, moved.cols, rows), busy, beats, needs)


@njit
def _third_state(w, stride_bytes, shrink):
    """Point the third load state at rows ``stride_bytes`` apart, if it isn't there already."""
    if w.state["stride_bytes"] == stride_bytes:
        return
    w.state["stride_bytes"] = stride_bytes
    rs1 = third_state(w.sizes["dim"], shrink, w.sizes["scale_bits"])
    _append_load(w, CONFIG, rs1, stride_bytes, 1.0, 1.0, Needs(0, 0, 0))


@njit
def _part_bits(index_bits, q, stop_q, j, stop_j):
    total = 0
    for row in range(q, stop_q):
        for col in range(j, stop_j):
            total += index_bits[row, col]
    return total


@njit
def _index(w, tile, slot_row):
    """Fetch the index of a part of B to the start of its slot, as whole scratchpad rows; return how many."""
    s, state, t = w.sizes, w.state, w.tables
    (q, stop_q), (j, stop_j) = tile.depths, tile.columns
    at = tile.numbers[1], tile.numbers[2]
    if s["index_kind"] == NO_INDEX:
        return 0
    row_bytes = s["index_row_bytes"]
    wide = 1
    if s["index_kind"] == BITMAP:  # column by column; the first row may hold others' bits too
        column = blocks_of(s["blocks_q"], BITS_PER_BYTE)
        first, last = j * column // row_bytes, blocks_of(stop_j * column, row_bytes)
    else:  # in the order of use, each part from a fresh line on, as wide as a request
        line = blocks_of(_part_bits(t.index_bits, q, stop_q, j, stop_j), BITS_PER_BYTE)
        if t.index_at[at] < 0:
            t.index_at[at] = state["index_end"]
            state["index_end"] += blocks_of(line, row_bytes)
        first, wide = t.index_at[at], s["group"]
        last = first + blocks_of(line, row_bytes)
    needs = Needs(0, t.slot_pairs_b[tile.slot_b], 0)
    last_read = t.last_read[tile.slot_b]
    if s["index_kind"] == BITS and last_read >= 0:
        # No command names the index rows, so the reservation station lets loads overwrite them while preloads of the
        # slot's last part have yet to read them. A zero on the block that is preloaded last waits for that preload, and
        # all later loads wait behind it.
        _load(w, B_STATE, Moved(0, last_read, 1, 1, s["word_bits"]), needs)
    row = first
    while row < last:  # whole blocks side by side, so that nothing is written behind the index
        blocks = max(1, min(wide, (last - row) // s["dim"]))
        rows = min(s["dim"], last - row)
        _third_state(w, row_bytes * blocks, 0)
        dram = s["index_address"] + row * row_bytes
        _load(w, D_STATE, Moved(dram, slot_row + row - first, blocks * s["dim"], rows, s["word_bits"]), needs)
        note = t.index_loads[state["index_loads"]]
        note[0], note[1], note[2], note[3], note[4], note[5] = at[0], at[1], dram, blocks, rows, row - first
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
def _expand(w, q, j, count, moved, needs):
    """Append an expanding mvin of ``count`` blocks from block (q, j) on: bytes as stored, in the order of use, each
    from a fresh beat on."""
    s, state, t, bus_bytes = w.sizes, w.state, w.tables, w.cost["bus_bytes"]
    cols, rows = moved.cols, moved.rows
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
    beats = blocks_of(stored, bus_bytes)
    if t.stored_at[q, j] < 0:
        t.stored_at[q, j] = state["stored_end"]
        t.stored_count[q, j] = count
        state["stored_end"] += beats * bus_bytes
    dram = s["index_address"] + t.stored_at[q, j]
    busy = max(row_cycles(w.cost, 1, stored), float(local_rows * s["decode_cycles"]))
    rs2 = row_bytes << STORED_SHIFT | operand(moved.local, cols, rows)
    _append_load(w, B_STATE, dram, rs2, busy, beats, needs)


@njit
def _b_row(w, tile, q, b_next):
    """Load the blocks of row q of a part of B; return the next free local row."""
    s, state, t = w.sizes, w.state, w.tables
    needs = Needs(0, t.slot_pairs_b[tile.slot_b], 0)
    j, stop_j = tile.columns
    while j < stop_j:
        if not t.mask[q, j]:
            j += 1
            continue
        count = run_length(t.mask[q], j, stop_j, s["group"], 0)
        # Neighbours with fewer packed rows are padded: the lines of a request are stored side by side.
        rows = largest(t.rows[q, j : j + count])
        cols = extent(j, count, s["dim"], s["n"])
        dram = s["b_address"] + packed_bytes((q * s["b_stride"] + j) * s["dim"], s["b_bits"])
        moved = Moved(dram, b_next, cols, rows, s["b_bits"])
        if s["stored"]:
            _expand(w, q, j, count, moved, needs)
        else:
            _load(w, B_STATE, moved, needs)
        for place in range(count):
            t.b_local[q, j + place] = b_next + place * s["dim"]
            t.ready_b[q, j + place] = state["loads"]
        b_next += count * s["dim"]
        j += count
    return b_next


@njit
def _a_run(w, tile, q, count, a_next, a_columns):
    """Load a run of blocks of A that begins at column block q, for every row of blocks."""
    s, state, t = w.sizes, w.state, w.tables
    needs = Needs(0, t.slot_pairs_a[tile.slot_a], 0)
    dim, fetch = s["dim"], s["fetch"]
    last = q + count - 1
    last_column = last // fetch * s["depth"] + last % fetch * dim
    column = q // fetch * s["depth"] + q % fetch * dim
    width = max(0, min(dim, s["depth"] - last % fetch * dim, s["k"] - last_column))
    cols = last_column + width - column
    for i in range(tile.rows[0], tile.rows[1]):
        dram = s["a_address"] + packed_bytes(i * s["a_stride"] * dim + column, s["a_bits"])
        local = a_next + (i - tile.rows[0]) * a_columns * dim
        rows = extent(i, 1, dim, s["m"])
        _load(w, A_STATE, Moved(dram, local, cols, rows, s["a_bits"]), needs)
        for place in range(count):
            t.a_local[i, q + place] = local + place * dim
            t.ready_a[i, q + place] = state["loads"]


@njit
def _operands(w, tile, a_row, b_next):
    """Load the operands of a tile that no slot holds: row q of B, then the columns of A that begin there."""
    s, needed = w.sizes, w.tables.a_needed[tile.part]
    q0, stop_q = tile.depths
    a_columns = 0
    q = q0
    while tile.load_a and q < stop_q:
        length = run_length(needed, q, stop_q, s["a_group"], s["bridge"]) if needed[q] else 0
        a_columns += length
        q += max(1, length)
    next_a = q0
    for q in range(q0, stop_q):
        if tile.load_b:
            b_next = _b_row(w, tile, q, b_next)
        if tile.load_a and q >= next_a and needed[q]:
            count = run_length(needed, q, stop_q, s["a_group"], s["bridge"])
            _a_run(w, tile, q, count, a_row, a_columns)
            a_row += count * s["dim"]
            next_a = q + count


@njit
def _begin_output(w, tile):
    """Bring the bias into the accumulator half, or zeros where no block of B will ever write."""
    s, state, t = w.sizes, w.state, w.tables
    needs = Needs(0, 0, t.half_stores[tile.half])
    dim, group = s["dim"], s["group_acc"]
    biased = s["biased"] != 0
    started = False
    j, stop_j = tile.columns
    while j < stop_j:
        if not biased and t.column_used[j]:
            j += 1
            continue
        count = 1
        while j + count < min(stop_j, (j // group + 1) * group) and (biased or not t.column_used[j + count]):
            count += 1
        if biased and not started:
            started = True
            _third_state(w, packed_bytes(s["d_stride"], s["d_bits"]), s["low_d"])
        for i in range(tile.rows[0], tile.rows[1]):
            dram = 0
            if biased:
                row = 0 if s["row_bias"] else i * s["d_stride"]
                dram = s["d_address"] + packed_bytes((row + j) * dim, s["d_bits"])
            cols, rows = extent(j, count, dim, s["n"]), extent(i, 1, dim, s["m"])
            _load(w, D_STATE, Moved(dram, _output(w, tile, i, j), cols, rows, s["d_bits"]), needs)
            for place in range(count):
                t.ready_c[i, j + place] = state["loads"]
        j += count


@njit
def _output(w, tile, i, j):
    """Return the accumulator address of an output block."""
    number = (i - tile.rows[0]) * (tile.columns[1] - tile.columns[0]) + j - tile.columns[0]
    return (ACC | tile.half * w.sizes["acc_half"]) + number * w.sizes["dim"]


@njit
def _pair(w, tile, q, j, i):
    """Append the preload of a block of B (or none, behind the first row) and the compute of a row of A."""
    s, t = w.sizes, w.tables
    dim, biased = s["dim"], s["biased"] != 0
    first = i == tile.rows[0]
    cols, depth, height = extent(j, 1, dim, s["n"]), t.rows[q, j], extent(i, 1, dim, s["m"])
    group = q // s["fetch"] * s["fetch"]
    c = _output(w, tile, i, j)
    if biased or t.column_end[j] > 0:
        c |= ADD
    loads = max(t.ready_a[i, group], t.ready_b[q, j])
    if biased:
        loads = max(loads, t.ready_c[i, j])
    busy = float(dim if first else max(height, SHORTEST_COMPUTE_CYCLES))
    item = w.pairs[w.state["pairs"]]
    item["commands"] = 2
    item["funct"] = PRELOAD
    item["rs1"] = operand(t.b_local[q, j] if first else NOWHERE, cols, depth)
    item["rs2"] = operand(c, cols, height)
    item["next_funct"] = SWITCH if first else GO_ON
    item["next_rs1"] = operand(t.a_local[i, group], depth, height)
    item["next_rs2"] = operand(NOWHERE, dim, dim)
    item["busy_cycles"] = busy
    item["drain_cycles"] = busy
    item["loads"] = loads
    item["computes"] = 0
    item["stores"] = t.half_stores[tile.half]
    w.state["pairs"] += 1


@njit
def _computes(w, tile):
    """Append one preload per block of B, one compute per row of output blocks."""
    state, t = w.state, w.tables
    for q in range(tile.depths[0], tile.depths[1]):
        for j in range(tile.columns[0], tile.columns[1]):
            if t.mask[q, j]:
                for i in range(tile.rows[0], tile.rows[1]):
                    _pair(w, tile, q, j, i)
                t.column_end[j] = state["pairs"]
                t.last_read[tile.slot_b] = t.b_local[q, j]
    t.slot_pairs_a[tile.slot_a] = state["pairs"]
    t.slot_pairs_b[tile.slot_b] = state["pairs"]


@njit
def _store(w, tile):
    """Store an output tile, up to a request's blocks at a time, columns in the order in which they are complete."""
    s, state, t = w.sizes, w.state, w.tables
    dim, (first_j, stop_j) = s["dim"], tile.columns
    group = 1 if s["full_c"] else s["group"]
    chunks = blocks_of(stop_j - first_j, group)
    ends = np.zeros(chunks, np.int64)
    for chunk in range(chunks):
        for j in range(first_j + chunk * group, min(first_j + (chunk + 1) * group, stop_j)):
            ends[chunk] = max(ends[chunk], t.column_end[j])
    for chunk in np.argsort(ends, kind="mergesort"):
        first = first_j + chunk * group
        count = min(first + group, stop_j) - first
        for i in range(tile.rows[0], tile.rows[1]):
            loads = 0
            for j in range(first, first + count):
                loads = max(loads, t.ready_c[i, j])
            local = _output(w, tile, i, first) | ADD
            if s["full_c"]:
                local |= FULL
            dram = s["c_address"] + packed_bytes((i * s["c_stride"] + first) * dim, s["c_bits"])
            cols, rows = extent(first, count, dim, s["n"]), extent(i, 1, dim, s["m"])
            busy = float(rows * (2 * count - 1))
            rs2 = operand(local, cols, rows)
            item = w.stores[state["stores"]]
            put(item, MVOUT, dram, rs2, busy, busy, Needs(loads, ends[chunk], 0))
            state["stores"] += 1
    t.half_stores[tile.half] = state["stores"]


@njit
def _tile(s, step, half):
    """Return the tile of a step."""
    i, j, q = step[0], step[1], step[2]
    rows = i * s["tile_i"], min((i + 1) * s["tile_i"], s["blocks_i"])
    columns = j * s["tile_j"], min((j + 1) * s["tile_j"], s["blocks_j"])
    depths = q * s["tile_q"], min((q + 1) * s["tile_q"], s["blocks_q"])
    return Tile((i, j, q), rows, columns, depths, step[3], step[5] != 0, step[6] != 0, step[7], step[8], half)


@entry
def fill(records, tables, steps, slots, streams):
    """Fill the three streams.

    ``records``: arrays of one record, `SIZES`, `COST` and `STATE`. ``steps``: int64[steps, 9], tile (i, j, q), parts of
    A and B, whether each is loaded, slots of both. ``slots``: first scratchpad row of each slot of A, and of B.
    ``streams``: ITEM arrays of loads, pairs and stores with room for all.
    """
    sizes, cost, state = records[0][0], records[1][0], records[2][0]
    w = Walk(sizes, cost, state, tables, streams[0], streams[1], streams[2])
    outputs = -1
    for number in range(len(steps)):
        first = steps[number, 2] == 0
        outputs += int(first)
        tile = _tile(sizes, steps[number], outputs % 2)
        if first:
            tables.column_end[:] = 0
            _begin_output(w, tile)
        b_next = slots[1][tile.slot_b]
        if tile.load_b:
            b_next += _index(w, tile, b_next)
        _operands(w, tile, slots[0][tile.slot_a], b_next)
        _computes(w, tile)
        if tile.numbers[2] == sizes["last_k"]:
            _store(w, tile)
