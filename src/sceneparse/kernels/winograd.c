/* 3x3 convolution with stride 1 and padding 1 by Winograd's minimal filtering F(4x4, 3x3).

   Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016. A tile of 4x4 outputs needs
   6x6 inputs; both and the filter are polynomials, multiplied at the six points 0, +-sqrt(1/2), +-sqrt(2) and
   infinity in each direction: 36 products in place of 144. The usual points 0, +-1, +-2 cost as much and lose
   a further bit. At each of the 36 places a matrix product sums over the input channels:

       V (tiles, C) by U (C, K) to M (tiles, K).

   C channels, K channels out; tiles are numbered over the batch, from top to bottom, from left to right, and
   lie in groups of at most MR. Lanes are channels, so images are channels-last. Every sum is formed in the
   same order however the work is divided, so any number of threads gives the same bits. */

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
    const float *x;      /* (B, H, W, C) */
    const float *packed; /* by sceneparse_conv3x3_pack; null: pack says how */
    const struct Pack *pack;
    const float *bias; /* (K) or null */
    float *y;          /* (B, H, W, K) */
    int64_t relu;
} Conv;

/* ---- the three transforms; a * a = 1/2, b * b = 2, a * b = 1 ---- */

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

/* Products at the points to four outputs in a row. */
INLINE void output_from(vec out[4], vec m0, vec m1, vec m2, vec m3, vec m4, vec m5) {
    vec even_a = m1 + m2, odd_a = m1 - m2, even_b = m3 + m4, odd_b = m3 - m4;
    out[0] = m0 + even_a + even_b;
    out[1] = A * odd_a + B * odd_b;
    out[2] = 0.5f * even_a + 2.0f * even_b;
    out[3] = 0.5f * A * odd_a + (2.0f * B * odd_b + m5);
}

/* Three weights in a row to their values at the points, over the products of the points' distances. */
INLINE void weight_at(vec out[6], vec g0, vec g1, vec g2) {
    vec even_a = g0 + 0.5f * g2, even_b = g0 + 2.0f * g2;
    out[0] = g0;
    out[1] = (-2.0f / 3.0f) * (even_a + A * g1);
    out[2] = (-2.0f / 3.0f) * (even_a - A * g1);
    out[3] = (1.0f / 6.0f) * (even_b + B * g1);
    out[4] = (1.0f / 6.0f) * (even_b - B * g1);
    out[5] = g2;
}

/* ---- weights: U as [36][panel of NR of K][C up to whole vectors][NR] ---- */

