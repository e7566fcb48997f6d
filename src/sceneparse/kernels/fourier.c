/* 7x7 convolutions of small maps by the Fourier transform: the spectrum of the output. */

#include "fourier.h"

#define WIDE 64  /* N */
#define PIECE 32 /* channels out that a thread does in a row */

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifndef PICK
#define PICK(a, b, ...) __builtin_shuffle(a, b, (ints){__VA_ARGS__})
#endif

/* Sums of two neighbours, of a and of b by turns, within each four lanes; then of two fours. */
#if LANES == 16
#define NEIGHBOURS(a, b)                                                          \
    (PICK(a, b, 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30) + \
     PICK(a, b, 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31))
#define FOURS(a, b)                                                               \
    (PICK(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) + \
     PICK(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31))
#elif LANES == 4
#define NEIGHBOURS(a, b) (PICK(a, b, 0, 2, 4, 6) + PICK(a, b, 1, 3, 5, 7))
#else
#define NEIGHBOURS(a, b) (PICK(a, b, 0, 2, 8, 10, 4, 6, 12, 14) + PICK(a, b, 1, 3, 9, 11, 5, 7, 13, 15))
#define FOURS(a, b) (PICK(a, b, 0, 1, 2, 3, 8, 9, 10, 11) + PICK(a, b, 4, 5, 6, 7, 12, 13, 14, 15))
#endif

/* Add the sum of each of eight vectors: four here, four there. */
INLINE void add_sums(const vec v[8], float *here, float *there) {
    vec first = NEIGHBOURS(NEIGHBOURS(v[0], v[1]), NEIGHBOURS(v[2], v[3]));
    vec second = NEIGHBOURS(NEIGHBOURS(v[4], v[5]), NEIGHBOURS(v[6], v[7]));
#if LANES == 4
    float sums[8];
    store(sums, first), store(sums + 4, second);
#else
    float sums[LANES];
    store(sums, FOURS(first, second));
#endif
    for (int j = 8; j < LANES; j++) sums[j - 8] += sums[j];
    for (int i = 0; i < 4; i++) here[i] += sums[i];
    for (int i = 0; i < 4; i++) there[i] += sums[i + 4];
}

/* Sums over channels in of maps * weights, for `tiles` tiles and 4 / tiles channels out: to (T, SOME, 2). */
INLINE void sum_tile(const int tiles, const float *maps, const float *weights, int64_t channels, float *to) {
    const int outs = 4 / tiles;
    vec sums[8] = {};
    for (int64_t c = 0; c < channels; c += LANES) {
        vec x[2], y[2];
#pragma GCC unroll 2
        for (int t = 0; t < tiles; t++) {
            x[t] = hold(maps + 2 * t * WIDE + c), y[t] = hold(maps + (2 * t + 1) * WIDE + c);
        }
#pragma GCC unroll 4
        for (int k = 0; k < outs; k++) {
            vec a = hold(weights + 2 * k * WIDE + c), b = hold(weights + (2 * k + 1) * WIDE + c);
#pragma GCC unroll 2
            for (int t = 0; t < tiles; t++) {
                vec *sum = sums + 2 * (t * outs + k);
                sum[0] += x[t] * a;
                sum[1] += x[t] * b;
                sum[0] -= y[t] * b;
                sum[1] += y[t] * a;
            }
        }
    }
    add_sums(sums, to, tiles == 2 ? to + 2 * SOME : to + 4);
}

/* Add the products of a block of channels in for SOME channels out to their sums (52, T, SOME, 2). */
static void sum_block(const float *maps, const float *spectra, int64_t tiles, int64_t channels, float *sums) {
    for (int64_t f = 0; f < FREQUENCIES; f++, spectra += STEP(WIDE)) {
        int64_t t = 0;
        for (; t + 1 < tiles; t += 2, maps += 4 * WIDE, sums += 4 * SOME)
            for (int k = 0; k < SOME; k += 2)
                sum_tile(2, maps, spectra + 2 * k * WIDE, channels, sums + 2 * k);
        for (; t < tiles; t++, maps += 2 * WIDE, sums += 2 * SOME)
            for (int k = 0; k < SOME; k += 4)
                sum_tile(1, maps, spectra + 2 * k * WIDE, channels, sums + 2 * k);
    }
}

/* A block of the maps: (52, T, 2, N). */
static void pack_block(const void *what, int64_t block, int64_t worker) {
    (void)worker;
    const Shared *shared = what;
    const Fourier *job = shared->job;
    copy_maps(job, block * WIDE, WIDE, shared->packed + block * PARTS * job->tiles * WIDE);
}

