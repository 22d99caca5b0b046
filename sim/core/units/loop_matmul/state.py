"""State of the matmul loop: the two loop slots and the five machines. Source: LoopMatmul.scala."""

import numpy as np

from sim.isa.commands import ACCUMULATE_BIT, ACCUMULATOR_BIT, FULL_WIDTH_BIT

LDA, LDB, LDD, EX, ST = range(5)
ACCUMULATOR, ACCUMULATE, FULL_WIDTH = int(ACCUMULATOR_BIT), int(ACCUMULATE_BIT), int(FULL_WIDTH_BIT)
LAYERNORM, SOFTMAX = 2, 4
WORKING, STATISTICS, PASS = 1, 2, 3  # states of the store machine

DTYPE = np.dtype(
    [
        ("head", "i8"),  # slot of the older loop; not reset by hardware: it carries over between programs
        ("quiet", "i8"),  # 1: no machine has a command to emit
        ("still", "i8"),  # 1: nor could the next, but for a command to emit
        ("resadd", "i8"),  # one register for both slots, set by the last loop command
        ("adds", "i8", (5,)),  # its value when the machine took its job
        ("loads_used", "i8"),  # commands emitted and not completed: loads
        ("executes_used", "i8"),  # executes
        ("stores_used", "i8"),  # stores
        ("load_d_half", "i8"),  # accumulator row at which the next job of load D, execute, store begins
        ("execute_half", "i8"),  # of the execute machine
        ("store_half", "i8"),  # of the store machine
        # the two slots
        ("configured", "i8", (2,)),  # 1: the slot holds a loop
        ("running", "i8", (2,)),  # 1: a machine has taken its job
        ("started", "i8", (2, 5)),  # by machine: it has taken this loop
        ("completed", "i8", (2, 5)),  # by machine: it has emitted all of it
        ("bound", "i8", (2, 3)),  # I, J, K in blocks
        ("padding", "i8", (2, 3)),  # rows or columns missing of the last block: I, J, K
        ("dram", "i8", (2, 4)),  # A, B, D, C
        ("dram_stride", "i8", (2, 4)),  # elements from one row to the next: A, B, D, C
        ("activation", "i8", (2,)),  # activation of the store
        ("transpose_a", "i8", (2,)),  # 1: A is stored transposed
        ("transpose_b", "i8", (2,)),  # 1: B is
        ("low_d", "i8", (2,)),  # 1: D comes in input type
        ("full_c", "i8", (2,)),  # 1: C is stored in accumulator type
        ("accumulate", "i8", (2,)),  # 1: results are added to the accumulator
        ("a_half", "i8", (2,)),  # half of the scratchpad for A: 0 by slot
        ("b_half", "i8", (2,)),  # for B
        # the five machines: state 0 idle; loop slot; iterators; start address
        ("state", "i8", (5,)),  # 0 idle, 1 working; execute: 2 the compute; store: 2 statistics are chosen, 3 a pass
        ("slot", "i8", (5,)),  # loop slot of its job
        ("i", "i8", (5,)),  # block of I
        ("j", "i8", (5,)),  # block of J
        ("k", "i8", (5,)),  # block of K
        ("first", "i8", (5,)),  # first local row of its operand
        # store machine under LayerNorm / softmax
        ("norm_row", "i8"),  # first row of the pair
        ("norm_pass", "i8"),  # number of the pass
        ("norm_statistic", "i8"),  # row of the pair
        ("funct", "i8"),  # command of this cycle
        ("rs1", "i8"),  # its first operand
        ("rs2", "i8"),  # its second operand
    ]
)
