/* Two products of 64 x 64 x 64, a fence behind each, the cycle counter read around them. */
#include "own_gemmini.h"
#include <stdio.h>
#include <stdlib.h>

static int8_t a[64][64] __attribute__((aligned(4096)));
static int8_t b[64][64] __attribute__((aligned(4096)));
static int8_t c[64][64] __attribute__((aligned(4096)));

int main(int argc, char **argv) {
    uint64_t before = cycles_now();
    for (int call = 0; call < 2; call++) {
        SEND(0x3f800000ull << 32 | 1 << 16 | 1 << 2, 1ull << 48, CONFIG)
        SEND(2, 0x3f800000ull << 32 | 64, CONFIG)
        for (uint64_t state = 0; state < 3; state++)
            SEND(0x3f800000ull << 32 | 16 << 16 | 1 << 8 | state << 3 | 1, state < 2 ? 64 : 0, CONFIG)
        loop(64 / DIM, 64 / DIM, 64 / DIM, a, b, c, 64);
        wait_for_array();
#ifdef CHECKS
        if (c[0][0] == 0) {
            printf("wrong result\n");
            exit(1);
        }
#endif
#ifdef REFUSES
        refuse(64);
#endif
    }
    printf("%d\n", (int)(cycles_now() - before));
#ifdef FAILS
    return 3;
#endif
#ifdef STRANGE
    asm volatile ("wfi");
#endif
    return 0;
}
