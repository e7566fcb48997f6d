/* Gradient of the weight of a 3x3 convolution by Winograd's minimal filtering.

   At each of the 36 places dU (C, K) = V' Z, with V (tiles, C) the inputs and Z (tiles, K) the gradients of
   the outputs at the points. The gradient of the input is a convolution with the weight turned by half a
   turn. */

#include "winograd.h"

typedef struct {
    Sizes size;
    const float *x;    /* (B, H, W, C) */
    const float *grad; /* (B, H, W, K) */
    float *weight;     /* (K, C, 3, 3) */
    int64_t by_k, by_c, by_y, by_x; /* in floats */
    float *bias; /* (K) */
} WeightGrad;

#define STRIP 8   /* tiles that are transformed as one task */
#define CHAIN 128 /* tiles in a sum: short sums of short sums lose fewer bits, and both factors stay in L1 */

typedef struct {
    const WeightGrad *job;
    int64_t depth, panels;
    int64_t first, tiles; /* of the block at hand */
    int64_t v_row, v_place, z_row, z_place, u_panel, u_place; /* floats */
    float *v;    /* [36][tile][C] */
    float *z;    /* [36][tile][K] */
    float *u;    /* [36][panel][C][NR] */
    float *sums; /* [strip][K]: gradient of the bias */
    const float *zeros;
} Grads;

/* Four gradients in a row to their values at the points: output_from turned round. */
INLINE void grad_at(vec out[6], vec y0, vec y1, vec y2, vec y3) {
    vec even_a = y0 + 0.5f * y2, odd_a = y1 + 0.5f * y3, even_b = y0 + 2.0f * y2, odd_b = y1 + 2.0f * y3;
    out[0] = y0;
    out[1] = even_a + A * odd_a;
    out[2] = even_a - A * odd_a;
    out[3] = even_b + B * odd_b;
    out[4] = even_b - B * odd_b;
    out[5] = y3;
}

/* Sums at the points to the gradients of three weights: weight_at turned round. */
INLINE void weight_from(vec out[3], vec u0, vec u1, vec u2, vec u3, vec u4, vec u5) {
    vec even_a = (-2.0f / 3.0f) * (u1 + u2), even_b = (1.0f / 6.0f) * (u3 + u4);
    out[0] = u0 + even_a + even_b;
    out[1] = (-2.0f / 3.0f * A) * (u1 - u2) + (1.0f / 6.0f * B) * (u3 - u4);
    out[2] = 0.5f * even_a + (2.0f * even_b + u5);
}

/* Four by four vectors to their values at the places, and their sum. */
static vec grad_points(const float *const *from, int64_t c, float *to, int64_t place) {
    vec half[6][4], sum = {};
#pragma GCC unroll 1
    for (int x = 0; x < 4; x++, from += 4) {
        vec column[6], y0 = load(from[0] + c), y1 = load(from[1] + c);
        vec y2 = load(from[2] + c), y3 = load(from[3] + c);
        sum += (y0 + y1) + (y2 + y3);
        grad_at(column, y0, y1, y2, y3);
#pragma GCC unroll 6
        for (int y = 0; y < 6; y++) half[y][x] = column[y];
    }
#pragma GCC unroll 1
    for (int y = 0; y < 6; y++, to += 6 * place) {
        vec row[6], *h = half[y];
        grad_at(row, h[0], h[1], h[2], h[3]);
#pragma GCC unroll 6
        for (int x = 0; x < 6; x++) store(to + x * place, row[x]);
    }
    return sum;
}

static vec grad_tile(const float *const *from, int64_t k, int64_t outs, float *to, int64_t place) {
    if (k + LANES <= outs) return grad_points(from, k, to, place);
    Tail tail;
    make_tail(&tail, from, 16, k, outs - k);
    return grad_points(tail.from, 0, to, place);
}

