/* Exponentials and logarithms of vectors. */

#ifndef SCENEPARSE_EXPONENTIAL_H
#define SCENEPARSE_EXPONENTIAL_H

#include "vectors.h"

/* e^x for x <= 88, below -87 as at -87 (1e-38); within 2 units in the last place (Cephes' polynomial). */
static inline vec exp_of(vec x) {
    x = larger(x, splat(-87.0f));
    vec shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the whole part lands in the low bits */
    vec n = shifted - 12582912.0f;
    vec r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return (vec)((raw)p + ((raw)shifted << 23));
}

/* Logarithm of positive normal numbers; within 2 units in the last place (Cephes' polynomial). */
static inline vec log_of(vec x) {
    ints bits = (ints)x, power = (bits >> 23) - 126;
    vec m = (vec)((bits & 0x007fffff) | 0x3f000000); /* 0.5 to 1 */
    ints low = m < 0.707106781f;
    vec n = __builtin_convertvector(power + low, vec); /* a true lane is -1 */
    m = m + choose(low, m, splat(0)) - 1.0f;
    vec p = m * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    vec square = m * m;
    p = p * m * square + n * -2.12194440e-4f - 0.5f * square;
    return m + p + n * 0.693359375f;
}

#endif
