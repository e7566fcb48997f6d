/* Cross-entropy and arg-max of scores upsampled by a learned transposed convolution, without the upsampled
   scores.

   Stride f, kernel 2f: every output pixel is made from 2x2 scores, and all pixels at the same place (phase)
   of their f x f cell by the same weights. So for a phase, the logits of the cells are a 2x2 convolution of
   the scores. Nine cells (a tile) are made together by minimal filtering (Winograd; Lavin and Gray 2016; here
   F(3x3, 2x2) with the points 0, 1, -1 and infinity): 16 products in place of 36, and as many in each
   gradient.

   C channels, K classes; a group is some phases side by side, a plane one of the 16 points. One call does
   some of the groups with all tiles; calls do not share memory that they write, and the kernel's gradient is
   theirs alone, so any number of threads gives the same bits. */

#include "exponential.h"
#include "products.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#define POINTS 16
#define CELLS 9
#define BLOCK 132    /* tiles whose logits are kept at a time */
#define ROWS 12      /* of a matrix product, at full speed */
#define LINE 64      /* bytes */
#define LEAST -3e38f /* below every logit */

enum { FINE = 0, NO_MEMORY = 1, NOT_FINITE = 2 };

typedef struct {
    const float *tiles;    /* (16, N, deep): scores at the 16 points, 0 beyond C */
    const int32_t *places; /* (N, 3): image, row and column of the first cell */
    const float *kernel;   /* (C, K, 2f, 2f); apart: (1, K, 2f, 2f), C = 1 and tiles of K */
    int64_t n_tiles, channels, classes, deep, wide;
    int64_t factor, phases; /* f, phases of a group */
    int64_t apart;          /* every class is upsampled by itself; groups are of one phase */
    int64_t parts, offset, height, width;
    void *labels;           /* (B, H, W): int32, -1 where they do not count; written by the arg-max */
    int64_t label_bytes;    /* of the arg-max */
    const float *weights;   /* (K) of the classes */
    const float *spread;    /* (K up to whole vectors) what smoothing takes from every pixel, or null */
    float own, share;       /* 1 - smoothing; sum of spread */
    float *tiles_grad;      /* (parts, 16, N, deep), or null */
    float *kernel_grad;     /* like kernel, added to; or null */
    double *sums;           /* (parts): loss */
} Upsampled;

typedef struct {
    float *weights;  /* (groups, 2, 2, C, wide): the part's, lower right first; in the end their gradient */
    float *forward;  /* (16, C, wide): those of a group at the points */
    float *backward; /* (16, wide, deep): the same turned */
    float *change;   /* (16, C, wide): their gradient */
    float *logits;   /* (16, BLOCK, wide) at the points, then their gradient */
    float *cells;    /* (9, K up to whole vectors): of one tile and phase */
    float *turned;   /* (2, 2, wide, deep) */
    double sum;
    vec wrong; /* not 0 where a logit is not finite */
    void *memory;
} Work;

static int make_work(Work *s, const Upsampled *job, int64_t groups) {
    int64_t line = LINE / (int64_t)sizeof(float), weights = job->channels * job->wide;
    int64_t turned = job->apart ? 0 : job->wide * job->deep, cells = CELLS * (whole(job->classes) + line);
    int64_t logits = POINTS * BLOCK * job->wide;
    int64_t floats = (2 * POINTS + 4 * groups) * weights + logits + cells + (POINTS + 4) * turned + line;
    memset(s, 0, sizeof *s);
    s->memory = malloc(sizeof(float) * (size_t)floats);
    if (!s->memory) return NO_MEMORY;
    s->weights = (float *)(((uintptr_t)s->memory + LINE - 1) / LINE * LINE);
    s->forward = s->weights + 4 * groups * weights;
    s->change = s->forward + POINTS * weights;
    s->logits = s->change + POINTS * weights;
    s->backward = s->logits + logits;
    s->turned = s->backward + POINTS * turned;
    s->cells = s->turned + 4 * turned;
    return FINE;
}

