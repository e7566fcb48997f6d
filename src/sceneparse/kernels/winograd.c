/* 3x3 convolution by Winograd's minimal filtering, and its weights laid out for it. */

#include "winograd.h"

typedef struct {
    Sizes size;
    const float *x;      /* (B, H, W, C) */
    const float *packed; /* by sceneparse_conv3x3_pack; null: pack says how */
    const struct Pack *pack;
    const float *bias; /* (K) or null */
    float *y;          /* (B, H, W, K) */
    int64_t relu;
} Conv;

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

/* ---- weights ---- */

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

/* First tile of a group; groups are as even as can be: a block of one row costs as much as one of four. */
static int64_t group_begin(const Block *block, int64_t group) { return block->tiles * group / block->groups; }

static int64_t block_floats(const Conv *job, int64_t tiles) {
    Packed p = packed_of(job->size.channels, job->size.outs);
    int64_t groups = (tiles + MR - 1) / MR;
    return p.depth + PLACES * (groups * MR * (p.depth + p.panels * NR) + 2 * PAD);
}

static Block make_block(const Conv *job, float *memory, int64_t first, int64_t tiles) {
    Block block = {.job = job, .weights = packed_of(job->size.channels, job->size.outs), .first = first,
                   .tiles = tiles, .groups = (tiles + MR - 1) / MR, .zeros = memory};
    block.v_group = block.weights.depth * MR;
    block.v_place = block.groups * block.v_group + PAD;
    block.m_group = block.weights.panels * NR * MR;
    block.m_place = block.groups * block.m_group + PAD;
    block.m = memory + block.weights.depth;
    block.v = block.m + PLACES * block.m_place;
    memset(memory, 0, sizeof(float) * (size_t)block.weights.depth);
    return block;
}

/* Tiles of a group to V. */
static void block_input(const Block *block, int64_t group) {
    const Conv *job = block->job;
    const float *from[MR][PLACES];
    int64_t begin = group_begin(block, group), rows = group_begin(block, group + 1) - begin;
    int64_t channels = job->size.channels;
    for (int64_t r = 0; r < rows; r++) {
        Tile tile = tile_at(&job->size, block->first + begin + r);
        find_pixels(from[r], job->x, &job->size, tile, channels, -1, 6, block->zeros);
    }
    for (int64_t deep = 0; deep < block->weights.depth; deep += DEEP)
        for (int64_t r = 0; r < rows; r++) {
            float *to = block->v + group * block->v_group + deep * MR + r * DEEP;
            for (int64_t c = 0; c < DEEP; c += LANES)
                input_tile(from[r], deep + c, channels, to + c, block->v_place);
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
        Tile tile = tile_at(&job->size, block->first + begin + r);
        int64_t high = job->size.height - tile.y, wide = job->size.width - tile.x, k_end = job->size.outs;
        high = high < 4 ? high : 4, wide = wide < 4 ? wide : 4;
        float *to = job->y + ((tile.b * job->size.height + tile.y) * job->size.width + tile.x) * k_end;
        const float *from = block->m + group * block->m_group + r * NR;
        for (int64_t k = 0; k < k_end; k += LANES) {
            int64_t lanes = k_end - k < LANES ? k_end - k : LANES;
            vec bias = {};
            if (job->bias && lanes == LANES) bias = load(job->bias + k);
            else for (int64_t i = 0; job->bias && i < lanes; i++) bias[i] = job->bias[k + i];
            const float *m = from + k / NR * NR * MR + k % NR;
            if (high == 4 && wide == 4 && lanes == LANES) {
                output_tile(m, block->m_place, bias, relu, to + k, job->size.width * k_end, k_end);
                continue;
            }
            float whole[4][4][LANES];
            output_tile(m, block->m_place, bias, relu, whole[0][0], 4 * LANES, LANES);
            for (int64_t y = 0; y < high; y++)
                for (int64_t x = 0; x < wide; x++)
                    memcpy(to + (y * job->size.width + x) * k_end + k, whole[y][x],
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

static void multiply_task(const void *what, int64_t index, int64_t worker) {
    (void)worker;
    const Block *block = what;
    int64_t panels = block->weights.panels, parts = parts_of(block->job->size.threads, panels);
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
    int64_t tiles = count_tiles(&job->size), threads = job->size.threads;
    int large = job->size.channels * job->size.outs > 256 * 256;
    int64_t most = most_tiles(job->size.channels * job->size.outs), blocks = (tiles + most - 1) / most;
    int together = threads > 1 && (large || blocks < 2 * threads);
    int64_t floats = (block_floats(job, (tiles + blocks - 1) / blocks) + PAD - 1) / PAD * PAD;
    int64_t own = job->packed ? 0 : sceneparse_conv3x3_packed(job->size.channels, job->size.outs);
    float *memory = take(own + floats * (together ? 1 : threads)), *of_blocks = memory + own;
    if (!memory) return NO_MEMORY;
    if (own) {
        Pack pack = *job->pack;
        with_packed.packed = pack.packed = memory;
        sceneparse_conv3x3_pack(&pack);
    }
    int64_t pixels = job->size.batch * job->size.height * job->size.width;
    large_pages(job->y, sizeof(float) * (size_t)(pixels * job->size.outs));
    Blocks all = {job, blocks, tiles, of_blocks, floats};
    if (!together) share(job->size.parallel, threads, whole_block, &all, blocks);
    for (int64_t i = 0; i < blocks && together; i++) {
        int64_t first = tiles * i / blocks, end = tiles * (i + 1) / blocks;
        Block block = make_block(job, of_blocks, first, end - first);
        share(job->size.parallel, threads, input_task, &block, block.groups);
        int64_t parts = parts_of(threads, block.weights.panels);
        share(job->size.parallel, threads, multiply_task, &block, PLACES * parts);
        share(job->size.parallel, threads, output_task, &block, block.groups);
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
    Pack pack = {.threads = 1, .channels = C, .outs = K, .weight = &weight[0][0][0][0], .by_k = C * 9,
                 .by_c = 9, .by_y = 3, .by_x = 1, .packed = packed};
    sceneparse_conv3x3_pack(&pack);
    Conv conv = {.size = {NULL, 2, 1, C, K, H, W}, .x = &x[0][0][0], .packed = packed, .y = &y[0][0][0]};
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