typedef struct {
    int64_t depth;  /* C up to whole vectors */
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

int64_t sceneparse_conv3x3_packed(int64_t channels, int64_t outs) {
    return PLACES * packed_of(channels, outs).place;
}

typedef struct Pack {
    Parallel parallel;
    int64_t threads;
    int64_t channels, outs; /* of the convolution that it is packed for */
    const float *weight;    /* (K, C, 3, 3) */
    int64_t by_k, by_c, by_y, by_x; /* in floats */
    int64_t turned; /* by half a turn: (K, C) are (C, K) of a convolution whose input's gradient is wanted */
    float *packed;
} Pack;

/* DEEP input channels of one panel. */
static void pack_part(const void *what, int64_t index, int64_t worker) {
    (void)worker;
    const Pack *job = what;
    Packed p = packed_of(job->channels, job->outs);
    int64_t parts = p.depth / DEEP, panel = index / parts, begin = index % parts * DEEP;
    int64_t lanes = job->outs - panel * NR < NR ? job->outs - panel * NR : NR;
    int64_t rows = job->channels - begin < DEEP ? job->channels - begin : DEEP;
    const float *from = job->weight + panel * NR * job->by_k + begin * job->by_c;
    float taps[DEEP][9][NR] = {{{0}}};
    for (int i = 0; i < 9; i++) {
        int y = job->turned ? 2 - i / 3 : i / 3, x = job->turned ? 2 - i % 3 : i % 3;
        const float *tap = from + y * job->by_y + x * job->by_x;
        if (job->by_c < job->by_k) /* along the memory: far steps may fall into the same place of the cache */
            for (int64_t k = 0; k < lanes; k++)
                for (int64_t c = 0; c < rows; c++) taps[c][i][k] = tap[k * job->by_k + c * job->by_c];
        else
            for (int64_t c = 0; c < rows; c++)
                for (int64_t k = 0; k < lanes; k++) taps[c][i][k] = tap[k * job->by_k + c * job->by_c];
    }
    for (int64_t c = 0; c < DEEP; c++) {
        float *to = job->packed + panel * p.panel + (begin + c) * NR;
        for (int v = 0; v < NR; v += LANES) {
            vec half[3][6];
            for (int x = 0; x < 3; x++) {
                vec column[6];
                weight_at(column, load(taps[c][x] + v), load(taps[c][3 + x] + v), load(taps[c][6 + x] + v));
                for (int y = 0; y < 6; y++) half[x][y] = column[y];
            }
            for (int y = 0; y < 6; y++) {
                vec row[6];
                weight_at(row, half[0][y], half[1][y], half[2][y]);
                for (int x = 0; x < 6; x++) store(to + (6 * y + x) * p.place + v, row[x]);
            }
        }
    }
}

void sceneparse_conv3x3_pack(const Pack *job) {
    Packed p = packed_of(job->channels, job->outs);
    large_pages(job->packed, sizeof(float) * PLACES * (size_t)p.place);
    for (int i = 1; i <= PLACES; i++) memset(job->packed + i * p.place - PAD, 0, sizeof(float) * PAD);
    share(job->parallel, job->threads, pack_part, job, p.panels * p.depth / DEEP);
}

/* ---- a block of tiles ---- */

typedef struct {
    const Conv *job;
    Packed weights;
    int64_t first, tiles, groups;
    float *v;                 /* [36][group][C / DEEP][MR][DEEP] */
    float *m;                 /* [36][group][panel][MR][NR] */
    const float *zeros;       /* (depth): what lies beyond the border */
    int64_t v_group, v_place; /* floats */
    int64_t m_group, m_place;
} Block;

typedef struct {
    int64_t b, y, x; /* of the first output */
} Tile;

static Tile tile_at(const Conv *job, int64_t index) {
    int64_t across = (job->width + 3) / 4, down = (job->height + 3) / 4, row = index / across;
    return (Tile){row / down, row % down * 4, index % across * 4};
}

static int64_t count_tiles(const Conv *job) {
    return job->batch * ((job->width + 3) / 4) * ((job->height + 3) / 4);
}

/* First tile of a group; groups are as even as can be: a block of one row costs as much as one of four. */
static int64_t group_begin(const Block *block, int64_t group) { return block->tiles * group / block->groups; }

static int64_t block_floats(const Conv *job, int64_t tiles) {
    Packed p = packed_of(job->channels, job->outs);
    int64_t groups = (tiles + MR - 1) / MR;
    return p.depth + PLACES * (groups * MR * (p.depth + p.panels * NR) + 2 * PAD);
}

static Block make_block(const Conv *job, float *memory, int64_t first, int64_t tiles) {
    Block block = {.job = job, .weights = packed_of(job->channels, job->outs), .first = first, .tiles = tiles,
                   .groups = (tiles + MR - 1) / MR, .zeros = memory};
    block.v_group = block.weights.depth * MR;
    block.v_place = block.groups * block.v_group + PAD;
    block.m_group = block.weights.panels * NR * MR;
    block.m_place = block.groups * block.m_group + PAD;
    block.m = memory + block.weights.depth;
    block.v = block.m + PLACES * block.m_place;
    memset(memory, 0, sizeof(float) * (size_t)block.weights.depth);
    return block;
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
static void find_pixels(const float **from, const float *images, const Conv *job, Tile tile, int64_t channels,
                        int64_t shift, int64_t size, const float *zeros) {
    for (int64_t i = 0; i < size * size; i++) {
        int64_t y = tile.y + shift + i % size, x = tile.x + shift + i / size;
        int there = y >= 0 && x >= 0 && y < job->height && x < job->width;
        from[i] = there ? images + ((tile.b * job->height + y) * job->width + x) * channels : zeros;
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

/* Tiles of a group to V. */
static void block_input(const Block *block, int64_t group) {
    const Conv *job = block->job;
    const float *from[MR][PLACES];
    int64_t begin = group_begin(block, group), rows = group_begin(block, group + 1) - begin;
    for (int64_t r = 0; r < rows; r++)
        find_pixels(from[r], job->x, job, tile_at(job, block->first + begin + r), job->channels, -1, 6,
                    block->zeros);
    for (int64_t deep = 0; deep < block->weights.depth; deep += DEEP)
        for (int64_t r = 0; r < rows; r++) {
            float *to = block->v + group * block->v_group + deep * MR + r * DEEP;
            for (int64_t c = 0; c < DEEP; c += LANES)
                input_tile(from[r], deep + c, job->channels, to + c, block->v_place);
        }
}

/* (rows, C) by (C, NR). Meanwhile fetch lines of the panel after this one for each vector of channels. */
INLINE void product(const int rows, const float *a, const float *b, int64_t depth, float *m,
                    const float *ahead, int64_t lines) {
    vec sum[MR][NV];
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) sum[r][v] = (vec){};
    for (int64_t c = 0; c < depth; c += DEEP, a += MR * DEEP, b += NR * DEEP) {
        for (int64_t i = 0; i < lines; i++, ahead += 16) __builtin_prefetch(ahead, 0, 2);
#pragma GCC unroll 8
        for (int j = 0; j < DEEP; j++) {
            vec w[NV];
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) w[v] = load(b + j * NR + v * LANES);
#pragma GCC unroll 16
            for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++) sum[r][v] += a[r * DEEP + j] * w[v];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) store(m + r * NR + v * LANES, sum[r][v]);
}

#if MR == 14
#define EACH_ROWS \
    ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6) ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12) \
    ROWS(13) ROWS(14)
