/* Cross-entropy and arg-max of scores upsampled by a learned transposed convolution, without the upsampled
   scores.

   Stride f, kernel 2f: every output pixel is made from 2x2 scores, and all pixels at the same place (phase)
   of their f x f cell by the same weights. So for a phase, the logits of the cells are a 2x2 convolution of
   the scores. A square of cells (a tile) is made together by minimal filtering (filtering.h): 4x4, or 3x3
   where transposed3.c includes this file.

   The picture begins within a cell. Of the phases before that place it has the next cell first: each side
   has one or two intervals of phases with the same first cell, and a job is the phases of one interval of
   rows and one of columns. So the tiles of every phase begin at the border of the picture, and 28 cells of
   each are seven tiles of four.

   C channels, K classes; a group is some phases side by side, a plane one of the points. One call does some
   of the groups of a job with all tiles; calls do not share memory that they write, and the kernel's gradient
   is theirs alone, so any number of threads gives the same bits. */

#include "exponential.h"
#include "filtering.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#define BLOCK 132    /* tiles whose logits are kept at a time */
#define ROWS 12      /* of a matrix product, at full speed */
#define LINE 64      /* bytes */
#define LEAST -3e38f /* below every logit */

enum { FINE = 0, NO_MEMORY = 1, NOT_FINITE = 2 };

typedef struct {
    const float *scores;   /* (B, frame_h, frame_w, deep): one row and column of zeros first; 0 beyond C */
    const int32_t *places; /* (N, 3) tiles: image, row and column of the first cell, of those of the job */
    const float *kernel;   /* (C, K, 2f, 2f); apart: (1, K, 2f, 2f), C = 1 and scores of K */
    int64_t batch, frame_h, frame_w;
    int64_t n_tiles, at_once; /* N; tiles that are taken to the points at a time */
    int64_t channels, classes, deep, wide;
    int64_t factor;                         /* f */
    int64_t phases;                         /* of a group */
    int64_t first_y, first_x, high, across; /* the job's phases: first row and column, rows and columns */
    int64_t cell_y, cell_x;                 /* its first cell */
    int64_t apart;                          /* every class is upsampled by itself; groups are of one phase */
    int64_t parts, offset, height, width;   /* parts: calls for each job */
    void *labels;         /* (B, H, W): int32, -1 where they do not count; written by the arg-max */
    int64_t label_bytes;  /* of the arg-max */
    const float *weights; /* (K) of the classes */
    const float *spread;  /* (K up to whole vectors) what smoothing takes from every pixel, or null */
    float own, share;     /* 1 - smoothing; sum of spread */
    float *scores_grad;   /* (parts, B, frame_h, frame_w, deep), or null */
    float *kernel_grad;   /* like kernel, added to; or null */
    double *sums;         /* (parts): loss */
} Upsampled;

typedef struct {
    float *weights;    /* (groups, 2, 2, C, wide): the part's, lower right first; in the end their gradient */
    float *forward;    /* (POINTS, C, wide): those of a group at the points */
    float *backward;   /* (POINTS, wide, deep): the same turned */
    float *change;     /* (POINTS, C, wide): their gradient */
    float *logits;     /* (POINTS, BLOCK, wide) at the points, then their gradient */
    float *turned;     /* (2, 2, wide, deep) */
    float *tiles;      /* (POINTS, at_once, deep): scores at the points */
    float *tiles_grad; /* the same of their gradient */
    float *cells;      /* (CELLS, K up to whole vectors): of one tile and phase */
    double sum;
    vec wrong; /* not 0 where a logit is not finite */
    void *memory;
} Work;