/* PIECE channels out. */
static void forward_piece(const void *what, int64_t number, int64_t worker) {
    const Shared *shared = what;
    const Fourier *job = shared->job;
    int64_t in = job->in, tiles = job->tiles, last = least(job->outs, (number + 1) * PIECE);
    float *spectra = shared->memory + worker * shared->floats, *sums = spectra + SPECTRA(WIDE);
    for (int64_t first = number * PIECE; first < last; first += SOME) {
        int64_t some = least(SOME, last - first);
        const float *rows = job->weights + first * 49 * in;
        memset(sums, 0, sizeof(float) * (size_t)(PARTS * tiles * SOME));
        for (int64_t c = 0; c < in; c += WIDE) {
            int64_t channels = least(WIDE, in - c);
            for (int64_t k = 0; k < some; k++) {
                const float *from = rows + k * 49 * in + c, *next = from + 49 * in;
                if (k + 1 == some) next = c + WIDE < in ? rows + c + WIDE : rows + some * 49 * in;
                transform(from, next, in, channels, spectra + 2 * k * WIDE, WIDE, STEP(WIDE));
            }
            sum_block(shared->packed + c * PARTS * tiles, spectra, tiles, channels, sums);
        }
        for (int64_t f = 0; f < FREQUENCIES; f++)
            for (int64_t t = 0; t < tiles; t++)
                for (int64_t k = 0; k < some; k++)
                    memcpy(job->out + (t * job->outs + first + k) * PARTS + 2 * f,
                           sums + ((f * tiles + t) * SOME + k) * 2, 2 * sizeof(float));
    }
}

/* Spectrum of the output. */
int sceneparse_fourier(const Fourier *job) {
    int64_t blocks = parts(job->in, WIDE), floats = SPECTRA(WIDE) + PARTS * job->tiles * SOME;
    Shared shared;
    if (!begin(&shared, job, blocks * PARTS * job->tiles * WIDE, floats)) return NO_MEMORY;
    share(job->parallel, job->threads, pack_block, &shared, blocks);
    share(job->parallel, job->threads, forward_piece, &shared, parts(job->outs, PIECE));
    let_go(shared.packed);
    return FINE;
}

int sceneparse_fourier_maps(const Fourier *job);
int sceneparse_fourier_weights(const Fourier *job);

/* 0 if weights that are 1 in the middle and 0 around add up the channels, and get what they ask for. */
int sceneparse_fourier_self_test(void) {
    enum { C = 2 * LINE, K = SOME + 1, T = 3 };
    static float maps[PARTS][T][C], weights[K][49][C], gradient[T][K][PARTS], out[T][K][PARTS];
    static float of_maps[PARTS][T][C], of_weights[K][49][C];
    for (int i = 0; i < PARTS * T * C; i++) (&maps[0][0][0])[i] = (float)(i * 7 % 11 - 5);
    for (int i = 0; i < PARTS * T * K; i++) (&gradient[0][0][0])[i] = (float)(i * 5 % 13 - 6);
    for (int i = 0; i < K * C; i++) weights[i / C][24][i % C] = 1;
    Fourier job = {.maps = &maps[0][0][0], .weights = &weights[0][0][0], .gradient = &gradient[0][0][0],
                   .out = &out[0][0][0], .threads = 1, .tiles = T, .in = C, .outs = K};
    int wrong = sceneparse_fourier(&job);
    job.out = &of_maps[0][0][0];
    wrong |= sceneparse_fourier_maps(&job);
    job.out = &of_weights[0][0][0];
    wrong |= sceneparse_fourier_weights(&job);
    for (int i = 0; i < PARTS * T; i++) {
        float sum = 0, asked = 0;
        for (int c = 0; c < C; c++) sum += maps[i / T][i % T][c];
        for (int k = 0; k < K; k++) asked += gradient[i % T][k][i / T];
        for (int k = 0; k < K; k++) wrong |= !(fabsf(out[i % T][k][i / T] - sum) < 0.01f);
        for (int c = 0; c < C; c++) wrong |= !(fabsf(of_maps[i / T][i % T][c] - asked) < 0.01f);
    }
    for (int i = 0; i < K * C; i++) {
        float sum = 0;
        for (int p = 0; p < PARTS * T; p++) sum += gradient[p % T][i / C][p / T] * maps[p / T][p % T][i % C];
        wrong |= !(fabsf(of_weights[i / C][24][i % C] - sum) < 0.05f);
    }
    return wrong;
}