#elif MR == 6
#define EACH_ROWS ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6)
#else
#define EACH_ROWS ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5)
#endif

/* One function for each number of rows, so that the sums stay in registers. */
#define ROWS(n)                                                                                       \
    static __attribute__((noinline)) void product_##n(const float *a, const float *b, int64_t depth, \
                                                      float *m, const float *ahead, int64_t lines) { \
        product(n, a, b, depth, m, ahead, lines);                                                     \
    }
EACH_ROWS
#undef ROWS

#define ROWS(n) product_##n,
static void (*const products[])(const float *, const float *, int64_t, float *, const float *, int64_t) = {
    NULL, EACH_ROWS};
#undef ROWS

/* Panels of one place to M. */
static void block_multiply(const Block *block, int64_t place, int64_t begin, int64_t end) {
    Packed w = block->weights;
    /* The lines of a panel, over the groups and the vectors of channels that are there to fetch them. */
    int64_t lines = (DEEP * NR / 16 + block->groups - 1) / block->groups, per_group = lines * w.depth / DEEP;
    for (int64_t p = begin; p < end; p++) {
        const float *u = block->job->packed + place * w.place + p * w.panel;
        for (int64_t g = 0; g < block->groups; g++)
            products[group_begin(block, g + 1) - group_begin(block, g)](
                block->v + place * block->v_place + g * block->v_group, u, w.depth,
                block->m + place * block->m_place + g * block->m_group + p * NR * MR,
                u + w.panel + g * per_group * 16, lines);
    }
}