/* ---- to the points and back ---- */

/* Weights (2, 2, rows, row) to the points, by strips of columns (16, strips, rows, columns of a strip). */
static void kernel_to_points(float *out, const float *in, int64_t rows, int64_t row, int64_t columns) {
    int64_t corner = rows * row, plane = rows * whole(columns);
    int vecs;
    for (int64_t j = 0, left = whole(columns) / LANES; left > 0; left -= vecs, j += vecs * LANES) {
        vecs = strip_of(left);
        for (int64_t i = 0; i < rows; i++) {
            for (int v = 0; v < vecs; v++) {
                const float *from = in + i * row + j + v * LANES;
                float *to = out + j * rows + (i * vecs + v) * LANES;
                vec half[2][4];
                for (int y = 0; y < 2; y++) {
                    vec a = load(from + 2 * y * corner), b = load(from + (2 * y + 1) * corner);
                    half[y][0] = a, half[y][1] = 0.5f * (a + b), half[y][2] = 0.5f * (a - b), half[y][3] = b;
                }
                for (int x = 0; x < 4; x++) {
                    vec a = half[0][x], b = half[1][x];
                    store(to + x * plane, a);
                    store(to + (4 + x) * plane, 0.5f * (a + b));
                    store(to + (8 + x) * plane, 0.5f * (a - b));
                    store(to + (12 + x) * plane, b);
                }
            }
        }
    }
}

/* The way back of kernel_to_points for gradients (16, size) to (2, 2, size). */
static void points_to_kernel(float *out, const float *in, int64_t size) {
    for (int64_t i = 0; i < size; i += LANES) {
        vec half[2][4];
        for (int x = 0; x < 4; x++) {
            vec b = load(in + (4 + x) * size + i), c = load(in + (8 + x) * size + i);
            half[0][x] = load(in + x * size + i) + 0.5f * (b + c);
            half[1][x] = load(in + (12 + x) * size + i) + 0.5f * (b - c);
        }
        for (int y = 0; y < 2; y++) {
            vec *m = half[y];
            float *to = out + 2 * y * size + i;
            store(to, m[0] + 0.5f * (m[1] + m[2]));
            store(to + size, m[3] + 0.5f * (m[1] - m[2]));
        }
    }
}

INLINE void four_to_three(vec *out, vec a, vec b, vec c, vec d) {
    vec both = b + c;
    out[0] = a + both, out[1] = b - c, out[2] = both + d;
}

/* Logits of the nine cells of a tile, for a phase, from those at the points; what is not finite shows. */
static void to_cells(float *cells, const float *points, int64_t plane, int64_t classes, vec *wrong) {
    int64_t row = whole(classes);
    for (int64_t k = 0; k < classes; k += LANES) {
        vec half[4][3], out[3];
        for (int y = 0; y < 4; y++) {
            const float *p = points + 4 * y * plane + k;
            four_to_three(half[y], load(p), load(p + plane), load(p + 2 * plane), load(p + 3 * plane));
        }
        for (int x = 0; x < 3; x++) {
            four_to_three(out, half[0][x], half[1][x], half[2][x], half[3][x]);
            for (int y = 0; y < 3; y++) store(cells + (3 * y + x) * row + k, out[y]);
        }
    }
    for (int i = 0; i < CELLS; i++) {
        for (int64_t k = classes; k < row; k++) cells[i * row + k] = LEAST;
        for (int64_t k = 0; k < row; k += LANES) *wrong += 0.0f * load(cells + i * row + k);
    }
}

INLINE void three_to_four(vec *out, vec a, vec b, vec c) {
    vec both = a + c;
    out[0] = a, out[1] = both + b, out[2] = both - b, out[3] = c;
}

