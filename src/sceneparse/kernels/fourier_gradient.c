/* 7x7 convolutions of small maps by the Fourier transform: gradients of the spectrum of the input and of the
   weights. */

#include "fourier.h"

#define WIDE 32   /* N */
#define PIECE 256 /* channels out whose weights a thread does in a row */

/* The transposed map of seven_to_ten. */
INLINE void ten_to_seven(const vec f[10], vec w[7]) {
    vec p0 = f[0] + f[5], m0 = f[0] - f[5], p1 = f[1] + f[4], m1 = f[1] - f[4];
    vec p2 = f[2] + f[3], m2 = f[2] - f[3];
    vec q1 = f[6] + f[9], n1 = f[6] - f[9], q2 = f[7] + f[8], n2 = f[7] - f[8];
    vec e1 = m0 + C36 * m1 + C72 * m2, o1 = S36 * q1 + S72 * q2;
    vec e2 = p0 + C72 * p1 - C36 * p2, o2 = S72 * n1 + S36 * n2;
    vec e3 = m0 - C72 * m1 - C36 * m2, o3 = S72 * q1 - S36 * q2;
    w[3] = p0 + p1 + p2;
    w[4] = e1 + o1;
    w[2] = e1 - o1;
    w[5] = e2 + o2;
    w[1] = e2 - o2;
    w[6] = e3 + o3;
    w[0] = e3 - o3;
}

/* The transposed map of transform. */
INLINE void transform_back(const float *from, int64_t in, int64_t channels, float *weights) {
    const int64_t part = WIDE, step = STEP(WIDE);
    for (int64_t c = 0; c < channels; c += LINE) {
        vec half[VECTORS][7][10];
        for (int i = 0; i < VECTORS; i++) {
            const float *at = from + c + i * LANES;
            for (int v = 0; v <= 5; v += 5) {
                vec f[10], values[7];
                f[0] = load(at + PLACE(0, v) * step);
                f[5] = load(at + PLACE(5, v) * step);
#pragma GCC unroll 4
                for (int u = 1; u < 5; u++) {
                    f[u] = load(at + PLACE(u, v) * step);
                    f[u + 5] = load(at + PLACE(u, v) * step + part);
                }
                ten_to_seven(f, values);
                for (int y = 0; y < 7; y++) half[i][y][v] = values[y];
            }
            for (int v = 1; v < 5; v++) {
                vec f[10], g[10], values[7];
#pragma GCC unroll 2
                for (int u = 0; u <= 5; u += 5) {
                    f[u] = load(at + PLACE(u, v) * step);
                    g[u] = load(at + PLACE(u, v) * step + part);
                }
#pragma GCC unroll 4
                for (int u = 1; u < 5; u++) {
                    const float *pair = at + PLACE(u, v) * step;
                    vec re = load(pair), im = load(pair + part);
                    vec other_re = load(pair + step), other_im = load(pair + step + part);
                    f[u] = re + other_re;
                    g[u + 5] = other_re - re;
                    g[u] = im - other_im;
                    f[u + 5] = im + other_im;
                }
                ten_to_seven(f, values);
                for (int y = 0; y < 7; y++) half[i][y][v] = values[y];
                ten_to_seven(g, values);
                for (int y = 0; y < 7; y++) half[i][y][v + 5] = values[y];
            }
        }
        for (int y = 0; y < 7; y++)
            for (int i = 0; i < VECTORS; i++) {
                vec values[7];
                ten_to_seven(half[i][y], values);
                for (int x = 0; x < 7; x++) store(weights + (7 * y + x) * in + c + i * LANES, values[x]);
            }
    }
}

/* Add to the gradient of the maps (T, 2, N) what `some` channels out say: gradient * conjugate of the
   weights. */
INLINE void add_tile(const int tiles, const float *gradient, const float *weights, int64_t some, float *out) {
    vec re[2][2], im[2][2];
#pragma GCC unroll 2
    for (int t = 0; t < tiles; t++)
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            re[t][i] = load(out + 2 * t * WIDE + i * LANES);
            im[t][i] = load(out + (2 * t + 1) * WIDE + i * LANES);
        }
    for (int64_t k = 0; k < some; k++)
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const float *from = weights + 2 * k * WIDE + i * LANES;
            vec a = hold(from), b = hold(from + WIDE);
#pragma GCC unroll 2
            for (int t = 0; t < tiles; t++) {
                vec x = splat(gradient[(t * SOME + k) * 2]), y = splat(gradient[(t * SOME + k) * 2 + 1]);
                re[t][i] += x * a;
                im[t][i] += y * a;
                re[t][i] += y * b;
                im[t][i] -= x * b;
            }
        }
#pragma GCC unroll 2
    for (int t = 0; t < tiles; t++)
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            store(out + 2 * t * WIDE + i * LANES, re[t][i]);
            store(out + (2 * t + 1) * WIDE + i * LANES, im[t][i]);
        }
}

/* The same for all frequencies: to (52, T, 2, N). */
static void add_block(const float *gradient, const float *spectra, int64_t tiles, int64_t some, float *sums) {
    for (int64_t f = 0; f < FREQUENCIES; f++, spectra += STEP(WIDE))
        for (int64_t t = 0; t < tiles; t += 2) {
            int64_t high = least(2, tiles - t);
            for (int64_t i = 0; i < WIDE; i += 2 * LANES)
                if (high == 2) add_tile(2, gradient, spectra + i, some, sums + i);
                else add_tile(1, gradient, spectra + i, some, sums + i);
            gradient += high * 2 * SOME, sums += high * 2 * WIDE;
        }
}

