/* 7x7 convolutions of small maps through the discrete Fourier transform of 10 x 10 points.

   The direct way takes 49 products a cell. A transform of 10 points holds a map of 7 cells whole (or gives 4
   cells of a larger one), and in it a convolution is one complex product a frequency. Real input: 52 of the
   100 frequencies tell all. Maps are transformed by the caller, a small matrix product; the weights here, a
   few output channels at a time, so that their spectrum never leaves the cache.

   T tiles, C channels in (whole vectors), K channels out. Spectra: of the input (52, 2, T, C), real and imaginary
   parts; of the output (T, K, 52, 2). Weights (K, 7, 7, C). A convolution here is a correlation, as everywhere in this field:
   output spectrum = input spectrum * V, V[u][v] = sum of w[y][x] e^(2 pi i (u (y - 3) + v (x - 3)) / 10). */

#include "threads.h"
#include "vectors.h"

enum { FINE = 0, NO_MEMORY = 1 };

#define FREQUENCIES 52
#define PARTS (2 * FREQUENCIES)
#define SOME 4                      /* output channels that are done together */
#define LINE 16                     /* floats of a cache line: channels that are transformed together */
#define VECTORS (LINE / LANES)
#define AHEAD 64                    /* channels that are fetched before they are needed */
#define NARROW 64                   /* channels whose spectra stay in the second cache */
#define SKIP (NARROW + LINE)        /* their distance: no power of two, whose lines would share a place */

#define C36 0.80901699437494742f
#define C72 0.30901699437494742f
#define S36 0.58778525229247313f
#define S72 0.95105651629515357f

typedef struct {
    Parallel parallel; /* null: one thread */
    int64_t threads;
    const float *maps;      /* (52, 2, T, C) spectrum of the input */
    const float *weights;   /* (K, 7, 7, C) */
    const float *gradient;  /* (T, K, 52, 2) of the output's spectrum */
    float *out;             /* forward (T, K, 52, 2); of the maps (52, 2, T, C); of the weights (K, 7, 7, C) */
    int64_t tiles, in, outs;
} Fourier;