/* The way back of to_cells for gradients; classes that follow belong to the next phase and are left alone. */
static void from_cells(float *points, const float *cells, int64_t plane, int64_t classes) {
    int64_t row = whole(classes);
    for (int64_t k = 0; k < classes; k += LANES) {
        vec half[3][4], out[4];
        for (int y = 0; y < 3; y++) {
            const float *p = cells + 3 * y * row + k;
            three_to_four(half[y], load(p), load(p + row), load(p + 2 * row));
        }
        for (int x = 0; x < 4; x++) {
            three_to_four(out, half[0][x], half[1][x], half[2][x]);
            for (int y = 0; y < 4; y++) {
                float *to = points + (4 * y + x) * plane + k;
                if (k + LANES <= classes) store(to, out[y]);
                else memcpy(to, &out[y], sizeof(float) * (size_t)(classes - k));
            }
        }
    }
}

/* ---- one pixel ---- */

/* Loss of a pixel; its logits become their gradient. */
static float pixel_loss(float *logits, const Upsampled *job, int32_t label) {
    int64_t row = whole(job->classes);
    if (label < 0) {
        memset(logits, 0, sizeof(float) * (size_t)row);
        return 0;
    }
    vec most = load(logits), z = splat(0), mean = splat(0);
    for (int64_t k = LANES; k < row; k += LANES) most = larger(most, load(logits + k));
    float top = max_of(most), chosen = logits[label] - top;
    for (int64_t k = 0; k < row; k += LANES) {
        vec below = load(logits + k) - top, e = exp_of(below);
        if (job->spread) mean += load(job->spread + k) * below;
        store(logits + k, e);
        z += e;
    }
    float own = job->own * job->weights[label], all = sum_of(z), log_z = log_of(splat(all))[0];
    float loss = own * (log_z - chosen), scale = (own + job->share) / all;
    if (job->spread) {
        loss += job->share * log_z - sum_of(mean);
        for (int64_t k = 0; k < row; k += LANES)
            store(logits + k, load(logits + k) * scale - load(job->spread + k));
    } else {
        for (int64_t k = 0; k < row; k += LANES) store(logits + k, load(logits + k) * scale);
    }
    logits[label] -= own;
    return loss;
}

static int32_t best_of(const float *logits, int64_t row) {
    vec most = load(logits);
    for (int64_t k = LANES; k < row; k += LANES) most = larger(most, load(logits + k));
    float top = max_of(most);
    int32_t k = 0;
    while (logits[k] != top) k++;
    return k;
}

/* Where the pixel of a cell of a tile lies among the labels; -1: outside. */
static int64_t place_of(const Upsampled *job, const int32_t *place, int64_t phase, int cell) {
    int64_t y = (place[1] + cell / 3) * job->factor + phase / job->factor - job->offset;
    int64_t x = (place[2] + cell % 3) * job->factor + phase % job->factor - job->offset;
    if (y < 0 || y >= job->height || x < 0 || x >= job->width) return -1;
    return (place[0] * job->height + y) * job->width + x;
}

/* ---- groups ---- */

static void loss_of_tile(const Upsampled *job, Work *s, float *points, int64_t plane, const int32_t *place,
                         int64_t phase) {
    int64_t row = whole(job->classes);
    float loss = 0;
    to_cells(s->cells, points, plane, job->classes, &s->wrong);
    for (int i = 0; i < CELLS; i++) {
        int64_t at = place_of(job, place, phase, i);
        loss += pixel_loss(s->cells + i * row, job, at < 0 ? -1 : ((const int32_t *)job->labels)[at]);
    }
    s->sum += loss;
    if (job->tiles_grad || job->kernel_grad) from_cells(points, s->cells, plane, job->classes);
}

static void labels_of_tile(const Upsampled *job, Work *s, float *points, int64_t plane, const int32_t *place,
                           int64_t phase) {
    int64_t row = whole(job->classes);
    to_cells(s->cells, points, plane, job->classes, &s->wrong);
    for (int i = 0; i < CELLS; i++) {
        int64_t at = place_of(job, place, phase, i);
        if (at < 0) continue;
        int32_t best = best_of(s->cells + i * row, row);
        if (job->label_bytes == 1) ((uint8_t *)job->labels)[at] = (uint8_t)best;
        else ((int32_t *)job->labels)[at] = best;
    }
}