/* Products at the places to four by four outputs. */
INLINE void output_tile(const float *from, int64_t place, vec bias, int relu, float *to, int64_t by_y,
                        int64_t by_x) {
    vec half[4][6];
#pragma GCC unroll 1
    for (int x = 0; x < 6; x++, from += place) {
        vec column[4];
        output_from(column, load(from), load(from + 6 * place), load(from + 12 * place),
                    load(from + 18 * place), load(from + 24 * place), load(from + 30 * place));
#pragma GCC unroll 4
        for (int y = 0; y < 4; y++) half[y][x] = column[y];
    }
    vec least = relu ? (vec){} : splat(-INFINITY);
#pragma GCC unroll 1
    for (int y = 0; y < 4; y++, to += by_y) {
        vec row[4], *h = half[y];
        output_from(row, h[0], h[1], h[2], h[3], h[4], h[5]);
#pragma GCC unroll 4
        for (int x = 0; x < 4; x++) store(to + x * by_x, larger(least, row[x] + bias)); /* NaN stays */
    }
}

/* M of a group to the output. */
static void block_output(const Block *block, int64_t group) {
    const Conv *job = block->job;
    int64_t begin = group_begin(block, group), rows = group_begin(block, group + 1) - begin;
    int relu = job->relu != 0;
    for (int64_t r = 0; r < rows; r++) {
        Tile tile = tile_at(job, block->first + begin + r);
        int64_t high = job->height - tile.y, wide = job->width - tile.x, k_end = job->outs;
        high = high < 4 ? high : 4, wide = wide < 4 ? wide : 4;
        float *to = job->y + ((tile.b * job->height + tile.y) * job->width + tile.x) * k_end;
        const float *from = block->m + group * block->m_group + r * NR;
        for (int64_t k = 0; k < k_end; k += LANES) {
            int64_t lanes = k_end - k < LANES ? k_end - k : LANES;
            vec bias = {};
            if (job->bias && lanes == LANES) bias = load(job->bias + k);
            else for (int64_t i = 0; job->bias && i < lanes; i++) bias[i] = job->bias[k + i];
            const float *m = from + k / NR * NR * MR + k % NR;
            if (high == 4 && wide == 4 && lanes == LANES) {
                output_tile(m, block->m_place, bias, relu, to + k, job->width * k_end, k_end);
                continue;
            }
            float whole[4][4][LANES];
            output_tile(m, block->m_place, bias, relu, whole[0][0], 4 * LANES, LANES);
            for (int64_t y = 0; y < high; y++)
                for (int64_t x = 0; x < wide; x++)
                    memcpy(to + (y * job->width + x) * k_end + k, whole[y][x],
                           sizeof(float) * (size_t)lanes);
        }
    }
}

/* ---- the convolution: blocks side by side, or one after the other with all threads in each ---- */

typedef struct {
    const Conv *job;
    int64_t blocks, tiles; /* of all blocks */
    float *memory;
    int64_t floats; /* of one block */
} Blocks;

static void whole_block(const void *what, int64_t index, int64_t worker) {
    const Blocks *all = what;
    int64_t first = all->tiles * index / all->blocks, end = all->tiles * (index + 1) / all->blocks;
    Block block = make_block(all->job, all->memory + worker * all->floats, first, end - first);
    for (int64_t g = 0; g < block.groups; g++) block_input(&block, g);
    for (int64_t place = 0; place < PLACES; place++) block_multiply(&block, place, 0, block.weights.panels);
    for (int64_t g = 0; g < block.groups; g++) block_output(&block, g);
}

static void input_task(const void *block, int64_t index, int64_t worker) {
    (void)worker;
    block_input(block, index);
}

static void output_task(const void *block, int64_t index, int64_t worker) {
    (void)worker;
    block_output(block, index);
}

static int64_t parts_of(int64_t threads, int64_t panels) {
    int64_t parts = (4 * threads + PLACES - 1) / PLACES; /* of a place: four tasks for each thread */
    return parts < panels ? parts : panels;
}

