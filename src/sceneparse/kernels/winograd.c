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
#include "vectors.h"

#include <stdatomic.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

/* A register block: MR tiles by NV vectors of output channels. */
#if LANES == 16
#define MR 14
#define NV 2
#elif LANES == 4 && defined(__aarch64__)
#define MR 6
#define NV 4
#else
#define MR 6
#define NV 2
#endif
#define NR (NV * LANES)
#define PLACES 36
#define PAD 16            /* floats between the places: at powers of two they would share lines of the cache */
#define HUGE_PAGE 2097152 /* bytes */
#define INLINE static inline __attribute__((always_inline))

enum { FINE = 0, NO_MEMORY = 1 };

typedef void (*Parallel)(void (*)(void *), void *, unsigned, unsigned); /* GOMP_parallel */

typedef struct {
    Parallel parallel; /* null: one thread */
    int64_t threads;
    int64_t batch, channels, outs, height, width;
    const float *x;      /* (B, H, W, C) */
    const float *packed; /* by sceneparse_conv3x3_pack */
    const float *bias;   /* (K) or null */
    float *y;            /* (B, H, W, K) */
    int64_t relu;
} Conv;

/* ---- threads ---- */

typedef struct {
    void (*task)(const void *, int64_t index, int64_t worker);
    const void *what;
    int64_t tasks;
    atomic_llong next, workers;
} Team;

static void work(void *shared) {
    Team *team = shared;
    int64_t worker = atomic_fetch_add(&team->workers, 1), i;
    while ((i = atomic_fetch_add(&team->next, 1)) < team->tasks) team->task(team->what, i, worker);
}

static void share(Parallel parallel, int64_t threads, void (*task)(const void *, int64_t, int64_t),
                  const void *what, int64_t tasks) {
    Team team = {.task = task, .what = what, .tasks = tasks};
    int64_t n = threads < tasks ? threads : tasks;
    if (parallel && n > 1) parallel(work, &team, (unsigned)n, 0);
    else work(&team);
}

/* ---- memory that calls leave to those after them: fresh pages cost as much as the arithmetic ---- */

#define KEPT 16
static _Atomic(void *) kept[KEPT];

typedef struct {
    int64_t floats;
    char line[56];
} Head;

static void let_go(float *memory) {
    void *head = (Head *)memory - 1;
    for (int i = 0; i < KEPT; i++) {
        void *none = NULL;
        if (atomic_compare_exchange_strong(&kept[i], &none, head)) return;
    }
    free(head);
}

static float *take(int64_t floats) {
    for (int i = 0; i < KEPT; i++) {
        Head *head = atomic_exchange(&kept[i], NULL);
        if (!head) continue;
        if (head->floats >= floats) return (float *)(head + 1);
        free(head);
    }
    size_t bytes = (size_t)floats * sizeof(float) + sizeof(Head);
    bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    Head *head = aligned_alloc(HUGE_PAGE, bytes);
    if (!head) return NULL;
#if defined(__linux__)
    madvise(head, bytes, MADV_HUGEPAGE);
#endif
    head->floats = floats;
    return (float *)(head + 1);
}

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
    Packed p = {.depth = (channels + LANES - 1) / LANES * LANES, .panels = (outs + NR - 1) / NR};
    p.panel = p.depth * NR;
    p.place = p.panels * p.panel + PAD;
    return p;
}

int64_t sceneparse_conv3x3_packed(int64_t channels, int64_t outs) {
    return PLACES * packed_of(channels, outs).place;
}

typedef struct {
    Parallel parallel;
    int64_t threads;
    int64_t channels, outs; /* of the convolution that it is packed for */
    const float *weight;    /* (K, C, 3, 3); turned: (C, K, 3, 3), for the gradient of the input */
    int64_t turned;
    float *packed;
} Pack;

#define PACK_ROWS 32 /* input channels of a task */