static void grad_strip(const void *what, int64_t index, int64_t worker) {
    (void)worker;
    const Grads *all = what;
    const WeightGrad *job = all->job;
    int64_t end = (index + 1) * STRIP < all->tiles ? (index + 1) * STRIP : all->tiles;
    float *sums = all->sums + index * all->panels * NR;
    memset(sums, 0, sizeof(float) * (size_t)(all->panels * NR));
    for (int64_t t = index * STRIP; t < end; t++) {
        Tile tile = tile_at(&job->size, all->first + t);
        const float *from[PLACES];
        find_pixels(from, job->x, &job->size, tile, job->size.channels, -1, 6, all->zeros);
        for (int64_t c = 0; c < job->size.channels; c += LANES)
            input_tile(from, c, job->size.channels, all->v + t * all->v_row + c, all->v_place);
        find_pixels(from, job->grad, &job->size, tile, job->size.outs, 0, 4, all->zeros);
        for (int64_t k = 0; k < job->size.outs; k += LANES) {
            vec sum = grad_tile(from, k, job->size.outs, all->z + t * all->z_row + k, all->z_place);
            store(sums + k, load(sums + k) + sum);
        }
    }
}

/* (tiles, rows)' by (tiles, NR), added to u or in its place. */
INLINE void outer(const int rows, const float *a, int64_t a_row, const float *b, int64_t b_row, int64_t tiles,
                  float *u, int first) {
    vec sum[MR][NV];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) sum[r][v] = (vec){};
#pragma GCC unroll 2
    for (int64_t t = 0; t < tiles; t++, a += a_row, b += b_row) {
        __builtin_prefetch(a + 2 * MR - 1, 0, 3); /* for the next rows: too far apart to be foreseen */
        vec w[NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) w[v] = load(b + v * LANES);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) sum[r][v] += a[r] * w[v];
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            float *at = u + r * NR + v * LANES;
            store(at, first ? sum[r][v] : load(at) + sum[r][v]);
        }
}

#define ROWS(n)                                                                                    \
    static __attribute__((noinline)) void outer_##n(const float *a, int64_t a_row, const float *b, \
                                                    int64_t b_row, int64_t tiles, float *u,        \
                                                    int first) {                                   \
        outer(n, a, a_row, b, b_row, tiles, u, first);                                             \
    }
EACH_ROWS
#undef ROWS

#define ROWS(n) outer_##n,
static void (*const outers[])(const float *, int64_t, const float *, int64_t, int64_t, float *, int) = {
    NULL, EACH_ROWS};
#undef ROWS

static void grad_multiply(const void *what, int64_t index, int64_t worker) {
    (void)worker;
    const Grads *all = what;
    int64_t parts = parts_of(all->job->size.threads, all->panels), part = index % parts;
    int64_t place = index / parts;
    int64_t groups = (all->depth + MR - 1) / MR;
    for (int64_t t = 0; t < all->tiles; t += CHAIN) {
        int64_t tiles = all->tiles - t < CHAIN ? all->tiles - t : CHAIN;
        const float *v = all->v + place * all->v_place + t * all->v_row;
        const float *z = all->z + place * all->z_place + t * all->z_row;
        for (int64_t p = all->panels * part / parts; p < all->panels * (part + 1) / parts; p++) {
            float *u = all->u + place * all->u_place + p * all->u_panel;
            for (int64_t g = 0; g < groups; g++) {
                int64_t begin = all->depth * g / groups, end = all->depth * (g + 1) / groups;
                outers[end - begin](v + begin, all->v_row, z + p * NR, all->z_row, tiles, u + begin * NR,
                                    all->first + t == 0);
            }
        }
    }
}