/* Gradient of the spectra of four channels out: gradient * conjugate of the maps, summed over the tiles. */
INLINE void weigh_tile(const float *gradient, const float *maps, int64_t tiles, float *out) {
    vec re[4] = {}, im[4] = {};
    for (int64_t t = 0; t < tiles; t++, maps += 2 * WIDE, gradient += 2 * SOME) {
        vec a = load(maps), b = load(maps + WIDE);
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            vec x = splat(gradient[2 * k]), y = splat(gradient[2 * k + 1]);
            re[k] += x * a;
            im[k] += y * a;
            re[k] += y * b;
            im[k] -= x * b;
        }
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        store(out + 2 * k * WIDE, re[k]);
        store(out + (2 * k + 1) * WIDE, im[k]);
    }
}

/* SOME channels of the gradient, zeros beyond the last: (T, K, 52, 2) to (52, T, SOME, 2). */
static void pack_gradient(const void *what, int64_t number, int64_t worker) {
    (void)worker;
    const Shared *shared = what;
    const Fourier *job = shared->job;
    int64_t first = number * SOME, tiles = job->tiles;
    float *to = shared->packed + first * PARTS * tiles;
    for (int64_t t = 0; t < tiles; t++)
        for (int64_t k = 0; k < SOME; k++) {
            static const float zeros[PARTS];
            int64_t row = t * job->outs + first + k;
            const float *from = first + k < job->outs ? job->gradient + row * PARTS : zeros;
            for (int64_t f = 0; f < FREQUENCIES; f++)
                memcpy(to + ((f * tiles + t) * SOME + k) * 2, from + 2 * f, 2 * sizeof(float));
        }
}

/* Gradient of the spectrum of the maps: N of their channels. */
static void maps_piece(const void *what, int64_t number, int64_t worker) {
    const Shared *shared = what;
    const Fourier *job = shared->job;
    int64_t in = job->in, outs = job->outs, tiles = job->tiles, begin = number * WIDE;
    int64_t channels = least(WIDE, in - begin);
    float *spectra = shared->memory + worker * shared->floats, *sums = spectra + SPECTRA(WIDE);
    memset(sums, 0, sizeof(float) * (size_t)(PARTS * tiles * WIDE));
    for (int64_t first = 0; first < outs; first += SOME) {
        int64_t some = least(SOME, outs - first);
        const float *gradient = shared->packed + first * PARTS * tiles;
        for (int64_t k = 0; k < some; k++) {
            const float *rows = job->weights + (first + k) * 49 * in + begin;
            transform(rows, rows + 49 * in, in, channels, spectra + 2 * k * WIDE, WIDE, STEP(WIDE));
        }
        add_block(gradient, spectra, tiles, some, sums);
    }
    size_t bytes = sizeof(float) * (size_t)channels;
    for (int64_t f = 0; f < FREQUENCIES; f++)
        for (int64_t t = 0; t < tiles; t++)
            for (int64_t p = 0; p < 2; p++, sums += WIDE)
                memcpy(job->out + ((2 * f + p) * tiles + t) * in + begin, sums, bytes);
}

/* Gradient of the weights of N channels in, PIECE channels out. */
static void weights_piece(const void *what, int64_t number, int64_t worker) {
    const Shared *shared = what;
    const Fourier *job = shared->job;
    int64_t in = job->in, tiles = job->tiles, pieces = parts(job->outs, PIECE);
    int64_t begin = number / pieces * WIDE, channels = least(WIDE, in - begin);
    int64_t last = least(job->outs, (number % pieces + 1) * PIECE);
    float *spectra = shared->memory + worker * shared->floats, *maps = spectra + SPECTRA(WIDE);
    copy_maps(job, begin, WIDE, maps);
    for (int64_t first = number % pieces * PIECE; first < last; first += SOME) {
        int64_t some = least(SOME, last - first);
        const float *gradient = shared->packed + first * PARTS * tiles;
        for (int64_t f = 0; f < FREQUENCIES; f++)
            for (int64_t i = 0; i < channels; i += LANES)
                for (int64_t k = 0; k < SOME; k += 4)
                    weigh_tile(gradient + (f * tiles * SOME + k) * 2, maps + f * tiles * 2 * WIDE + i, tiles,
                               spectra + f * STEP(WIDE) + 2 * k * WIDE + i);
        for (int64_t k = 0; k < some; k++)
            transform_back(spectra + 2 * k * WIDE, in, channels, job->out + (first + k) * 49 * in + begin);
    }
}

static int gradient(const Fourier *job, void (*piece)(const void *, int64_t, int64_t), int64_t pieces) {
    int64_t groups = parts(job->outs, SOME), packed = groups * SOME * PARTS * job->tiles;
    Shared shared;
    if (!begin(&shared, job, packed, SPECTRA(WIDE) + PARTS * job->tiles * WIDE)) return NO_MEMORY;
    share(job->parallel, job->threads, pack_gradient, &shared, groups);
    share(job->parallel, job->threads, piece, &shared, pieces);
    let_go(shared.packed);
    return FINE;
}

/* Gradient of the spectrum of the maps. */
int sceneparse_fourier_maps(const Fourier *job) { return gradient(job, maps_piece, parts(job->in, WIDE)); }

/* Gradient of the weights. */
int sceneparse_fourier_weights(const Fourier *job) {
    /* Often fresh memory, whose small pages would cost more than all the rest. */
    large_pages(job->out, sizeof(float) * 49 * (size_t)(job->in * job->outs));
    return gradient(job, weights_piece, parts(job->in, WIDE) * parts(job->outs, PIECE));
}
