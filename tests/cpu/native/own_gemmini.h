/* A few commands in the way of Gemmini's C library, written for these tests. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "gemmini_params.h"
#include "rocc-software/src/xcustom.h"

#define SEND(rs1, rs2, funct) ROCC_INSTRUCTION_0_R_R(XCUSTOM_ACC, rs1, rs2, funct)
#define CONFIG 0
#define wait_for_array() asm volatile("fence")

static uint64_t cycles_now(void) {
    uint64_t cycles;
    asm volatile ("rdcycle %0" : "=r" (cycles));
    return cycles;
}

/* One hardware loop of i x j x k blocks. */
static void loop(uint64_t i, uint64_t j, uint64_t k, const void *a, const void *b, void *c, uint64_t stride) {
    SEND(0, k << 32 | j << 16 | i, 9)
    SEND((uintptr_t)a, (uintptr_t)b, 10)
    SEND(0, (uintptr_t)c, 11)
    SEND(stride, stride, 12)
    SEND(0, stride, 13);
    SEND(0, 0, 8);
}

/* What the library does with arguments that it does not take. */
static void refuse(int blocks) {
    printf("%d blocks are too many\n", blocks);
    exit(1);
}