typedef void (*TileTask)(const Upsampled *, Work *, float *, int64_t, const int32_t *, int64_t);

/* Some tiles of one part. */
typedef struct {
    int64_t first, n;
    const float *tiles; /* the first, at the first point */
    float *tiles_grad;
} Block;

/* Logits of a block at a point. */
static void forward_at(const Upsampled *job, Work *s, const Block *b, int p) {
    int64_t columns = job->phases * job->classes;
    const float *tiles = b->tiles + p * job->n_tiles * job->deep;
    float *logits = s->logits + p * b->n * job->wide;
    if (!job->apart) {
        const float *weights = s->forward + p * job->channels * whole(columns);
        product(logits, job->wide, tiles, job->deep, weights, b->n, job->channels, columns);
        return;
    }
    const float *weights = s->forward + p * whole(columns);
    for (int64_t t = 0; t < b->n; t++)
        for (int64_t k = 0; k < columns; k += LANES)
            store(logits + t * job->wide + k, load(tiles + t * job->deep + k) * load(weights + k));
}

/* What the gradient of the logits of a block at a point adds to those of weights and tiles. */
static void backward_at(const Upsampled *job, Work *s, const Block *b, int p) {
    int64_t columns = job->phases * job->classes;
    const float *tiles = b->tiles + p * job->n_tiles * job->deep, *logits = s->logits + p * b->n * job->wide;
    float *grad = job->tiles_grad ? b->tiles_grad + p * job->n_tiles * job->deep : NULL;
    float *change = s->change + p * job->channels * job->wide;
    if (!job->apart) {
        const float *weights = s->backward + p * columns * whole(job->channels);
        if (job->kernel_grad)
            add_turned_product(change, job->wide, tiles, job->deep, logits, job->wide, job->channels, b->n,
                               columns);
        if (grad) add_product(grad, job->deep, logits, job->wide, weights, b->n, columns, job->channels);
        return;
    }
    const float *weights = s->forward + p * whole(columns);
    for (int64_t t = 0; t < b->n; t++)
        for (int64_t k = 0; k < columns; k += LANES) {
            vec one = load(logits + t * job->wide + k);
            if (job->kernel_grad) store(change + k, load(change + k) + one * load(tiles + t * job->deep + k));
            if (!grad) continue;
            float *to = grad + t * job->deep + k;
            store(to, load(to) + one * load(weights + k));
        }
}

/* Logits of a block, what is wanted of them, and their part in the gradients. */
static void do_block(const Upsampled *job, Work *s, TileTask task, int64_t group, const Block *b) {
    for (int p = 0; p < POINTS; p++) forward_at(job, s, b, p);
    for (int64_t t = 0; t < b->n; t++)
        for (int64_t i = 0; i < job->phases; i++)
            task(job, s, s->logits + t * job->wide + i * job->classes, b->n * job->wide,
                 job->places + 3 * (b->first + t), group * job->phases + i);
    for (int p = 0; p < POINTS; p++) backward_at(job, s, b, p);
}

/* Between the kernel and the weights (groups, 2, 2, C, wide) of the phases first .. last - 1: to the weights,
   or their gradient added to that of the kernel. */
INLINE void exchange_weights(const Upsampled *job, float *weights, int64_t first, int64_t last,
                             const int add) {
    int64_t f = job->factor, classes = job->classes, corner = job->channels * job->wide;
    for (int64_t c = 0; c < job->channels; c++)
        for (int64_t k = 0; k < classes; k += LANES) /* few: the lines that are read stay in the cache */
            for (int64_t phase = first; phase < last; phase++) {
                int64_t i = phase - first, group = i / job->phases;
                float *to = weights + 4 * group * corner + c * job->wide + i % job->phases * classes;
                int64_t from = (c * classes * 2 * f + f + phase / f) * 2 * f + f + phase % f;
                for (int64_t j = k; j < k + LANES && j < classes; j++) {
                    int64_t at = from + j * 4 * f * f;
                    int64_t places[4] = {at, at - f, at - 2 * f * f, at - 2 * f * f - f};
                    for (int n = 0; n < 4; n++) {
                        if (add) job->kernel_grad[places[n]] += to[n * corner + j];
                        else to[n * corner + j] = job->kernel[places[n]];
                    }
                }
            }
}

