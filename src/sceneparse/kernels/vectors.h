/* Vectors of floats as long as the processor's registers, by GCC's and Clang's vector extensions. */

#ifndef SCENEPARSE_VECTORS_H
#define SCENEPARSE_VECTORS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef LANES
#if defined(__AVX512F__)
#define LANES 16
#else
#define LANES 8
#endif
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef uint32_t raw __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* anywhere in memory */

static inline vec splat(float x) { return x - (vec){}; } /* x + 0 would be computed: -0 + 0 is not -0 */

static inline vec load(const float *p) { return *(const loose *)p; }

static inline void store(float *p, vec v) { *(loose *)p = v; }

static inline vec choose(ints where, vec yes, vec no) {
    return (vec)((where & (ints)yes) | (~where & (ints)no));
}

static inline vec larger(vec a, vec b) { return choose(a > b, a, b); }

static inline vec smaller(vec a, vec b) { return choose(a < b, a, b); }

static inline float sum_of(vec v) {
    float s[LANES];
    store(s, v);
    for (int n = LANES / 2; n; n /= 2)
        for (int i = 0; i < n; i++) s[i] += s[i + n];
    return s[0];
}

static inline float max_of(vec v) {
    float m = v[0];
    for (int i = 1; i < LANES; i++) m = v[i] > m ? v[i] : m;
    return m;
}

#endif
