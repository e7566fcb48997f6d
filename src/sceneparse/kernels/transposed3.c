/* transposed.c with tiles of 3x3 cells. */

#define SIDE 3
#include "transposed.c"