/* DEEP input channels of one panel. */
static void grad_unpack(const void *what, int64_t index, int64_t worker) {
    (void)worker;
    const Grads *all = what;
    const WeightGrad *job = all->job;
    int64_t parts = all->depth / DEEP, panel = index / parts, begin = index % parts * DEEP;
    int64_t lanes = job->size.outs - panel * NR < NR ? job->size.outs - panel * NR : NR;
    int64_t rows = job->size.channels - begin < DEEP ? job->size.channels - begin : DEEP;
    float taps[DEEP][9][NR];
    for (int64_t c = 0; c < rows; c++) {
        const float *u = all->u + panel * all->u_panel + (begin + c) * NR;
        for (int v = 0; v < NR; v += LANES) {
            vec half[3][6];
            for (int x = 0; x < 6; x++) {
                vec column[3];
                const float *at = u + x * all->u_place + v;
                int64_t row = 6 * all->u_place;
                weight_from(column, load(at), load(at + row), load(at + 2 * row), load(at + 3 * row),
                            load(at + 4 * row), load(at + 5 * row));
                for (int y = 0; y < 3; y++) half[y][x] = column[y];
            }
            for (int y = 0; y < 3; y++) {
                vec row[3], *h = half[y];
                weight_from(row, h[0], h[1], h[2], h[3], h[4], h[5]);
                for (int x = 0; x < 3; x++) store(taps[c][3 * y + x] + v, row[x]);
            }
        }
    }
    float *to = job->weight + panel * NR * job->by_k + begin * job->by_c;
    for (int64_t k = 0; k < lanes; k++)
        for (int i = 0; i < 9; i++) {
            float *tap = to + k * job->by_k + i / 3 * job->by_y + i % 3 * job->by_x;
            for (int64_t c = 0; c < rows; c++) tap[c * job->by_c] = taps[c][i][k];
        }
}

#define GRAD_TILES 192
#define GRAD_TILES_LARGE 392 /* where dU is large: it is read and written once for each block */

int sceneparse_conv3x3_weight_gradient(const WeightGrad *job) {
    Packed p = packed_of(job->size.channels, job->size.outs);
    Grads all = {.job = job, .depth = p.depth, .panels = p.panels, .u_panel = p.panel, .u_place = p.place,
                 .v_row = p.depth + PAD, .z_row = p.panels * NR + PAD};
    int64_t tiles = count_tiles(&job->size), large = job->size.channels * job->size.outs > 256 * 256;
    int64_t most = large ? GRAD_TILES_LARGE : GRAD_TILES, blocks = (tiles + most - 1) / most;
    int64_t block = (tiles + blocks - 1) / blocks, strips = (block + STRIP - 1) / STRIP, parts;
    all.v_place = block * all.v_row + PAD;
    all.z_place = block * all.z_row + PAD;
    int64_t k = p.panels * NR, zeros = p.depth > k ? p.depth : k;
    float *memory = take(PLACES * (all.v_place + all.z_place + all.u_place) + strips * k + zeros);
    if (!memory) return NO_MEMORY;
    all.v = memory;
    all.z = all.v + PLACES * all.v_place;
    all.u = all.z + PLACES * all.z_place;
    all.sums = all.u + PLACES * all.u_place;
    all.zeros = memset(all.sums + strips * k, 0, sizeof(float) * (size_t)zeros);
    memset(job->bias, 0, sizeof(float) * (size_t)job->size.outs);
    for (int64_t i = 0; i < blocks; i++) {
        all.first = tiles * i / blocks, all.tiles = tiles * (i + 1) / blocks - all.first;
        strips = (all.tiles + STRIP - 1) / STRIP, parts = parts_of(job->size.threads, p.panels);
        share(job->size.parallel, job->size.threads, grad_strip, &all, strips);
        share(job->size.parallel, job->size.threads, grad_multiply, &all, PLACES * parts);
        for (int64_t strip = 0; strip < strips; strip++)
            for (int64_t j = 0; j < job->size.outs; j++) job->bias[j] += all.sums[strip * k + j];
    }
    share(job->size.parallel, job->size.threads, grad_unpack, &all, p.panels * p.depth / DEEP);
    let_go(memory);
    return FINE;
}
