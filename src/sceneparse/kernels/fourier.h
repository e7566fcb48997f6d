/* 7x7 convolutions of small maps through the discrete Fourier transform of 10 x 10 points: what the
   convolution and its gradients have in common.

   The direct way takes 49 products a cell. A transform of 10 points holds a map of 7 cells whole (or gives 4
   cells of a larger one), and in it a convolution is one complex product a frequency. Real input: 52 of the
   100 frequencies tell all. Maps are transformed by the caller, a small matrix product; the weights here, a
   few output channels at a time, so that their spectrum never leaves the second cache.

   T tiles, C channels in (whole lines), K channels out. Spectra: of the input (52, 2, T, C), real and
   imaginary parts; of the output (T, K, 52, 2). Weights (K, 7, 7, C). A convolution here is a correlation, as
   everywhere in this field: output spectrum = input spectrum * V,
   V[u][v] = sum of w[y][x] e^(2 pi i (u (y - 3) + v (x - 3)) / 10).

   All of it is done for a block of channels in (N) and SOME channels out at a time, and copied for that into
   places of its own: the distances in the tensors are powers of two, whose lines would share a place in the
   cache. Every sum is formed in the same order whatever the number of threads. */

#ifndef SCENEPARSE_FOURIER_H
#define SCENEPARSE_FOURIER_H

#include "threads.h"
#include "vectors.h"

#define INLINE static inline __attribute__((always_inline))

/* What is loaded stays in a register: GCC would rather read it from memory again for each product. */
INLINE vec hold(const float *from) {
    vec v = load(from);
#if defined(__AVX512F__) || defined(__AVX__) && LANES == 8
    __asm__("" : "+v"(v));
#endif
    return v;
}

enum { FINE = 0, NO_MEMORY = 1 };

#define FREQUENCIES 52
#define PARTS (2 * FREQUENCIES)
#define SOME 8                    /* channels out that are done together */
#define LINE 16                   /* floats of a cache line: channels that are transformed together */
#define VECTORS (LINE / LANES)

/* Spectra of the weights of SOME channels out and N in: (52, SOME, 2, N); a line lies between frequencies. */
#define STEP(N) (SOME * 2 * (N) + LINE)
#define SPECTRA(N) (FREQUENCIES * STEP(N))

/* The place of frequency (u, v); behind it is (u, -v), where that is another. */
#define PLACE(u, v) ((u) == 0 ? (v) : 10 * (u) - 4 + ((v) == 0 ? 0 : (u) == 5 ? (v) : 2 * (v) - 1))

typedef struct {
    Parallel parallel;
    int64_t threads;
    const float *maps;      /* (52, 2, T, C) spectrum of the input */
    const float *weights;   /* (K, 7, 7, C) */
    const float *gradient;  /* (T, K, 52, 2) of the output's spectrum */
    float *out;             /* (T, K, 52, 2); of the maps (52, 2, T, C); of the weights (K, 7, 7, C) */
    int64_t tiles, in, outs;
} Fourier;

/* What the threads of a pass share. */
typedef struct {
    const Fourier *job;
    float *packed;  /* what all of them read */
    float *memory;  /* their own */
    int64_t floats; /* of each */
} Shared;

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t parts(int64_t n, int64_t size) { return (n + size - 1) / size; }

#define C36 0.80901699437494742f
#define C72 0.30901699437494742f
#define S36 0.58778525229247313f
#define S72 0.95105651629515357f

/* Memory for a pass: `packed` floats for all threads, `floats` for each. 0: there is not so much.

   What nobody writes in the spectra is zero: imaginary parts of what is real. */
static inline int begin(Shared *shared, const Fourier *job, int64_t packed, int64_t floats) {
    packed = parts(packed, LINE) * LINE;
    float *memory = take(packed + job->threads * floats);
    if (!memory) return 0;
    memset(memory + packed, 0, sizeof(float) * (size_t)(job->threads * floats));
    *shared = (Shared){job, memory, memory + packed, floats};
    return 1;
}