static void multiply_task(const void *what, int64_t index, int64_t worker) {
    (void)worker;
    const Block *block = what;
    int64_t panels = block->weights.panels, parts = parts_of(block->job->threads, panels);
    int64_t part = index % parts;
    block_multiply(block, index / parts, panels * part / parts, panels * (part + 1) / parts);
}

/* Tiles of a block at most: the larger U, the more of them it must serve each time that it comes from memory;
   the smaller, the better what belongs to a block stays in the cache. */
static int64_t most_tiles(int64_t weights) {
    if (weights > 256 * 256) return 128;
    int64_t most = weights / 512;
    return most < 2 * MR ? 2 * MR : most > 36 ? 36 : most;
}

int sceneparse_conv3x3(const Conv *given) {
    Conv with_packed = *given;
    const Conv *job = &with_packed;
    int64_t tiles = count_tiles(job), threads = job->threads;
    int large = job->channels * job->outs > 256 * 256;
    int64_t most = most_tiles(job->channels * job->outs), blocks = (tiles + most - 1) / most;
    int together = threads > 1 && (large || blocks < 2 * threads);
    int64_t floats = (block_floats(job, (tiles + blocks - 1) / blocks) + PAD - 1) / PAD * PAD;
    int64_t own = job->packed ? 0 : sceneparse_conv3x3_packed(job->channels, job->outs);
    float *memory = take(own + floats * (together ? 1 : threads)), *of_blocks = memory + own;
    if (!memory) return NO_MEMORY;
    if (own) {
        Pack pack = *job->pack;
        with_packed.packed = pack.packed = memory;
        sceneparse_conv3x3_pack(&pack);
    }
    large_pages(job->y, sizeof(float) * (size_t)(job->batch * job->height * job->width * job->outs));
    Blocks all = {job, blocks, tiles, of_blocks, floats};
    if (!together) share(job->parallel, threads, whole_block, &all, blocks);
    for (int64_t i = 0; i < blocks && together; i++) {
        int64_t first = tiles * i / blocks, end = tiles * (i + 1) / blocks;
        Block block = make_block(job, of_blocks, first, end - first);
        share(job->parallel, threads, input_task, &block, block.groups);
        int64_t parts = parts_of(threads, block.weights.panels);
        share(job->parallel, threads, multiply_task, &block, PLACES * parts);
        share(job->parallel, threads, output_task, &block, block.groups);
    }
    let_go(memory);
    return FINE;
}

/* ---- gradient of the weight: dU = V' Z at each place, Z the gradient of the output at the points ---- */