/* Weights (4, C, wide) turned to (4, columns, deep). */
static void turn(float *out, const float *in, const Upsampled *job, int64_t columns) {
    memset(out, 0, sizeof(float) * (size_t)(4 * columns * job->deep));
    for (int corner = 0; corner < 4; corner++) {
        const float *from = in + corner * job->channels * job->wide;
        float *to = out + corner * columns * job->deep;
        for (int64_t left = 0; left < columns; left += LANES)
            for (int64_t c = 0; c < job->channels; c++)
                for (int64_t k = left; k < left + LANES && k < columns; k++)
                    to[k * job->deep + c] = from[c * job->wide + k];
    }
}

static void do_group(const Upsampled *job, Work *s, TileTask task, int64_t part, int64_t group,
                     float *weights) {
    int64_t columns = job->phases * job->classes, size = job->channels * job->wide;
    int64_t blocks = (job->n_tiles + BLOCK - 1) / BLOCK;
    kernel_to_points(s->forward, weights, job->channels, job->wide, columns);
    if (job->tiles_grad && !job->apart) {
        turn(s->turned, weights, job, columns);
        kernel_to_points(s->backward, s->turned, columns, job->deep, job->channels);
    }
    if (job->kernel_grad) memset(s->change, 0, sizeof(float) * (size_t)(POINTS * size));
    int64_t each = ((job->n_tiles + blocks - 1) / blocks + ROWS - 1) / ROWS * ROWS;
    for (int64_t first = 0; first < job->n_tiles; first += each) {
        int64_t left = job->n_tiles - first;
        Block block = {.first = first, .n = left < each ? left : each};
        block.tiles = job->tiles + first * job->deep;
        if (job->tiles_grad)
            block.tiles_grad = job->tiles_grad + (part * POINTS * job->n_tiles + first) * job->deep;
        do_block(job, s, task, group, &block);
    }
    if (job->kernel_grad) points_to_kernel(weights, s->change, size);
}

static int do_part(const Upsampled *job, int64_t part, TileTask task) {
    int64_t groups = job->factor * job->factor / job->phases, size = 4 * job->channels * job->wide;
    int64_t first = part * groups / job->parts, last = (part + 1) * groups / job->parts;
    Work s;
    if (make_work(&s, job, last - first)) return NO_MEMORY;
#if defined(__SSE__)
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040); /* results below 1e-38 are 0: on some processors they cost 100 times more */
#endif
    int64_t grad = POINTS * job->n_tiles * job->deep;
    if (job->tiles_grad) memset(job->tiles_grad + part * grad, 0, sizeof(float) * (size_t)grad);
    memset(s.weights, 0, sizeof(float) * (size_t)(size * (last - first)));
    exchange_weights(job, s.weights, first * job->phases, last * job->phases, 0);
    for (int64_t g = first; g < last; g++) do_group(job, &s, task, part, g, s.weights + (g - first) * size);
    if (job->kernel_grad) exchange_weights(job, s.weights, first * job->phases, last * job->phases, 1);
#if defined(__SSE__)
    _mm_setcsr(mode);
#endif
    if (job->sums) job->sums[part] = s.sum;
    int status = sum_of(s.wrong) == 0 ? FINE : NOT_FINITE;
    free(s.memory);
    return status;
}

/* Loss of one part, and its gradients. */
int sceneparse_transposed_loss(const Upsampled *job, int64_t part) {
    return do_part(job, part, loss_of_tile);
}

/* Labels of one part. */
int sceneparse_transposed_labels(const Upsampled *job, int64_t part) {
    return do_part(job, part, labels_of_tile);
}