static int make_work(Work *s, const Upsampled *job, int64_t groups) {
    int64_t line = LINE / (int64_t)sizeof(float), weights = job->channels * job->wide;
    int64_t most = job->n_tiles < job->at_once ? job->n_tiles : job->at_once;
    int64_t turned = job->apart || !job->scores_grad ? 0 : job->wide * job->deep;
    int64_t tiles = POINTS * most * job->deep;
    struct { float **start; int64_t floats; } parts[] = {
        {&s->weights, 4 * groups * weights}, {&s->forward, POINTS * weights},
        {&s->backward, POINTS * turned}, {&s->change, job->kernel_grad ? POINTS * weights : 0},
        {&s->logits, POINTS * BLOCK * job->wide + line}, {&s->turned, 4 * turned},
        {&s->tiles, tiles}, {&s->tiles_grad, job->scores_grad ? tiles : 0},
        {&s->cells, CELLS * (whole(job->classes) + line)}};
    int64_t floats = line, n = sizeof parts / sizeof *parts;
    memset(s, 0, sizeof *s);
    for (int64_t i = 0; i < n; i++) floats += (parts[i].floats + line - 1) / line * line;
    s->memory = malloc(sizeof(float) * (size_t)floats);
    if (!s->memory) return NO_MEMORY;
    float *next = (float *)(((uintptr_t)s->memory + LINE - 1) / LINE * LINE);
    for (int64_t i = 0; i < n; i++) {
        *parts[i].start = next;
        next += (parts[i].floats + line - 1) / line * line;
    }
    return FINE;
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
    int64_t row = job->cell_y + place[1] + cell / SIDE, column = job->cell_x + place[2] + cell % SIDE;
    int64_t y = row * job->factor + job->first_y + phase / job->across - job->offset;
    int64_t x = column * job->factor + job->first_x + phase % job->across - job->offset;
    if (y >= job->height || x >= job->width) return -1;
    return (place[0] * job->height + y) * job->width + x;
}

/* ---- groups ---- */

/* Logits of the cells of a tile, for a phase; what is not finite shows. */
static void find_cells(Work *s, const float *points, int64_t plane, int64_t classes) {
    int64_t row = whole(classes);
    tile_to_cells(s->cells, row, points, plane, classes);
    for (int i = 0; i < CELLS; i++) {
        for (int64_t k = classes; k < row; k++) s->cells[i * row + k] = LEAST;
        for (int64_t k = 0; k < row; k += LANES) s->wrong += 0.0f * load(s->cells + i * row + k);
    }
}

static void loss_of_tile(const Upsampled *job, Work *s, float *points, int64_t plane, const int32_t *place,
                         int64_t phase) {
    int64_t row = whole(job->classes);
    float loss = 0;
    find_cells(s, points, plane, job->classes);
    for (int i = 0; i < CELLS; i++) {
        int64_t at = place_of(job, place, phase, i);
        loss += pixel_loss(s->cells + i * row, job, at < 0 ? -1 : ((const int32_t *)job->labels)[at]);
    }
    s->sum += loss;
    if (job->scores_grad || job->kernel_grad) tile_from_cells(points, plane, s->cells, row, job->classes);
}

static void labels_of_tile(const Upsampled *job, Work *s, float *points, int64_t plane, const int32_t *place,
                           int64_t phase) {
    int64_t row = whole(job->classes);
    find_cells(s, points, plane, job->classes);
    for (int i = 0; i < CELLS; i++) {
        int64_t at = place_of(job, place, phase, i);
        if (at < 0) continue;
        int32_t best = best_of(s->cells + i * row, row);
        if (job->label_bytes == 1) ((uint8_t *)job->labels)[at] = (uint8_t)best;
        else ((int32_t *)job->labels)[at] = best;
    }
}

typedef void (*TileTask)(const Upsampled *, Work *, float *, int64_t, const int32_t *, int64_t);

/* Some of the tiles at the points. */
typedef struct {
    int64_t first, n;
    int64_t plane;         /* floats between two points of a tile */
    const int32_t *places; /* of the first tile */
} Block;

/* Logits of a block at a point. */
static void forward_at(const Upsampled *job, Work *s, const Block *b, int p) {
    int64_t columns = job->phases * job->classes;
    const float *tiles = s->tiles + p * b->plane + b->first * job->deep;
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
    int64_t at = p * b->plane + b->first * job->deep;
    const float *tiles = s->tiles + at, *logits = s->logits + p * b->n * job->wide;
    float *grad = job->scores_grad ? s->tiles_grad + at : NULL;
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
                 b->places + 3 * t, group * job->phases + i);
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
                int64_t y = f + job->first_y + phase / job->across;
                int64_t x = f + job->first_x + phase % job->across;
                int64_t from = (c * classes * 2 * f + y) * 2 * f + x;
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