/* Of the maps N channels, or as many as there are from `first` on: (52, 2, T, C) to (52, T, 2, N). */
static inline void copy_maps(const Fourier *job, int64_t first, int64_t n, float *to) {
    size_t bytes = sizeof(float) * (size_t)least(n, job->in - first);
    for (int64_t f = 0; f < FREQUENCIES; f++)
        for (int64_t t = 0; t < job->tiles; t++)
            for (int64_t p = 0; p < 2; p++, to += n)
                memcpy(to, job->maps + ((2 * f + p) * job->tiles + t) * job->in + first, bytes);
}

/* Cosine sums at 0..5, then sine sums at 1..4, of seven values around 0. */
INLINE void seven_to_ten(const vec w[7], vec f[10]) {
    vec e1 = w[4] + w[2], e2 = w[5] + w[1], e3 = w[6] + w[0];
    vec o1 = w[4] - w[2], o2 = w[5] - w[1], o3 = w[6] - w[0];
    vec even = w[3] + e2, odd = e1 + e3;
    f[0] = even + odd;
    f[5] = even - odd;
    even = w[3] + C72 * e2, odd = C36 * e1 - C72 * e3;
    f[1] = even + odd;
    f[4] = even - odd;
    even = w[3] - C36 * e2, odd = C72 * e1 - C36 * e3;
    f[2] = even + odd;
    f[3] = even - odd;
    even = S72 * o2, odd = S36 * o1 + S72 * o3;
    f[6] = odd + even;
    f[9] = odd - even;
    even = S36 * o2, odd = S72 * o1 - S36 * o3;
    f[7] = odd + even;
    f[8] = odd - even;
}

/* Spectra of `channels` channels in of one channel out: weights `in` apart to real and imaginary parts `part`
   apart, frequencies `step` apart. 49 rows side by side are more than the processor foresees: it is told what
   comes `next`.

   The complex number at (u, v) is made of cosine and sine sums of both directions. Where u and v are 0 or 5
   it is real, and its imaginary part is left alone. */
INLINE void transform(const float *weights, const float *next, int64_t in, int64_t channels, float *to,
                      const int64_t part, const int64_t step) {
    for (int64_t c = 0; c < channels; c += LINE) {
        vec half[VECTORS][10][7];
        for (int y = 0; y < 7; y++)
            for (int i = 0; i < VECTORS; i++) {
                vec values[7], sums[10];
                if (!i)
                    for (int x = 0; x < 7; x++) __builtin_prefetch(next + (7 * y + x) * in + c);
                for (int x = 0; x < 7; x++) values[x] = load(weights + (7 * y + x) * in + c + i * LANES);
                seven_to_ten(values, sums);
                for (int v = 0; v < 10; v++) half[i][v][y] = sums[v];
            }
        for (int i = 0; i < VECTORS; i++) {
            float *at = to + c + i * LANES;
            for (int v = 0; v <= 5; v += 5) {
                vec f[10];
                seven_to_ten(half[i][v], f);
                store(at + PLACE(0, v) * step, f[0]);
                store(at + PLACE(5, v) * step, f[5]);
#pragma GCC unroll 4
                for (int u = 1; u < 5; u++) {
                    store(at + PLACE(u, v) * step, f[u]);
                    store(at + PLACE(u, v) * step + part, f[u + 5]);
                }
            }
            for (int v = 1; v < 5; v++) {
                vec f[10], g[10];
                seven_to_ten(half[i][v], f);
                seven_to_ten(half[i][v + 5], g);
#pragma GCC unroll 2
                for (int u = 0; u <= 5; u += 5) {
                    store(at + PLACE(u, v) * step, f[u]);
                    store(at + PLACE(u, v) * step + part, g[u]);
                }
#pragma GCC unroll 4
                for (int u = 1; u < 5; u++) {
                    float *pair = at + PLACE(u, v) * step;
                    store(pair, f[u] - g[u + 5]);
                    store(pair + part, g[u] + f[u + 5]);
                    store(pair + step, f[u] + g[u + 5]);
                    store(pair + step + part, f[u + 5] - g[u]);
                }
            }
        }
    }
}

#endif
