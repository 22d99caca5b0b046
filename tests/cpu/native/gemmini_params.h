/* Parameters of a small program of ours; DIM may be given with -D. */
#ifndef DIM
#define DIM 16
#endif
#define XCUSTOM_ACC 3