/* A group of phases, with n tiles that are at the points. */
static void do_group(const Upsampled *job, Work *s, TileTask task, int64_t group, float *weights,
                     const int32_t *places, int64_t n) {
    int64_t columns = job->phases * job->classes, size = job->channels * job->wide;
    int64_t blocks = (n + BLOCK - 1) / BLOCK;
    kernel_to_points(s->forward, weights, job->channels, job->wide, columns);
    if (job->scores_grad && !job->apart) {
        turn(s->turned, weights, job, columns);
        kernel_to_points(s->backward, s->turned, columns, job->deep, job->channels);
    }
    if (job->kernel_grad) memset(s->change, 0, sizeof(float) * (size_t)(POINTS * size));
    int64_t each = ((n + blocks - 1) / blocks + ROWS - 1) / ROWS * ROWS;
    for (int64_t first = 0; first < n; first += each) {
        int64_t left = n - first;
        Block block = {first, left < each ? left : each, n * job->deep, places + 3 * first};
        do_block(job, s, task, group, &block);
    }
    if (job->kernel_grad) points_to_kernel(weights, s->change, size);
}

/* Where the scores of a tile begin. */
static int64_t start_of(const Upsampled *job, const int32_t *place) {
    int64_t y = job->cell_y + place[1], x = job->cell_x + place[2];
    return ((place[0] * job->frame_h + y) * job->frame_w + x) * job->deep;
}

/* The groups first .. last - 1 with n tiles; grad: of all scores, added to, or null. */
static void do_tiles(const Upsampled *job, Work *s, TileTask task, int64_t first, int64_t last,
                     const int32_t *places, int64_t n, float *grad) {
    int64_t size = 4 * job->channels * job->wide, plane = n * job->deep, row = job->frame_w * job->deep;
    memset(s->weights, 0, sizeof(float) * (size_t)(size * (last - first)));
    exchange_weights(job, s->weights, first * job->phases, last * job->phases, 0);
    for (int64_t t = 0; t < n; t++)
        tile_to_points(s->tiles + t * job->deep, plane, job->scores + start_of(job, places + 3 * t), row,
                       job->deep);
    if (grad) memset(s->tiles_grad, 0, sizeof(float) * (size_t)(POINTS * plane));
    for (int64_t g = first; g < last; g++)
        do_group(job, s, task, g, s->weights + (g - first) * size, places, n);
    for (int64_t t = 0; grad && t < n; t++)
        tile_from_points(grad + start_of(job, places + 3 * t), row, s->tiles_grad + t * job->deep, plane,
                         job->deep);
    if (job->kernel_grad) exchange_weights(job, s->weights, first * job->phases, last * job->phases, 1);
}

static int do_part(const Upsampled *job, int64_t part, TileTask task) {
    int64_t groups = job->high * job->across / job->phases;
    int64_t first = part * groups / job->parts, last = (part + 1) * groups / job->parts;
    Work s;
    if (make_work(&s, job, last - first)) return NO_MEMORY;
#if defined(__SSE__)
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040); /* results below 1e-38 are 0: on some processors they cost 100 times more */
#endif
    int64_t size = job->batch * job->frame_h * job->frame_w * job->deep;
    float *grad = job->scores_grad ? job->scores_grad + part * size : NULL;
    if (grad) memset(grad, 0, sizeof(float) * (size_t)size);
    for (int64_t t = 0; first < last && t < job->n_tiles; t += job->at_once) {
        int64_t n = job->n_tiles - t < job->at_once ? job->n_tiles - t : job->at_once;
        do_tiles(job, &s, task, first, last, job->places + 3 * t, n, grad);
    }
#if defined(__SSE__)
    _mm_setcsr(mode);
#endif
    if (job->sums) job->sums[part] = s.sum;
    int status = sum_of(s.wrong) == 0 ? FINE : NOT_FINITE;
    free(s.memory);
    return status;
}

#define NAME_OF(what, side) sceneparse_transposed_##what##_##side
#define NAME(what, side) NAME_OF(what, side)

/* Loss of one part of one of several jobs with equally many, and its gradients. */
int NAME(loss, SIDE)(const Upsampled *jobs, int64_t i) {
    return do_part(jobs + i / jobs->parts, i % jobs->parts, loss_of_tile);
}

/* Labels of one part of one of several jobs with equally many. */
int NAME(labels, SIDE)(const Upsampled *jobs, int64_t i) {
    return do_part(jobs + i / jobs->parts, i % jobs->parts, labels_of_tile);
}