/* Cosine sums at 0..5, then sine sums at 1..4, of seven values around 0. */
static inline void seven_to_ten(const vec w[7], vec f[10]) {
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

/* The transposed map. */
static inline void ten_to_seven(const vec f[10], vec w[7]) {
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


/* The complex number of frequency (u, v) is made of the sums f[y][x] of both directions: y and x are u and v,
   or 5 more for the sine sums. Where u and v are 0 or 5 it is real. */
static inline void to_frequencies(vec f[10][10], float *to, int64_t skip) {
    for (int u = 0; u < 6; u++) {
        int plain_u = u == 0 || u == 5;
        for (int v = 0; v < 6; v++) {
            int plain_v = v == 0 || v == 5;
            if (plain_u || plain_v) {
                store(to, f[u][v]);
                if (!plain_u) store(to + skip, f[u + 5][v]);
                if (!plain_v) store(to + skip, f[u][v + 5]);
            } else { /* (u, v) and (u, -v) */
                store(to, f[u][v] - f[u + 5][v + 5]);
                store(to + skip, f[u][v + 5] + f[u + 5][v]);
                to += 2 * skip;
                store(to, f[u][v] + f[u + 5][v + 5]);
                store(to + skip, f[u + 5][v] - f[u][v + 5]);
            }
            to += 2 * skip;
        }
    }
}

/* The transposed map. */
static inline void from_frequencies(const float *from, int64_t skip, vec f[10][10]) {
    for (int u = 0; u < 6; u++) {
        int plain_u = u == 0 || u == 5;
        for (int v = 0; v < 6; v++) {
            int plain_v = v == 0 || v == 5;
            if (plain_u || plain_v) {
                f[u][v] = load(from);
                if (!plain_u) f[u + 5][v] = load(from + skip);
                if (!plain_v) f[u][v + 5] = load(from + skip);
            } else {
                vec a = load(from), b = load(from + skip);
                from += 2 * skip;
                vec c = load(from), d = load(from + skip);
                f[u][v] = a + c;
                f[u + 5][v + 5] = c - a;
                f[u][v + 5] = b - d;
                f[u + 5][v] = b + d;
            }
            from += 2 * skip;
        }
    }
}

/* Spectra of `channels` channels of the weights of one output channel, `in` apart: parts `skip` apart. */
static void transform(const float *weights, int64_t in, int64_t channels, float *to, int64_t skip) {
    for (int64_t c = 0; c < channels; c += LINE) {
        vec half[VECTORS][10][8], whole[10][10], values[7];
        /* 49 rows side by side are more than the processor foresees; after these channels come the next weights. */
        const float *next = weights + c + (c + AHEAD < channels ? AHEAD : 49 * in + AHEAD - channels);
        for (int y = 0; y < 7; y++)
            for (int i = 0; i < VECTORS; i++) {
                vec sums[10];
                if (!i)
                    for (int x = 0; x < 7; x++) __builtin_prefetch(next + (7 * y + x) * in);
                for (int x = 0; x < 7; x++) values[x] = load(weights + (7 * y + x) * in + c + i * LANES);
                seven_to_ten(values, sums);
                for (int v = 0; v < 10; v++) half[i][v][y] = sums[v];
            }
        for (int i = 0; i < VECTORS; i++) {
            for (int v = 0; v < 10; v++) {
                vec sums[10];
                seven_to_ten(half[i][v], sums);
                for (int u = 0; u < 10; u++) whole[u][v] = sums[u];
            }
            to_frequencies(whole, to + c + i * LANES, skip);
        }
    }
}

/* The transposed map: from the gradient of the spectrum to that of the weights. */
static void transform_back(const float *from, int64_t skip, int64_t in, int64_t channels, float *weights) {
    for (int64_t c = 0; c < channels; c += LINE) {
        vec half[VECTORS][7][10], whole[10][10], values[7], sums[10];
        for (int i = 0; i < VECTORS; i++) {
            from_frequencies(from + c + i * LANES, skip, whole);
            for (int v = 0; v < 10; v++) {
                for (int u = 0; u < 10; u++) sums[u] = whole[u][v];
                ten_to_seven(sums, values);
                for (int y = 0; y < 7; y++) half[i][y][v] = values[y];
            }
        }
        for (int y = 0; y < 7; y++)
            for (int i = 0; i < VECTORS; i++) {
                ten_to_seven(half[i][y], values);
                for (int x = 0; x < 7; x++) store(weights + (7 * y + x) * in + c + i * LANES, values[x]);
            }
    }
}

/* Sums over the channels of maps * weights, at one frequency, for `tiles` tiles and `some` channels out. */
static inline __attribute__((always_inline)) void sum_tile(
    const int tiles, const int some, const float *maps, int64_t map_skip, int64_t map_part, const float *weights,
    int64_t weight_skip, int64_t weight_part, int64_t in, float *out, int64_t out_skip) {
    vec re[2][SOME] = {}, im[2][SOME] = {};
    for (int64_t c = 0; c < in; c += LANES)
        for (int k = 0; k < some; k++) {
            vec a = load(weights + k * weight_skip + c), b = load(weights + k * weight_skip + weight_part + c);
            for (int t = 0; t < tiles; t++) {
                vec x = load(maps + t * map_skip + c), y = load(maps + t * map_skip + map_part + c);
                re[t][k] += x * a;
                im[t][k] += x * b;
                re[t][k] -= y * b;
                im[t][k] += y * a;
            }
        }
    for (int t = 0; t < tiles; t++)
        for (int k = 0; k < some; k++) {
            out[t * out_skip + k * PARTS] = sum_of(re[t][k]);
            out[t * out_skip + k * PARTS + 1] = sum_of(im[t][k]);
        }
}

/* Add to the gradient of the maps what `some` channels out say: gradient * conjugate of the weights. */
static inline __attribute__((always_inline)) void add_tile(
    const int tiles, const int vectors, const float *gradient, int64_t gradient_skip, const float *weights,
    int64_t weight_skip, int64_t weight_part, int64_t some, float *out, int64_t out_skip, int64_t out_part) {
    vec re[2][VECTORS], im[2][VECTORS];
    for (int t = 0; t < tiles; t++)
        for (int i = 0; i < vectors; i++) {
            re[t][i] = load(out + t * out_skip + i * LANES);
            im[t][i] = load(out + t * out_skip + out_part + i * LANES);
        }
    for (int64_t k = 0; k < some; k++)
        for (int i = 0; i < vectors; i++) {
            vec a = load(weights + k * weight_skip + i * LANES);
            vec b = load(weights + k * weight_skip + weight_part + i * LANES);
            for (int t = 0; t < tiles; t++) {
                vec x = splat(gradient[t * gradient_skip + k * PARTS]);
                vec y = splat(gradient[t * gradient_skip + k * PARTS + 1]);
                re[t][i] += x * a;
                im[t][i] += y * a;
                re[t][i] += y * b;
                im[t][i] -= x * b;
            }
        }
    for (int t = 0; t < tiles; t++)
        for (int i = 0; i < vectors; i++) {
            store(out + t * out_skip + i * LANES, re[t][i]);
            store(out + t * out_skip + out_part + i * LANES, im[t][i]);
        }
}

/* Gradient of the spectra of SOME weights: gradient * conjugate of the maps, summed over the tiles. */
static inline __attribute__((always_inline)) void weigh_tile(
    const int some, const float *gradient, int64_t gradient_skip, const float *maps,
    int64_t map_skip, int64_t map_part, int64_t tiles, float *out, int64_t out_skip, int64_t out_part) {
    vec re[SOME] = {}, im[SOME] = {};
    for (int64_t t = 0; t < tiles; t++) {
        vec a = load(maps + t * map_skip), b = load(maps + t * map_skip + map_part);
        for (int k = 0; k < some; k++) {
            vec x = splat(gradient[t * gradient_skip + k * PARTS]);
            vec y = splat(gradient[t * gradient_skip + k * PARTS + 1]);
            re[k] += x * a;
            im[k] += y * a;
            re[k] += y * b;
            im[k] -= x * b;
        }
    }
    for (int k = 0; k < some; k++) {
        store(out + k * out_skip, re[k]);
        store(out + k * out_skip + out_part, im[k]);
    }
}


static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

typedef struct {
    const Fourier *job;
    float *memory;  /* of all threads */
    int64_t floats; /* of each */
} Shared;

#define PIECE 64 /* channels out that a thread does in a row */

/* Spectrum of the output: PIECE of its channels. */
static void forward_piece(const void *what, int64_t number, int64_t worker) {
    const Shared *shared = what;
    const Fourier *job = shared->job;
    int64_t in = job->in, outs = job->outs, tiles = job->tiles, part = in + LINE, skip = PARTS * part;
    int64_t last = least(outs, (number + 1) * PIECE), plane = tiles * in, out_skip = outs * PARTS;
    float *spectra = shared->memory + worker * shared->floats;
    for (int64_t first = number * PIECE; first < last; first += SOME) {
        int64_t some = least(SOME, last - first);
        for (int64_t k = 0; k < some; k++)
            transform(job->weights + (first + k) * 49 * in, in, in, spectra + k * skip, part);
        for (int64_t f = 0; f < FREQUENCIES; f++) {
            const float *weights = spectra + 2 * f * part;
            for (int64_t t = 0; t < tiles; t += 2) {
                const float *maps = job->maps + 2 * f * plane + t * in;
                float *to = job->out + t * out_skip + first * PARTS + 2 * f;
                int64_t k = 0;
                if (t + 1 < tiles) {
                    for (; k + 1 < some; k += 2)
                        sum_tile(2, 2, maps, in, plane, weights + k * skip, skip, part, in, to + k * PARTS, out_skip);
                    if (k < some)
                        sum_tile(2, 1, maps, in, plane, weights + k * skip, skip, part, in, to + k * PARTS, out_skip);
                } else {
                    for (; k + 3 < some; k += 4)
                        sum_tile(1, 4, maps, in, plane, weights + k * skip, skip, part, in, to + k * PARTS, out_skip);
                    for (; k < some; k++)
                        sum_tile(1, 1, maps, in, plane, weights + k * skip, skip, part, in, to + k * PARTS, out_skip);
                }
            }
        }
    }
}

#define MANY (2 * SOME)

/* Gradient of the spectrum of the maps: NARROW of their channels, for MANY channels out at a time. */
static void maps_piece(const void *what, int64_t number, int64_t worker) {
    const Shared *shared = what;
    const Fourier *job = shared->job;
    int64_t in = job->in, outs = job->outs, tiles = job->tiles, skip = PARTS * SKIP, plane = tiles * in;
    int64_t begin = number * NARROW, channels = least(NARROW, in - begin);
    float *spectra = shared->memory + worker * shared->floats;
    for (int64_t p = 0; p < PARTS * tiles; p++)
        memset(job->out + p * in + begin, 0, sizeof(float) * (size_t)channels);
    for (int64_t first = 0; first < outs; first += MANY) {
        int64_t some = least(MANY, outs - first);
        for (int64_t k = 0; k < some; k++)
            transform(job->weights + (first + k) * 49 * in + begin, in, channels, spectra + k * skip, SKIP);
        for (int64_t f = 0; f < FREQUENCIES; f++)
            for (int64_t t = 0; t < tiles; t += 2)
                for (int64_t i = 0; i < channels; i += LINE) {
                    const float *gradient = job->gradient + (t * outs + first) * PARTS + 2 * f;
                    const float *weights = spectra + 2 * f * SKIP + i;
                    float *to = job->out + 2 * f * plane + t * in + begin + i;
                    if (t + 1 < tiles)
                        add_tile(2, VECTORS, gradient, outs * PARTS, weights, skip, SKIP, some, to, in, plane);
                    else
                        add_tile(1, VECTORS, gradient, outs * PARTS, weights, skip, SKIP, some, to, in, plane);
                }
    }
}

/* Gradient of the weights of PIECE channels out. */
static void weights_piece(const void *what, int64_t number, int64_t worker) {
    const Shared *shared = what;
    const Fourier *job = shared->job;
    int64_t in = job->in, outs = job->outs, tiles = job->tiles, skip = PARTS * SKIP, plane = tiles * in;
    int64_t last = least(outs, (number + 1) * PIECE);
    float *spectra = shared->memory + worker * shared->floats;
    for (int64_t c = 0; c < in; c += NARROW) {
        int64_t channels = least(NARROW, in - c);
        for (int64_t first = number * PIECE; first < last; first += SOME) {
            int64_t some = least(SOME, last - first);
            for (int64_t f = 0; f < FREQUENCIES; f++)
                for (int64_t i = 0; i < channels; i += LANES) {
                    const float *gradient = job->gradient + first * PARTS + 2 * f;
                    const float *maps = job->maps + 2 * f * plane + c + i;
                    float *to = spectra + 2 * f * SKIP + i;
                    if (some == SOME)
                        weigh_tile(SOME, gradient, outs * PARTS, maps, in, plane, tiles, to, skip, SKIP);
                    else
                        for (int64_t k = 0; k < some; k++)
                            weigh_tile(1, gradient + k * PARTS, outs * PARTS, maps, in, plane, tiles, to + k * skip,
                                       skip, SKIP);
                }
            for (int64_t k = 0; k < some; k++)
                transform_back(spectra + k * skip, SKIP, in, channels, job->out + (first + k) * 49 * in + c);
        }
    }
}

static int in_pieces(const Fourier *job, void (*piece)(const void *, int64_t, int64_t), int64_t pieces,
                     int64_t floats) {
    int64_t threads = job->parallel ? job->threads : 1;
    float *memory = take(threads * floats);
    if (!memory) return NO_MEMORY;
    memset(memory, 0, sizeof(float) * (size_t)(threads * floats)); /* imaginary parts that nobody writes */
    Shared shared = {job, memory, floats};
    share(job->parallel, threads, piece, &shared, pieces);
    let_go(memory);
    return FINE;
}

/* Spectrum of the output. */
int sceneparse_fourier(const Fourier *job) {
    return in_pieces(job, forward_piece, (job->outs + PIECE - 1) / PIECE, SOME * PARTS * (job->in + LINE));
}

/* Gradient of the spectrum of the maps. */
int sceneparse_fourier_maps(const Fourier *job) {
    return in_pieces(job, maps_piece, (job->in + NARROW - 1) / NARROW, MANY * PARTS * SKIP);
}

/* Gradient of the weights. */
int sceneparse_fourier_weights(const Fourier *job) {
    return in_pieces(job, weights_piece, (job->outs + PIECE - 1) / PIECE, SOME * PARTS * SKIP);
}

/* 0 if weights that are 1 in the middle and 0 around add up the channels, and get what they ask for. */
int sceneparse_fourier_self_test(void) {
    enum { C = 2 * LINE, K = SOME + 1, T = 3 };
    static float maps[PARTS][T][C], weights[K][49][C], gradient[T][K][PARTS], out[T][K][PARTS];
    static float of_maps[PARTS][T][C], of_weights[K][49][C];
    for (int i = 0; i < PARTS * T * C; i++) (&maps[0][0][0])[i] = (float)(i * 7 % 11 - 5);
    for (int i = 0; i < PARTS * T * K; i++) (&gradient[0][0][0])[i] = (float)(i * 5 % 13 - 6);
    for (int i = 0; i < K * C; i++) weights[i / C][24][i % C] = 1;
    Fourier job = {.maps = &maps[0][0][0], .weights = &weights[0][0][0], .gradient = &gradient[0][0][0],
                   .out = &out[0][0][0], .tiles = T, .in = C, .outs = K};
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
