/* 3x3 convolution with stride 1 and padding 1 by Winograd's minimal filtering F(4x4, 3x3): what the
   convolution and the gradient of its weight have in common.

   Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. A tile of 4x4 outputs needs
   6x6 inputs; both and the filter are polynomials, multiplied at the six points 0, +-sqrt(1/2), +-sqrt(2) and
   infinity in each direction: 36 products in place of 144. The usual points 0, +-1, +-2 cost as much and lose
   a further bit. At each of the 36 places a matrix product sums over the input channels:

       V (tiles, C) by U (C, K) to M (tiles, K).

   C channels, K channels out; tiles are numbered over the batch, from top to bottom, from left to right, and
   lie in groups of at most MR. Lanes are channels, so images are channels-last. Every sum is formed in the
   same order however the work is divided, so any number of threads gives the same bits. */

#ifndef SCENEPARSE_WINOGRAD_H
#define SCENEPARSE_WINOGRAD_H

#if !defined(LANES) && !defined(__AVX__)
#define LANES 4 /* NEON, SSE */
#endif
#include "threads.h"
#include "vectors.h"

/* A register block: MR tiles by NV vectors of output channels. */
#if LANES == 16
#define MR 14
#define NV 2
#elif LANES == 4 && defined(__aarch64__)
#define MR 5
#define NV 4
#else
#define MR 6
#define NV 2
#endif
#define NR (NV * LANES)
#define DEEP 16 /* input channels that lie together: a line of the cache */
#define PLACES 36
#define PAD 16 /* floats between the places: at powers of two they would share lines of the cache */
#define INLINE static inline __attribute__((always_inline))

enum { FINE = 0, NO_MEMORY = 1 };

typedef struct {
    Parallel parallel;
    int64_t threads;
    int64_t batch, channels, outs, height, width;
} Sizes;

#if MR == 14
#define EACH_ROWS \
    ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12) \
    ROWS(13) ROWS(14)
#elif MR == 6
#define EACH_ROWS ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6)
#else
#define EACH_ROWS ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5)
#endif

/* ---- transforms; a * a = 1/2, b * b = 2, a * b = 1 ---- */

#define A 0.70710678f
#define B 1.41421356f

/* Six inputs in a row to their values at the points. */
INLINE void input_at(vec out[6], vec d0, vec d1, vec d2, vec d3, vec d4, vec d5) {
    vec even_a = d4 - 2.0f * d2, odd_a = d3 - 2.0f * d1;
    vec even_b = d4 - 0.5f * d2, odd_b = d3 - 0.5f * d1;
    out[0] = d0 - 2.5f * d2 + d4;
    out[1] = even_a + A * odd_a;
    out[2] = even_a - A * odd_a;
    out[3] = even_b + B * odd_b;
    out[4] = even_b - B * odd_b;
    out[5] = d1 - 2.5f * d3 + d5;
}

/* ---- the layout of U: [36][panel of NR of K][C up to whole lines][NR] ---- */

typedef struct {
    int64_t depth;  /* C up to whole lines */
    int64_t panels; /* of K */
    int64_t panel;  /* floats of a panel */
    int64_t place;  /* floats of a place */
} Packed;

static Packed packed_of(int64_t channels, int64_t outs) {
    Packed p = {.depth = (channels + DEEP - 1) / DEEP * DEEP, .panels = (outs + NR - 1) / NR};
    p.panel = p.depth * NR;
    p.place = p.panels * p.panel + PAD;
    return p;
}

/* Tasks that the panels of a place are divided into: in all, four for each thread. */
static int64_t parts_of(int64_t threads, int64_t panels) {
    int64_t parts = (4 * threads + PLACES - 1) / PLACES;
    return parts < panels ? parts : panels;
}

/* ---- tiles ---- */

typedef struct {
    int64_t b, y, x; /* of the first output */
} Tile;

static Tile tile_at(const Sizes *sizes, int64_t index) {
    int64_t across = (sizes->width + 3) / 4, down = (sizes->height + 3) / 4, row = index / across;
    return (Tile){row / down, row % down * 4, index % across * 4};
}

static int64_t count_tiles(const Sizes *sizes) {
    return sizes->batch * ((sizes->width + 3) / 4) * ((sizes->height + 3) / 4);
}

/* Six by six vectors to their values at the places. from: pointers to the pixels of a tile, by columns. */
static void input_points(const float *const *from, int64_t c, float *to, int64_t place) {
    vec half[6][6];
#pragma GCC unroll 1
    for (int x = 0; x < 6; x++, from += 6) {
        vec column[6];
        input_at(column, load(from[0] + c), load(from[1] + c), load(from[2] + c), load(from[3] + c),
                 load(from[4] + c), load(from[5] + c));
#pragma GCC unroll 6
        for (int y = 0; y < 6; y++) half[y][x] = column[y];
    }
#pragma GCC unroll 1
    for (int y = 0; y < 6; y++, to += 6 * place) {
        vec row[6], *h = half[y];
        input_at(row, h[0], h[1], h[2], h[3], h[4], h[5]);
#pragma GCC unroll 6
        for (int x = 0; x < 6; x++) store(to + x * place, row[x]);
    }
}

/* Pointers to the size x size pixels from (shift, shift) of a tile on; to zeros beyond the border. */
static void find_pixels(const float **from, const float *images, const Sizes *sizes, Tile tile,
                        int64_t channels, int64_t shift, int64_t size, const float *zeros) {
    for (int64_t i = 0; i < size * size; i++) {
        int64_t y = tile.y + shift + i % size, x = tile.x + shift + i / size;
        int there = y >= 0 && x >= 0 && y < sizes->height && x < sizes->width;
        from[i] = there ? images + ((tile.b * sizes->height + y) * sizes->width + x) * channels : zeros;
    }
}

/* The last channels, where they fill no vector: copied, and filled up with zeros. */
typedef struct {
    const float *from[PLACES];
    float copy[PLACES][LANES];
} Tail;

static void make_tail(Tail *tail, const float *const *from, int n, int64_t c, int64_t lanes) {
    memset(tail->copy, 0, sizeof tail->copy);
    for (int i = 0; i < n; i++) {
        tail->from[i] = tail->copy[i];
        for (int64_t j = 0; j < lanes; j++) tail->copy[i][j] = from[i][c + j];
    }
}

static void input_tile(const float *const *from, int64_t c, int64_t channels, float *to, int64_t place) {
    if (c + LANES <= channels) {
        input_points(from, c, to, place);
    } else {
        Tail tail;
        make_tail(&tail, from, PLACES, c, channels - c);
        input_points(tail.from, 0, to, place);
    }
}

#endif
