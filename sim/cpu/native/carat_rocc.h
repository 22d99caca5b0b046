/* Records the RoCC commands of a program that is compiled natively instead of sending them to an accelerator.

   `carat record` puts this header in front of the program and replaces its fences and readings of the cycle counter, whose
   instructions a native compiler does not know. Commands go to the file that CARAT_RECORD names, one line each:
   case,seq,funct,rs1,rs2,dim; a fence, a reading of the counter (mark) and the end are lines too. The program's own
   results are what its CPU code computes: what the accelerator would have written stays as it was. */
#ifndef CARAT_ROCC_H
#define CARAT_ROCC_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static FILE *carat_stream;

static const char *carat_case(void) {
    const char *name = getenv("CARAT_CASE");
    return name == NULL ? "program" : name;
}

static void carat_end(void) { fprintf(carat_stream, "%s,,end,,,\n", carat_case()); }

static FILE *carat_file(void) {
    if (carat_stream == NULL) {
        const char *name = getenv("CARAT_RECORD");
        carat_stream = name == NULL ? NULL : fopen(name, "w");
        if (carat_stream == NULL) {
            fprintf(stderr, "carat_rocc.h: CARAT_RECORD must name a file that can be written\n");
            exit(3);
        }
        fprintf(carat_stream, "case,seq,funct,rs1,rs2,dim\n");
        atexit(carat_end);
    }
    return carat_stream;
}

static uint64_t carat_seq;

__attribute__((unused)) static void carat_command(unsigned funct, uint64_t rs1, uint64_t rs2, unsigned dim) {
    fprintf(carat_file(), "%s,%llu,%u,0x%llx,0x%llx,%u\n", carat_case(), (unsigned long long)carat_seq++, funct,
            (unsigned long long)rs1, (unsigned long long)rs2, dim);
}

__attribute__((unused)) static void carat_fence(void) {
    fprintf(carat_file(), "%s,%llu,fence,,,\n", carat_case(), (unsigned long long)carat_seq++);
}

__attribute__((unused)) static uint64_t carat_mark(void) {
    fprintf(carat_file(), "%s,%llu,mark,,,\n", carat_case(), (unsigned long long)carat_seq);
    return carat_seq;
}

/* Exits of the program's own files: with an error they are checks of results that no accelerator wrote, and passed; one
   that fails without end is believed. */
__attribute__((unused)) static void carat_check_exit(int code) {
    static unsigned failed;
    if (code == 0 || ++failed > 10000) {
        exit(code);
    }
    fprintf(stderr, "carat_rocc.h: a check failed\n");
}

/* Exits of headers: the library refuses what it was called with. */
__attribute__((unused, noreturn)) static void carat_library_exit(int code) {
    exit(code == 0 ? 0 : 86);
}

/* Statements with braces, as users of the macros write them with and without a semicolon. DIM is the program's own: it is expanded
   where gemmini.h uses the macro. */
#define ROCC_INSTRUCTION_0_R_R(x, rs1, rs2, funct) \
    { carat_command((funct), (uint64_t)(rs1), (uint64_t)(rs2), DIM); }
#define ROCC_INSTRUCTION_SS(x, rs1, rs2, funct) ROCC_INSTRUCTION_0_R_R(x, rs1, rs2, funct)
/* Counters and other instructions that answer: nothing is known here, so they answer 0 and are not recorded. */
#define ROCC_INSTRUCTION(x, rd, rs1, rs2, funct) { (rd) = 0; }
#define ROCC_INSTRUCTION_R_R_R(x, rd, rs1, rs2, funct) { (rd) = 0; }

#endif