static void pack_part(const void *what, int64_t index, int64_t worker) {
    (void)worker;
    const Pack *job = what;
    Packed p = packed_of(job->channels, job->outs);
    int64_t parts = (p.depth + PACK_ROWS - 1) / PACK_ROWS, panel = index / parts;
    int64_t begin = index % parts * PACK_ROWS, end = begin + PACK_ROWS;
    if (end > p.depth) end = p.depth;
    int64_t by_k = job->turned ? 9 : job->channels * 9, by_c = job->turned ? job->outs * 9 : 9;
    int64_t lanes = job->outs - panel * NR < NR ? job->outs - panel * NR : NR;
    float taps[9][NR] = {{0}};
    for (int64_t c = begin; c < end; c++) {
        if (c >= job->channels) memset(taps, 0, sizeof taps);
        const float *from = job->weight + panel * NR * by_k + c * by_c;
        for (int64_t k = 0; k < lanes && c < job->channels; k++)
            for (int i = 0; i < 9; i++) taps[job->turned ? 8 - i : i][k] = from[k * by_k + i];
        float *to = job->packed + panel * p.panel + c * NR;
        for (int v = 0; v < NR; v += LANES) {
            vec half[3][6];
            for (int x = 0; x < 3; x++) {
                vec column[6];
                weight_at(column, load(taps[x] + v), load(taps[3 + x] + v), load(taps[6 + x] + v));
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
    share(job->parallel, job->threads, pack_part, job, p.panels * ((p.depth + PACK_ROWS - 1) / PACK_ROWS));
}

/* ---- a block of tiles ---- */

typedef struct {
    const Conv *job;
    Packed weights;
    int64_t first, tiles, groups;
    float *v;                 /* [36][group][C / LANES][MR][LANES] */
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

/* 36 vectors, d(y, x) = *(from[6 * y + x]), to their values at the places. */
#define INPUT_TILE(d)                                                                         \
    do {                                                                                      \
        vec half[6][6];                                                                       \
        for (int x = 0; x < 6; x++) {                                                         \
            vec column[6];                                                                    \
            input_at(column, d(0, x), d(1, x), d(2, x), d(3, x), d(4, x), d(5, x));           \
            for (int y = 0; y < 6; y++) half[y][x] = column[y];                               \
        }                                                                                     \
        for (int y = 0; y < 6; y++) {                                                         \
            vec row[6], *h = half[y];                                                         \
            input_at(row, h[0], h[1], h[2], h[3], h[4], h[5]);                                \
            for (int x = 0; x < 6; x++) store(to + (6 * y + x) * place, row[x]);              \
        }                                                                                     \
    } while (0)

static void input_inside(const float *from, int64_t by_y, int64_t by_x, float *to, int64_t place) {
#define D(y, x) load(from + (y) * by_y + (x) * by_x)
    INPUT_TILE(D);
#undef D
}

static void input_border(const float *const *from, int64_t c, float *to, int64_t place) {
#define D(y, x) load(from[6 * (y) + (x)] + c)
    INPUT_TILE(D);
#undef D
}

static void input_tail(const float *const *from, int64_t c, int64_t lanes, float *to, int64_t place) {
    float whole[PLACES][LANES] = {{0}};
    for (int i = 0; i < PLACES; i++) memcpy(whole[i], from[i] + c, sizeof(float) * (size_t)lanes);
#define D(y, x) load(whole[6 * (y) + (x)])
    INPUT_TILE(D);
#undef D
}

/* Tiles of a group to V. */
static void block_input(const Block *block, int64_t group) {
    const Conv *job = block->job;
    const float *from[MR][PLACES];
    int inside[MR];
    int64_t begin = group_begin(block, group), rows = group_begin(block, group + 1) - begin;
    for (int64_t r = 0; r < rows; r++) {
        Tile tile = tile_at(job, block->first + begin + r);
        const float *image = job->x + tile.b * job->height * job->width * job->channels;
        inside[r] = tile.y > 0 && tile.x > 0 && tile.y + 5 <= job->height && tile.x + 5 <= job->width;
        for (int i = 0; i < PLACES; i++) {
            int64_t y = tile.y - 1 + i / 6, x = tile.x - 1 + i % 6;
            int there = y >= 0 && x >= 0 && y < job->height && x < job->width;
            from[r][i] = there ? image + (y * job->width + x) * job->channels : block->zeros;
        }
    }
    int64_t place = block->v_place, channels = job->channels;
    for (int64_t c = 0; c < channels; c += LANES) {
        for (int64_t r = 0; r < rows; r++) {
            float *to = block->v + group * block->v_group + c * MR + r * LANES;
            if (c + LANES > channels) input_tail(from[r], c, channels - c, to, place);
            else if (inside[r]) input_inside(from[r][0] + c, job->width * channels, channels, to, place);
            else input_border(from[r], c, to, place);
        }
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
    for (int64_t c = 0; c < depth; c += LANES, a += MR * LANES, b += NR * LANES) {
        for (int64_t i = 0; i < lines; i++, ahead += 16) __builtin_prefetch(ahead, 0, 2);
#pragma GCC unroll 16
        for (int j = 0; j < LANES; j++) {
            vec w[NV];
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) w[v] = load(b + j * NR + v * LANES);
#pragma GCC unroll 16
            for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++) sum[r][v] += a[r * LANES + j] * w[v];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) store(m + r * NR + v * LANES, sum[r][v]);
}

#define ROWS(n)                                                                               \
    static __attribute__((noinline)) void product_##n(const float *a, const float *b, int64_t depth, float *m, \
                                                      const float *ahead, int64_t lines) {    \
        product(n, a, b, depth, m, ahead, lines);                                             \
    }
ROWS(1) ROWS(2) ROWS(3) ROWS(4) ROWS(5) ROWS(6)
#if MR == 14
ROWS(7) ROWS(8) ROWS(9) ROWS(10) ROWS(11) ROWS(12) ROWS(13) ROWS(14)
#endif
#undef ROWS

typedef void (*Product)(const float *, const float *, int64_t, float *, const float *, int64_t);

static const Product products[] = {NULL, product_1, product_2, product_3, product_4, product_5, product_6,
#if MR == 14
                                   product_7, product_8, product_9, product_10, product_11, product_12,
                                   product_13, product_14,
#endif
};

/* Panels of one place to M. */
static void block_multiply(const Block *block, int64_t place, int64_t begin, int64_t end) {
    Packed w = block->weights;
    /* The lines of a panel, over the groups and the vectors of channels that are there to fetch them. */
    int64_t lines = (LANES * NR / 16 + block->groups - 1) / block->groups, per_group = lines * w.depth / LANES;
    for (int64_t p = begin; p < end; p++) {
        const float *u = block->job->packed + place * w.place + p * w.panel;
        for (int64_t g = 0; g < block->groups; g++)
            products[group_begin(block, g + 1) - group_begin(block, g)](
                block->v + place * block->v_place + g * block->v_group, u, w.depth,
                block->m + place * block->m_place + g * block->m_group + p * NR * MR,
                u + w.panel + g * per_group * 16, lines);
    }
}

static void output_tile(const float *from, int64_t place, vec bias, int relu, vec out[4][4]) {
    vec half[4][6];
    for (int x = 0; x < 6; x++) {
        vec column[4];
        const float *m = from + x * place;
        output_from(column, load(m), load(m + 6 * place), load(m + 12 * place), load(m + 18 * place),
                    load(m + 24 * place), load(m + 30 * place));
        for (int y = 0; y < 4; y++) half[y][x] = column[y];
    }
    for (int y = 0; y < 4; y++) {
        vec *h = half[y];
        output_from(out[y], h[0], h[1], h[2], h[3], h[4], h[5]);
        for (int x = 0; x < 4; x++) {
            out[y][x] += bias;
            if (relu) out[y][x] = larger((vec){}, out[y][x]); /* NaN stays */
        }
    }
}

/* M of a group to the output. */
static void block_output(const Block *block, int64_t group) {
    const Conv *job = block->job;
    int64_t begin = group_begin(block, group), rows = group_begin(block, group + 1) - begin;
    for (int64_t r = 0; r < rows; r++) {
        Tile tile = tile_at(job, block->first + begin + r);
        int64_t high = job->height - tile.y, wide = job->width - tile.x, k_end = job->outs;
        high = high < 4 ? high : 4, wide = wide < 4 ? wide : 4;
        float *to = job->y + ((tile.b * job->height + tile.y) * job->width + tile.x) * k_end;
        const float *from = block->m + group * block->m_group + r * NR;
        for (int64_t k = 0; k < k_end; k += LANES) {
            int64_t lanes = k_end - k < LANES ? k_end - k : LANES;
            vec out[4][4], bias = {};
            if (job->bias) memcpy(&bias, job->bias + k, sizeof(float) * (size_t)lanes);
            output_tile(from + k / NR * NR * MR + k % NR, block->m_place, bias, job->relu != 0, out);
            for (int64_t y = 0; y < high; y++)
                for (int64_t x = 0; x < wide; x++) {
                    float *at = to + (y * job->width + x) * k_end + k;
                    if (lanes == LANES) store(at, out[y][x]);
                    else memcpy(at, &out[y][x], sizeof(float) * (size_t)lanes);
                }
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

static int64_t parts_of(const Block *block) {
    int64_t parts = (4 * block->job->threads + PLACES - 1) / PLACES; /* four tasks for each thread */
    return parts < block->weights.panels ? parts : block->weights.panels;
}

static void multiply_task(const void *what, int64_t index, int64_t worker) {
    (void)worker;
    const Block *block = what;
    int64_t parts = parts_of(block), part = index % parts, panels = block->weights.panels;
    block_multiply(block, index / parts, panels * part / parts, panels * (part + 1) / parts);
}

#ifndef SMALL_TILES
#define SMALL_TILES 48
#endif
#ifndef LARGE_TILES
#define LARGE_TILES 128
#endif

int sceneparse_conv3x3(const Conv *job) {
    int64_t tiles = count_tiles(job), threads = job->parallel ? job->threads : 1;
    /* Where U is large, it must serve many tiles each time that it comes from memory. */
    int large = job->channels * job->outs > 256 * 256;
    int64_t most = large ? LARGE_TILES : SMALL_TILES, blocks = (tiles + most - 1) / most;
    int together = threads > 1 && (large || blocks < 2 * threads);
    int64_t floats = (block_floats(job, (tiles + blocks - 1) / blocks) + PAD - 1) / PAD * PAD;
    float *memory = take(floats * (together ? 1 : threads));
    if (!memory) return NO_MEMORY;
    Blocks all = {job, blocks, tiles, memory, floats};
    if (!together) share(job->parallel, threads, whole_block, &all, blocks);
    for (int64_t i = 0; i < blocks && together; i++) {
        int64_t first = tiles * i / blocks, end = tiles * (i + 1) / blocks;
        Block block = make_block(job, memory, first, end - first);
        share(job->parallel, threads, input_task, &block, block.groups);
        share(job->parallel, threads, multiply_task, &block, PLACES * parts_of(&block));
        share(job->parallel, threads, output_task, &block, block.groups);
    }
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
    Pack pack = {.channels = C, .outs = K, .weight = &weight[0][0][0][0], .packed = packed};
    sceneparse_conv3x3_pack(&pack);
    Conv conv = {.batch = 1, .channels = C, .outs = K, .height = H, .width = W, .x = &x[0][0][0],
                 .packed = packed, .y = &y[0][0][0]};
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
