"""Loads, groups of weights with what is streamed past them, and stores of a sampled product, step after step.

Which preload goes beside which chunk: `sim.lower.sparse.sampled_pairs`. What each item waits for in the other streams:
`sim.lower.sparse.sampled_stream`.
"""

from __future__ import annotations

import numpy as np

from sim.lower.sparse.compiled.items import (
    A_STATE,
    ACC,
    ADD,
    B_STATE,
    BITS_PER_BYTE,
    CONFIG,
    D_STATE,
    FULL,
    MVOUT,
    NORM_CONFIG,
    Needs,
    extent,
    operand,
    packed_bytes,
    put,
    third_state,
)
from sim.lower.sparse.compiled.jit import entry, njit
from sim.lower.sparse.compiled.loads import blocks_of, row_cycles, total
from sim.lower.sparse.compiled.sampled_records import (
    A_COLS,
    C_COLS,
    C_ROWS,
    LOADS,
    ROWS,
    STEP,
    A,
    C,
    Met,
    Moved,
    Step,
    Wait,
    Walk,
)

FREE = Wait(-1, 0)
NO_NEEDS = Needs(0, 0, 0)


@njit
def _load(w, funct, moved, wait):
    """Append an mvin."""
    dim, rows, at = w.sizes["dim"], moved.rows, w.state["loads"]
    blocks = blocks_of(moved.cols, dim)
    busy = rows * row_cycles(w.cost, blocks, dim * moved.bits // BITS_PER_BYTE)
    beats = rows * blocks_of(moved.cols * moved.bits, BITS_PER_BYTE * w.cost["bus_bytes"])
    put(w.met.loads[at], funct, moved.dram, operand(moved.local, moved.cols, rows), busy, beats, NO_NEEDS)
    w.met.waits[at, 0] = wait.step
    w.met.waits[at, 1] = wait.tile
    w.state["loads"] += 1


@njit
def _third_state(w, stride_bytes):
    """Point the third load state at rows ``stride_bytes`` apart, if it isn't there already."""
    if w.state["stride_bytes"] == stride_bytes:
        return
    w.state["stride_bytes"] = stride_bytes
    at = w.state["loads"]
    rs1 = third_state(w.sizes["dim"], w.sizes["low_d"], w.sizes["scale_bits"])
    put(w.met.loads[at], CONFIG, rs1, stride_bytes, 1.0, 1.0, NO_NEEDS)
    w.met.waits[at, 0] = FREE.step
    w.met.waits[at, 1] = FREE.tile
    w.state["loads"] += 1


@njit
def _settle_columns(w, step):
    """Note which columns of packed values each block of rows has in the step's windows, and where its results lie."""
    s, (counts, before, longest) = w.sizes, w.shape
    dim, place = s["dim"], 0
    for block in range(step.rows[0], step.rows[1]):
        number = block - step.rows[0]
        w.outputs[number] = place
        place += (longest[block] if s["outputs"] else step.features[1] - step.features[0]) * dim
        if s["outputs"]:
            w.columns[number, 0], w.columns[number, 1] = 0, blocks_of(s["width"], dim)
            continue
        first, end = before[block * dim, step.windows[0]], 0
        for row in range(block * dim, min((block + 1) * dim, s["m"])):
            first = min(first, before[row, step.windows[0]])
            end = max(end, before[row, step.windows[1] - 1] + counts[row, step.windows[1] - 1])
        w.columns[number, 0], w.columns[number, 1] = first, end
    w.outputs[step.rows[1] - step.rows[0]] = place


@njit
def _output(w, step, block):
    """Return the local address at which the results of a block of rows begin."""
    return (ACC | step.tile % 2 * w.sizes["acc_half"]) + w.outputs[block - step.rows[0]]


@njit
def _index_edge(s, window):
    """Return the bits of a row's index before a window; behind the last one those that fill its last byte too."""
    whole = s["index_row_bits"]
    return whole if window == s["windows"] else min(window * s["index_bits"], whole)


@njit
def _index(w, step, local, wait):
    """Load the index of a part of A as whole scratchpad rows; return those that it may take.

    Parts lie one behind the other; the first and the last row may hold others' bytes too.
    """
    s = w.sizes
    dim, row_bits = s["dim"], s["line_bytes"] * BITS_PER_BYTE
    first_window, stop_window = (0, s["windows"]) if s["outputs"] else step.windows
    first_row, rows = step.rows[0] * dim, min(step.rows[1] * dim, s["m"]) - step.rows[0] * dim
    first = first_row * s["index_row_bits"] + rows * _index_edge(s, first_window)
    size = rows * (_index_edge(s, stop_window) - _index_edge(s, first_window))
    line, last, at = first // row_bits, blocks_of(first + size, row_bits), local
    while line < last:
        wide = max(1, min(s["group"], (last - line) // dim))
        high = min(dim, last - line)
        _third_state(w, s["line_bytes"] * wide)
        dram = s["index_address"] + line * s["line_bytes"]
        _load(w, D_STATE, Moved(dram, at, wide * dim, high, s["word_bits"]), wait)
        line += high * wide
        at += high * wide
    return blocks_of(size, row_bits) + 1


@njit
def _a(w, step):
    """Load what a step streams, its index first, unless it is there."""
    if step.a_part < w.state["a_parts"]:
        return
    s, slots = w.sizes, w.slots
    dim, slot = s["dim"], slots.a_parts[step.a_part, 2]
    local, wait = slots.a_parts[step.a_part, 0], Wait(slots.a_parts[step.a_part, 1], 0)
    w.state["a_parts"] += 1
    if wait.step >= 0:
        # No command names the index rows, nor all the rows that a chunk streams, so the reservation station lets
        # loads overwrite them while they are read. A zero on what the slot's last part streams last waits for that
        # compute, and all later loads wait behind it.
        _load(w, A_STATE, Moved(0, slots.a_read[slot], 1, 1, s["word_bits"]), wait)
    local += _index(w, step, local, wait)
    for block in range(step.rows[0], step.rows[1]):
        first, stop = w.columns[block - step.rows[0], 0], w.columns[block - step.rows[0], 1]
        end = min(stop * dim, s["width"] if s["outputs"] else s["row_elements"])
        for col in range(first, stop, s["group"]):
            cols = min(s["group"] * dim, end - col * dim)
            if cols > 0:
                dram = s["a_address"] + packed_bytes((block * s["a_stride"] + col) * dim, s["a_bits"])
                rows = extent(block, 1, dim, s["m"])
                _load(w, A_STATE, Moved(dram, local + (col - first) * dim, cols, rows, s["a_bits"]), wait)
        slots.a_local[slot, block] = local
        slots.a_loads[slot, block] = w.state["loads"]
        local += (stop - first) * dim


@njit
def _bias(w, step):
    """Bring the bias into a tile's half of the accumulator, once; return the loads."""
    s, state = w.sizes, w.state
    if not s["biased"]:
        return 0
    if state["biased_tile"] == step.tile:
        return state["biased_loads"]
    dim, group = s["dim"], s["group_acc"]
    _third_state(w, packed_bytes(s["d_stride"], s["d_bits"]))
    for block in range(step.rows[0], step.rows[1]):
        for feature in range(step.features[0], step.features[1], group):
            row = 0 if s["row_bias"] else block * dim * s["d_stride"]
            cols = extent(feature, min(group, step.features[1] - feature), dim, s["width"])
            local = _output(w, step, block) + (feature - step.features[0]) * dim
            dram = s["d_address"] + packed_bytes(row + feature * dim, s["d_bits"])
            moved = Moved(dram, local, cols, extent(block, 1, dim, s["m"]), s["d_bits"])
            _load(w, D_STATE, moved, Wait(-1, step.tile))
    state["biased_tile"] = step.tile
    state["biased_loads"] = state["loads"]
    return state["biased_loads"]


@njit
def _weights(w, step, block, feature):
    """Note a block (keys, features) of B, loaded with its neighbours when its part needs it first."""
    s, slots, group, dim = w.sizes, w.slots, w.sizes["group"], w.sizes["dim"]
    start, stop = step.features
    slot, number = slots.b_parts[step.b_part, 2], feature // group
    place = block - step.windows[0] * s["resident"]
    base = slots.b_parts[step.b_part, 0] + place * (stop - start) * dim
    high = extent(block, 1, dim, s["keys"])
    if slots.b_loads[slot, place, number] < 0:
        first = max(start, number * group)
        cols = extent(first, min((number + 1) * group, stop) - first, dim, s["width"])
        dram = s["b_address"] + packed_bytes((block * s["b_stride"] + first) * dim, s["b_bits"])
        moved = Moved(dram, base + (first - start) * dim, cols, high, s["b_bits"])
        _load(w, B_STATE, moved, Wait(slots.b_parts[step.b_part, 1], 0))
        slots.b_loads[slot, place, number] = w.state["loads"]
    wide, found = extent(feature, 1, dim, s["width"]), w.met.weights[w.state["weights"]]
    found[0] = base + (feature - start) * dim
    found[1], found[2] = (high, wide) if s["outputs"] else (wide, high)
    found[3] = slots.b_loads[slot, place, number]
    w.state["weights"] += 1


@njit
def _stream(w, step, window, number):
    """Note the chunks of a window at the step's first feature from ``number`` on; return behind the last one.

    Sub-rows of all rows follow each other, up to DIM in a chunk. Of A a chunk names the block that is loaded last, so
    that it waits.
    """
    s, (counts, before, _) = w.sizes, w.shape
    dim, slot, held, first, place = s["dim"], w.slots.a_parts[step.a_part, 2], 0, 0, 0
    last = -1
    for row in range(step.rows[0] * dim, min(step.rows[1] * dim, s["m"])):
        for sub_row in range(counts[row, window]):
            block = row // dim
            if held == 0:
                first, last = block, -1
            at = before[row, window] + sub_row
            place = max(place, at) if block == last else at
            last = block
            held += 1
            if held == dim:
                number = _chunk(w, step, (held, first, last, place), slot, number)
                held = 0
    return _chunk(w, step, (held, first, last, place), slot, number) if held else number


@njit
def _chunk(w, step, piece, slot, number):
    """Note a piece of a window: its sub-rows, their first and last block, the last place in the last one."""
    s, (held, first, last, place) = w.sizes, piece
    dim, chunk = s["dim"], w.streamed[number]
    c, end = _output(w, step, first), _output(w, step, last)
    chunk[STEP], chunk[ROWS], chunk[A] = step.number, held, w.slots.a_local[slot, last]
    if s["outputs"]:
        chunk[A_COLS] = dim
        end += w.shape.longest[last] * dim
    else:
        chunk[A_COLS] = min(dim, s["row_elements"])
        chunk[A] += (place - w.columns[last - step.rows[0], 0]) * dim
        end += dim
    chunk[C], chunk[C_ROWS], chunk[C_COLS] = c, end - c, dim
    chunk[LOADS] = w.slots.a_loads[slot, last]
    return number + 1


@njit
def _group(w, step, window, feature, chunks, bias, adds):
    """Append a group: the weights of a window at a feature, and the chunks streamed past them."""
    s, state, met, dim = w.sizes, w.state, w.met, w.sizes["dim"]
    first = window * s["resident"]
    stop = min(first + s["resident"], s["key_blocks"])
    for block in range(first, stop):
        _weights(w, step, block, feature)
    wide = extent(feature, 1, dim, s["width"])
    for number in range(chunks[0], chunks[1]):
        chunk = met.chunks[state["chunks"]]
        for field in range(len(chunk)):  # an array assigned whole would leave the entry to numba (sim.core.linking)
            chunk[field] = w.streamed[number, field]
        if s["outputs"]:  # A of scores moves with the feature, C of a context
            chunk[A] += feature * dim
            chunk[A_COLS] = wide
        else:
            chunk[C] += (feature - step.features[0]) * dim
            chunk[C_COLS] = wide
        if adds:
            chunk[C] |= ADD
        chunk[LOADS] = max(chunk[LOADS], bias)
        state["chunks"] += 1
    w.slots.a_read[w.slots.a_parts[step.a_part, 2]] = met.chunks[state["chunks"] - 1, A]
    group = met.groups[state["groups"]]
    group[0], group[1], group[2] = step.number, stop - first, chunks[1] - chunks[0]
    state["groups"] += 1


@njit
def _groups(w, step):
    """Append the groups of one step; of a context column after column of C, so that they can leave."""
    counts, outputs = w.shape.counts, w.sizes["outputs"] != 0
    _settle_columns(w, step)
    _a(w, step)
    bias = _bias(w, step)
    if step.b_part == w.state["b_parts"]:
        w.slots.b_loads[w.slots.b_parts[step.b_part, 2]] = -1
        w.state["b_parts"] += 1
    rows = step.rows[0] * w.sizes["dim"], min(step.rows[1] * w.sizes["dim"], w.sizes["m"])
    first = 0
    while total(counts[rows[0] : rows[1], first]) == 0:
        first += 1
    ends = np.zeros(step.windows[1] - step.windows[0] + 1, np.int64)
    for place in range(len(ends) - 1):
        ends[place + 1] = _stream(w, step, step.windows[0] + place, ends[place])
    features = range(step.features[0], step.features[1])
    if outputs:
        for place in range(len(ends) - 1):
            for feature in features:
                if ends[place + 1] > ends[place]:
                    chunks = ends[place], ends[place + 1]
                    _group(w, step, step.windows[0] + place, feature, chunks, bias, feature > 0)
    else:
        for feature in features:
            for place in range(len(ends) - 1):
                if ends[place + 1] > ends[place]:
                    window, chunks = step.windows[0] + place, (ends[place], ends[place + 1])
                    _group(w, step, window, feature, chunks, bias, bias > 0 or window != first)


@njit
def _append_store(w, funct, rs1, rs2, busy_cycles, computes):
    busy = float(busy_cycles)
    put(w.met.stores[w.state["stores"]], funct, rs1, rs2, busy, busy, Needs(0, computes, 0))
    w.state["stores"] += 1


@njit
def _softmax(w, step):
    """Append the three passes over the sub-rows of each row, two rows at a time, as in `sim.lower.norm`."""
    s, dim, group = w.sizes, w.sizes["dim"], w.sizes["norm_elements"]
    for block in range(step.rows[0], step.rows[1]):
        base = _output(w, step, block) | ADD
        stop = min((block + 1) * dim, s["m"])
        for row in range(block * dim, stop, s["statistics"]):
            for turn in range(len(w.passes)):
                for one in range(row, min(row + s["statistics"], stop)):
                    _append_store(w, CONFIG, 1 << 17 | (one - row) << 8 | NORM_CONFIG, 0, 1, step.number)
                    length = min(total(w.shape.counts[one]) * dim, s["row_elements"])
                    for col in range(0, length, group):
                        cols = min(group, length - col)
                        code = w.passes[turn, int(col + group >= length)]
                        local = (base + col + one - block * dim) | code << s["norm_shift"]
                        dram = s["c_address"] + packed_bytes(one * s["c_stride"] + col, s["c_bits"])
                        busy = blocks_of(cols, dim) + s["norm_cycles"]
                        _append_store(w, MVOUT, dram, operand(local, cols, 1), busy, step.number)


@njit
def _rows(w, step):
    """Append the stores of whole blocks of C."""
    s, dim = w.sizes, w.sizes["dim"]
    group = 1 if s["full_c"] else s["group"]
    for block in range(step.rows[0], step.rows[1]):
        base = _output(w, step, block) | ADD
        if s["full_c"]:
            base |= FULL
        for feature in range(step.features[0], step.features[1], group):
            count = min(group, step.features[1] - feature)
            cols, rows = extent(feature, count, dim, s["width"]), extent(block, 1, dim, s["m"])
            dram = s["c_address"] + packed_bytes((block * s["c_stride"] + feature) * dim, s["c_bits"])
            local = base + (feature - step.features[0]) * dim
            busy = rows * (2 * blocks_of(cols, dim) - 1)
            _append_store(w, MVOUT, dram, operand(local, cols, rows), busy, step.number)


@entry
def sample(records, shape, steps, slots, met, passes, room, stored):
    """Write what meets in a product, and into ``stored``, int64[steps], the stores so far behind each step.

    ``records``: arrays of one record, `SIZES`, `COST` and `STATE`. ``steps``: int64[steps, 9], first and behind the
    last of blocks of rows, features and windows, parts of A and of B, tile. ``slots``: `Slots`. ``met``: `Met` with
    room for all; of stores ``computes`` is the step that they are behind. ``passes``: `sim.lower.norm.PASSES` of a
    softmax. ``room``: the most blocks of rows, and chunks at one feature, of a step.
    """
    columns, outputs = np.zeros((room[0], 2), np.int64), np.zeros(room[0] + 1, np.int64)
    streamed = np.zeros((room[1], met.chunks.shape[1]), np.int64)
    written = Met(met.loads, met.waits, met.weights, met.chunks, met.groups, met.stores)
    w = Walk(records[0][0], records[1][0], records[2][0], shape, slots, written, passes, columns, outputs, streamed)
    for number in range(len(steps)):
        at = steps[number]
        step = Step(number, (at[0], at[1]), (at[2], at[3]), (at[4], at[5]), at[6], at[7], at[8])
        _groups(w, step)
        if number + 1 == len(steps) or steps[number + 1, 8] != step.tile:
            if w.sizes["outputs"]:
                _softmax(w, step)
            else:
                _rows(w, step)
        stored[number] = w.state["stores"]