typedef struct {
    Parallel parallel;
    int64_t threads;
    int64_t batch, channels, outs, height, width;
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
    Conv sizes; /* for the tiles */
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
        Tile tile = tile_at(&all->sizes, all->first + t);
        const float *from[PLACES];
        find_pixels(from, job->x, &all->sizes, tile, job->channels, -1, 6, all->zeros);
        for (int64_t c = 0; c < job->channels; c += LANES)
            input_tile(from, c, job->channels, all->v + t * all->v_row + c, all->v_place);
        find_pixels(from, job->grad, &all->sizes, tile, job->outs, 0, 4, all->zeros);
        for (int64_t k = 0; k < job->outs; k += LANES) {
            vec sum = grad_tile(from, k, job->outs, all->z + t * all->z_row + k, all->z_place);
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
    int64_t parts = parts_of(all->job->threads, all->panels), part = index % parts, place = index / parts;
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
    int64_t lanes = job->outs - panel * NR < NR ? job->outs - panel * NR : NR;
    int64_t rows = job->channels - begin < DEEP ? job->channels - begin : DEEP;
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
    Packed p = packed_of(job->channels, job->outs);
    Grads all = {.job = job, .depth = p.depth, .panels = p.panels, .u_panel = p.panel, .u_place = p.place,
                 .v_row = p.depth + PAD, .z_row = p.panels * NR + PAD,
                 .sizes = {.batch = job->batch, .height = job->height, .width = job->width}};
    int64_t tiles = count_tiles(&all.sizes), large = job->channels * job->outs > 256 * 256;
    int64_t most = large ? GRAD_TILES_LARGE : GRAD_TILES, blocks = (tiles + most - 1) / most;
    int64_t block = (tiles + blocks - 1) / blocks, strips = (block + STRIP - 1) / STRIP, parts;
    all.v_place = block * all.v_row + PAD;
    all.z_place = block * all.z_row + PAD;
    int64_t zeros = job->channels > job->outs ? job->channels : job->outs, k = p.panels * NR;
    float *memory = take(PLACES * (all.v_place + all.z_place + all.u_place) + strips * k + zeros);
    if (!memory) return NO_MEMORY;
    all.v = memory;
    all.z = all.v + PLACES * all.v_place;
    all.u = all.z + PLACES * all.z_place;
    all.sums = all.u + PLACES * all.u_place;
    all.zeros = memset(all.sums + strips * k, 0, sizeof(float) * (size_t)zeros);
    memset(job->bias, 0, sizeof(float) * (size_t)job->outs);
    for (int64_t i = 0; i < blocks; i++) {
        all.first = tiles * i / blocks, all.tiles = tiles * (i + 1) / blocks - all.first;
        strips = (all.tiles + STRIP - 1) / STRIP, parts = parts_of(job->threads, p.panels);
        share(job->parallel, job->threads, grad_strip, &all, strips);
        share(job->parallel, job->threads, grad_multiply, &all, PLACES * parts);
        for (int64_t strip = 0; strip < strips; strip++)
            for (int64_t j = 0; j < job->outs; j++) job->bias[j] += all.sums[strip * k + j];
    }
    share(job->parallel, job->threads, grad_unpack, &all, p.panels * p.depth / DEEP);
    let_go(memory);
    return FINE;
}

/* 0 if a small convolution of whole numbers with borders and odd channels is right. */
int sceneparse_conv3x3_self_test(void) {
    enum { C = LANES + 3, K = NR + 5, H = 5, W = 6 };
    static float x[H][W][C], weight[K][C][3][3], y[H][W][K];
    for (int i = 0; i < H * W * C; i++) (&x[0][0][0])[i] = (float)(i * 7 % 11 - 5);
    for (int i = 0; i < K * C * 9; i++) (&weight[0][0][0][0])[i] = (float)(i * 5 % 13 - 6);
    float *packed = malloc(sizeof(float) * (size_t)sceneparse_conv3x3_packed(C, K));
    if (!packed) return 1;
    Pack pack = {.threads = 1, .channels = C, .outs = K, .weight = &weight[0][0][0][0], .by_k = C * 9,
                 .by_c = 9, .by_y = 3, .by_x = 1, .packed = packed};
    sceneparse_conv3x3_pack(&pack);
    Conv conv = {.threads = 2, .batch = 1, .channels = C, .outs = K, .height = H, .width = W,
                 .x = &x[0][0][0], .packed = packed, .y = &y[0][0][0]};
    int wrong = sceneparse_conv3x3(&conv);
    for (int i = 0; i < H * W * K; i++) {
        int k = i % K, at_x = i / K % W, at_y = i / K / W;
        float sum = 0;
        for (int j = 0; j < 9 * C; j++) {
            int c = j % C, from_x = at_x - 1 + j / C % 3, from_y = at_y - 1 + j / C / 3;
            if (from_x >= 0 && from_x < W && from_y >= 0 && from_y < H)
                sum += x[from_y][from_x][c] * weight[k][c][j / C / 3][j / C % 3];
        }
        wrong |= !(fabsf(y[at_y][at_x][k] - sum) < 0.02f);
    }
    free(packed);
    return wrong;
}
