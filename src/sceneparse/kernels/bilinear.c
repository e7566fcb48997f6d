/* Cross-entropy and arg-max of bilinearly upsampled scores, without the upsampled scores.

   B batch, K classes, h,w scores, H,W labels. One call does one piece: some rows of scores of one image, and
   the output rows between them. Pieces do not touch each other's memory, so any number of threads gives the
   same bits.

   Between two neighbouring scores of a row the logits of a class change linearly, so their exponentials are a
   geometric progression: e, e*g, e*g^2, ... Two exponentials serve a run of up to eight pixels, and the
   weighted sums of the gradient over a run are a polynomial in g and its derivative, by Horner's rule. Scores
   are first lowered by their maximum over the classes at each place; interpolated maxima bound the
   interpolated logits, so nothing overflows. Where a class rises too steeply for the progression, or where
   the bound is so loose that the sum of a pixel gets small, the run is done pixel by pixel with its exact
   maximum. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#ifndef LANES
#if defined(__AVX512F__)
#define LANES 16
#else
#define LANES 8
#endif
#endif
#define RUN 8        /* pixels that share their two exponentials; runs come from Python */
#define BLOCK 16     /* output rows whose labels are looked at together */
#define RISE 40.0f   /* steepest rise of a logit over a run: e^40 squared is far from overflow */
#define SMALL 1e-10f /* least sum of exponentials below the bound that is exact enough */

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ints __attribute__((vector_size(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* anywhere in memory */

enum { FINE = 0, NO_MEMORY = 1, NOT_FINITE = 2, BAD_LABEL = 3 };

typedef struct {
    const float *scores; /* (B, K, h, w) with the strides below, in elements */
    int64_t score_b, score_k, score_y, score_x;
    int64_t classes, h, w, height, width;
    int64_t piece_rows, pieces_per_image;
    const int32_t *row_begin; /* (h + 1): output rows row_begin[y] .. row_begin[y + 1] - 1 lie below score row y */
    const float *row_part;    /* (H): their distance from it, 0..1; 0 at the last row */
    const int32_t *runs;      /* (n_runs, 3): first column, pixels, column of scores on the left */
    int64_t n_runs;
    const float *column_part; /* (W): as row_part; evenly spaced within a run */

    const void *labels; /* (B, H, W) contiguous: read by the loss, written by the arg-max */
    int64_t label_bytes, label_signed;

    int64_t ignore_index;
    const float *class_weights; /* (K) or null: 1 */
    float smoothing;
    float *grad; /* like scores; null: only the loss */
    int64_t grad_b, grad_k, grad_y, grad_x;
    float *spill; /* (pieces, w, K): what a piece adds to the first row of the next */
    double *sums; /* (pieces): loss */
} Job;

static inline vec splat(float x) { return (vec){} + x; }

static inline vec load(const float *p) { return *(const loose *)p; }

static inline void store(float *p, vec v) { *(loose *)p = v; }

static inline vec choose(ints where, vec yes, vec no) { return (vec)((where & (ints)yes) | (~where & (ints)no)); }

static inline vec larger(vec a, vec b) { return choose(a > b, a, b); }

static inline vec smaller(vec a, vec b) { return choose(a < b, a, b); }

static inline float sum_of(vec v) {
    float s[LANES];
    store(s, v);
    for (int n = LANES / 2; n; n /= 2)
        for (int i = 0; i < n; i++) s[i] += s[i + n];
    return s[0];
}

static inline float max_of(vec v) {
    float m = v[0];
    for (int i = 1; i < LANES; i++) m = v[i] > m ? v[i] : m;
    return m;
}

/* e^x for x <= 88, below -87 as at -87 (1e-38); within 2 units in the last place (Cephes' polynomial). */
static inline vec exp_of(vec x) {
    x = larger(x, splat(-87.0f));
    vec shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the whole part lands in the low bits */
    vec n = shifted - 12582912.0f;
    vec r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    return (vec)((ints)p + ((ints)shifted << 23));
}

/* ------------------------------------------------------------------ rows of scores, class last */

/* Scratch memory of one piece. A row is (w + 1, stride) floats: column w repeats the last, so that every run
   has a right neighbour. */
typedef struct {
    int64_t stride; /* K up to whole vectors */
    int64_t row;    /* floats of a row */
    float *top, *bottom;           /* score rows y and y + 1 */
    float *top_grad, *bottom_grad;
    float *top_mean, *bottom_mean; /* (w + 1): weighted sum over the classes, for label smoothing */
    float *work;                   /* what a run keeps between its two passes */
    int32_t *labels;               /* (BLOCK, W) */
    void *memory;
} Scratch;

static int make_scratch(Scratch *s, const Job *job) {
    s->stride = (job->classes + LANES - 1) / LANES * LANES;
    s->row = (job->w + 1) * s->stride;
    int64_t work = RUN * s->stride, means = job->w + 1;
    s->memory = malloc(sizeof(float) * (size_t)(4 * s->row + work + 2 * means + BLOCK * job->width));
    if (!s->memory) return NO_MEMORY;
    float *p = s->memory;
    s->top = p;
    s->bottom = p + s->row;
    s->top_grad = p + 2 * s->row;
    s->bottom_grad = p + 3 * s->row;
    s->work = p + 4 * s->row;
    s->top_mean = s->work + work;
    s->bottom_mean = s->top_mean + means;
    s->labels = (int32_t *)(s->bottom_mean + means);
    return FINE;
}

static void exchange(float **a, float **b) {
    float *c = *a;
    *a = *b;
    *b = c;
}

static void load_row(float *row, const Job *job, int64_t stride, int64_t b, int64_t y) {
    const float *from = job->scores + b * job->score_b + y * job->score_y;
    if (job->score_k == 1) {
        for (int64_t x = 0; x < job->w; x++)
            memcpy(row + x * stride, from + x * job->score_x, sizeof(float) * (size_t)job->classes);
    } else {
        for (int64_t k = 0; k < job->classes; k++)
            for (int64_t x = 0; x < job->w; x++) row[x * stride + k] = from[k * job->score_k + x * job->score_x];
    }
}

/* Lower every place by its maximum. Classes beyond K get -79: e^-79 adds nothing and does not underflow. */
static int lower_row(float *row, const Job *job, int64_t stride) {
    vec wrong = splat(0);
    for (int64_t x = 0; x < job->w; x++) {
        float *p = row + x * stride;
        for (int64_t k = job->classes; k < stride; k++) p[k] = -INFINITY;
        vec most = load(p);
        for (int64_t k = LANES; k < stride; k += LANES) most = larger(most, load(p + k));
        float top = max_of(most);
        for (int64_t k = 0; k < stride; k += LANES) store(p + k, load(p + k) - top);
        for (int64_t k = job->classes; k < stride; k++) p[k] = -79.0f;
        for (int64_t k = 0; k < stride; k += LANES) wrong += load(p + k) * 0.0f;
    }
    memcpy(row + job->w * stride, row + (job->w - 1) * stride, sizeof(float) * (size_t)stride);
    return sum_of(wrong) == 0 ? FINE : NOT_FINITE;
}

static void mean_row(float *mean, const float *row, const Job *job, int64_t stride) {
    for (int64_t x = 0; x <= job->w; x++) {
        double sum = 0;
        for (int64_t k = 0; k < job->classes; k++)
            sum += (double)(job->class_weights ? job->class_weights[k] : 1) * row[x * stride + k];
        mean[x] = (float)sum;
    }
}

/* ------------------------------------------------------------------ loss */

/* Labels of output rows first .. first + rows - 1 as 0..K-1 or -1 where they do not count. */
static int read_labels(int32_t *out, const Job *job, int64_t b, int64_t first, int64_t rows) {
    int64_t begin = (b * job->height + first) * job->width, n = rows * job->width, wrong = 0;
#define READ(type)                                                       \
    for (int64_t i = 0; i < n; i++) {                                    \
        int64_t label = ((const type *)job->labels)[begin + i];          \
        int64_t counts = label != job->ignore_index;                     \
        wrong += counts & ((label < 0) | (label >= job->classes));       \
        out[i] = counts ? (int32_t)label : -1;                           \
    }
    switch (job->label_bytes) {
    case 1: if (job->label_signed) { READ(int8_t) } else { READ(uint8_t) } break;
    case 2: if (job->label_signed) { READ(int16_t) } else { READ(uint16_t) } break;
    case 4: READ(int32_t) break;
    default: READ(int64_t) break;
    }
#undef READ
    return wrong ? BAD_LABEL : FINE;
}

/* A run of pixels of one output row, between four columns of scores. */
typedef struct {
    const float *t0, *t1, *b0, *b1; /* lowered scores: top left, top right, bottom left, bottom right */
    float *gt0, *gt1, *gb0, *gb1;   /* their gradients */
    float mt0, mt1, mb0, mb1;       /* their weighted sums over the classes */
    float y_part, x_part, x_step;
    const int32_t *labels;
    float z[RUN];     /* sums of exponentials, below the bound or below each pixel's maximum */
    float shift[RUN]; /* what the logits were lowered by beyond the bound */
} Run;

static inline vec mix(const float *a, const float *b, float part) { return load(a) + part * (load(b) - load(a)); }

static inline float between(float t0, float t1, float b0, float b1, float y_part, float x_part) {
    float left = t0 + y_part * (b0 - t0), right = t1 + y_part * (b1 - t1);
    return left + x_part * (right - left);
}

static inline float logit(const Run *run, int64_t k, float x_part) {
    return between(run->t0[k], run->t1[k], run->b0[k], run->b1[k], run->y_part, x_part);
}

/* First exponential and quotient of every class into work, sums into run->z. 0: the run needs run_exact. */
static inline __attribute__((always_inline)) int run_sums(Run *run, float *work, int64_t stride, int n) {
    vec z[RUN];
    for (int i = 0; i < n; i++) z[i] = splat(0);
    ints steep = {};
    const float *t0 = run->t0, *t1 = run->t1, *b0 = run->b0, *b1 = run->b1;
    float below = run->y_part, part = run->x_part, step = run->x_step, whole = step * (n - 1);
    for (int64_t k = 0; k < stride; k += LANES) {
        vec left = mix(t0 + k, b0 + k, below), change = mix(t1 + k, b1 + k, below) - left;
        vec e = exp_of(left + part * change);
        store(work + 2 * k, e);
        z[0] += e;
        if (n > 1) {
            steep |= whole * change > RISE;
            vec g = exp_of(step * change);
            store(work + 2 * k + LANES, g);
            for (int i = 1; i < n; i++) {
                e *= g;
                z[i] += e;
            }
        }
    }
    int32_t any = 0;
    for (int i = 0; i < LANES; i++) any |= steep[i];
    int fine = !any;
    for (int i = 0; i < n; i++) {
        run->z[i] = sum_of(z[i]);
        run->shift[i] = 0;
        fine &= run->z[i] > SMALL;
    }
    return fine;
}

/* Gradient of a run done by run_sums: c[i] is the weight of pixel i over its sum. */
static inline __attribute__((always_inline)) void run_gradient(const Run *run, const float *work, int64_t stride,
                                                               const float *c, int n) {
    float below = run->y_part, above = 1 - below, part = run->x_part, step = run->x_step;
    float *restrict t0 = run->gt0, *restrict t1 = run->gt1, *restrict b0 = run->gb0, *restrict b1 = run->gb1;
    for (int64_t k = 0; k < stride; k += LANES) {
        vec e = load(work + 2 * k), p = splat(c[n - 1]), right = splat(0);
        if (n > 1) {
            vec g = load(work + 2 * k + LANES), q = splat(0);
            for (int i = n - 2; i >= 0; i--) {
                q = q * g + p;
                p = p * g + c[i];
            }
            right = step * e * g * q;
        }
        vec all = e * p;
        right += part * all;
        vec left = all - right;
        store(t0 + k, load(t0 + k) + above * left);
        store(t1 + k, load(t1 + k) + above * right);
        store(b0 + k, load(b0 + k) + below * left);
        store(b1 + k, load(b1 + k) + below * right);
    }
}

/* Every pixel of a run by itself: exponentials below its own maximum into work (RUN, stride). */
static void run_exact(Run *run, float *work, int64_t stride, int64_t classes, int n) {
    for (int i = 0; i < n; i++) {
        float *e = work + i * stride, part = run->x_part + i * run->x_step, most = -INFINITY;
        for (int64_t k = 0; k < classes; k++) {
            e[k] = logit(run, k, part);
            most = e[k] > most ? e[k] : most;
        }
        for (int64_t k = classes; k < stride; k++) e[k] = -INFINITY;
        vec z = splat(0);
        for (int64_t k = 0; k < stride; k += LANES) {
            vec one = exp_of(load(e + k) - most);
            store(e + k, one);
            z += one;
        }
        run->z[i] = sum_of(z);
        run->shift[i] = most;
    }
}

static void run_exact_gradient(const Run *run, const float *work, int64_t stride, const float *c, int n) {
    float below = run->y_part, above = 1 - below;
    for (int i = 0; i < n; i++) {
        float right = run->x_part + i * run->x_step, left = 1 - right;
        for (int64_t k = 0; k < stride; k += LANES) {
            vec one = c[i] * load(work + i * stride + k);
            store(run->gt0 + k, load(run->gt0 + k) + above * left * one);
            store(run->gt1 + k, load(run->gt1 + k) + above * right * one);
            store(run->gb0 + k, load(run->gb0 + k) + below * left * one);
            store(run->gb1 + k, load(run->gb1 + k) + below * right * one);
        }
    }
}

/* The part of a run's gradient that does not come from the softmax: minus the target. */
static void run_target(const Run *run, const Job *job, const float *own, int n) {
    float below = run->y_part, above = 1 - below, left_count = 0, right_count = 0;
    for (int i = 0; i < n; i++) {
        int32_t k = run->labels[i];
        if (k < 0) continue;
        float right = run->x_part + i * run->x_step, left = 1 - right;
        run->gt0[k] -= own[i] * above * left;
        run->gt1[k] -= own[i] * above * right;
        run->gb0[k] -= own[i] * below * left;
        run->gb1[k] -= own[i] * below * right;
        left_count += left;
        right_count += right;
    }
    if (job->smoothing == 0) return;
    float each = job->smoothing / (float)job->classes;
    for (int64_t k = 0; k < job->classes; k++) {
        float target = each * (job->class_weights ? job->class_weights[k] : 1);
        run->gt0[k] -= target * above * left_count;
        run->gt1[k] -= target * above * right_count;
        run->gb0[k] -= target * below * left_count;
        run->gb1[k] -= target * below * right_count;
    }
}

#define PER_LENGTH(n, call)                                                                \
    switch (n) {                                                                           \
    case 1: call(1); break; case 2: call(2); break; case 3: call(3); break;                \
    case 4: call(4); break; case 5: call(5); break; case 6: call(6); break;                \
    case 7: call(7); break; default: call(8); break;                                       \
    }

/* Loss of a run, added to sum, and its gradient. */
static void run_loss(Run *run, const Job *job, Scratch *s, int n, double *sum, float all_weights) {
    int fine;
#define CALL(m) fine = run_sums(run, s->work, s->stride, m)
    PER_LENGTH(n, CALL)
#undef CALL
    if (!fine) run_exact(run, s->work, s->stride, job->classes, n);

    float own[RUN], c[RUN], each = job->smoothing / (float)job->classes;
    for (int i = 0; i < n; i++) {
        int32_t label = run->labels[i];
        float part = run->x_part + i * run->x_step, weight = 0;
        own[i] = c[i] = 0;
        if (label < 0) continue;
        weight = job->class_weights ? job->class_weights[label] : 1;
        float log_sum = logf(run->z[i]) + run->shift[i];
        own[i] = (1 - job->smoothing) * weight;
        c[i] = own[i];
        *sum += (double)own[i] * (log_sum - logit(run, label, part));
        if (job->smoothing != 0) {
            float mean = between(run->mt0, run->mt1, run->mb0, run->mb1, run->y_part, part);
            *sum += each * ((double)all_weights * log_sum - mean);
            c[i] += each * all_weights;
        }
        c[i] /= run->z[i];
    }
    if (!job->grad) return;
    if (fine) {
#define CALL(m) run_gradient(run, s->work, s->stride, c, m)
        PER_LENGTH(n, CALL)
#undef CALL
    } else {
        run_exact_gradient(run, s->work, s->stride, c, n);
    }
    run_target(run, job, own, n);
}

/* Output rows first .. first + rows - 1, all below the same score row. */
static void block_loss(const Job *job, Scratch *s, int64_t first, int64_t rows, double *sum, float all_weights) {
    for (int64_t r = 0; r < job->n_runs; r++) {
        const int32_t *at = job->runs + 3 * r;
        int n = at[1];
        int64_t left = at[2] * s->stride, right = left + s->stride;
        const float *part = job->column_part + at[0];
        Run run = {.t0 = s->top + left, .t1 = s->top + right,
                   .b0 = s->bottom + left, .b1 = s->bottom + right,
                   .gt0 = s->top_grad + left, .gt1 = s->top_grad + right,
                   .gb0 = s->bottom_grad + left, .gb1 = s->bottom_grad + right,
                   .x_part = part[0], .x_step = n > 1 ? (part[n - 1] - part[0]) / (float)(n - 1) : 0};
        if (job->smoothing != 0) {
            run.mt0 = s->top_mean[at[2]], run.mt1 = s->top_mean[at[2] + 1];
            run.mb0 = s->bottom_mean[at[2]], run.mb1 = s->bottom_mean[at[2] + 1];
        }
        for (int64_t y = 0; y < rows; y++) {
            run.labels = s->labels + y * job->width + at[0];
            run.y_part = job->row_part[first + y];
            int32_t counted = 0;
            for (int i = 0; i < n; i++) counted |= run.labels[i] >= 0;
            if (counted) run_loss(&run, job, s, n, sum, all_weights);
        }
    }
}

static void add_row(const Job *job, const float *row, int64_t stride, float *to, int64_t by_k, int64_t by_x) {
    for (int64_t k = 0; k < job->classes; k++)
        for (int64_t x = 0; x < job->w; x++) to[k * by_k + x * by_x] = row[x * stride + k];
}

static int next_row(const Job *job, Scratch *s, float *row, float *mean, int64_t b, int64_t y) {
    load_row(row, job, s->stride, b, y);
    int status = lower_row(row, job, s->stride);
    if (job->smoothing != 0) mean_row(mean, row, job, s->stride);
    return status;
}

static int loss_rows(const Job *job, Scratch *s, int64_t piece, float all_weights) {
    int64_t b = piece / job->pieces_per_image, begin = piece % job->pieces_per_image * job->piece_rows;
    int64_t end = begin + job->piece_rows < job->h ? begin + job->piece_rows : job->h;
    double *sum = job->sums + piece;
    *sum = 0;
    memset(s->top_grad, 0, sizeof(float) * (size_t)(2 * s->row));
    int status = next_row(job, s, s->top, s->top_mean, b, begin);
    for (int64_t y = begin; y < end && !status; y++) {
        status = next_row(job, s, s->bottom, s->bottom_mean, b, y + 1 < job->h ? y + 1 : y);
        int64_t last = job->row_begin[y + 1];
        for (int64_t first = job->row_begin[y]; first < last && !status; first += BLOCK) {
            int64_t rows = last - first < BLOCK ? last - first : BLOCK;
            status = read_labels(s->labels, job, b, first, rows);
            if (!status) block_loss(job, s, first, rows, sum, all_weights);
        }
        if (job->grad)
            add_row(job, s->top_grad, s->stride, job->grad + b * job->grad_b + y * job->grad_y, job->grad_k,
                    job->grad_x);
        exchange(&s->top, &s->bottom);
        exchange(&s->top_mean, &s->bottom_mean);
        exchange(&s->top_grad, &s->bottom_grad);
        memset(s->bottom_grad, 0, sizeof(float) * (size_t)s->row);
    }
    if (job->grad && end < job->h)
        add_row(job, s->top_grad, s->stride, job->spill + piece * job->w * job->classes, 1, job->classes);
    return status;
}

/* Loss, weight and gradient of one piece. */
int sceneparse_loss(const Job *job, int64_t piece) {
    Scratch s;
    if (make_scratch(&s, job)) return NO_MEMORY;
#if defined(__SSE__)
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040); /* results below 1e-38 are 0: on some processors they cost 100 times more */
#endif
    float all_weights = (float)job->classes;
    if (job->class_weights) {
        all_weights = 0;
        for (int64_t k = 0; k < job->classes; k++) all_weights += job->class_weights[k];
    }
    int status = loss_rows(job, &s, piece, all_weights);
#if defined(__SSE__)
    _mm_setcsr(mode);
#endif
    free(s.memory);
    return status;
}

/* ------------------------------------------------------------------ arg-max */

/* The classes that can win between four columns of scores: a class whose largest corner is below the smallest
   corner of another is below it everywhere between. low, high: smallest and largest of top and bottom. */
static int64_t candidates(int32_t *list, const float *low, const float *high, const Job *job, int64_t stride) {
    vec most = splat(-INFINITY);
    for (int64_t k = 0; k < stride; k += LANES) most = larger(most, smaller(load(low + k), load(low + stride + k)));
    float bar = max_of(most);
    int64_t n = 0;
    for (int64_t k = 0; k < job->classes; k++) {
        list[n] = (int32_t)k;
        n += (high[k] >= bar) | (high[stride + k] >= bar);
    }
    return n;
}

static inline void write_label(const Job *job, int64_t at, int32_t label) {
    if (job->label_bytes == 1) ((uint8_t *)job->labels)[at] = (uint8_t)label;
    else ((int32_t *)job->labels)[at] = label;
}

/* Labels of a run of pixels of one output row; corners: (n, 4) of the candidates, ascending: ties go to the
   first. */
static void run_labels(const Job *job, const int32_t *list, const float *corners, int64_t n, float below,
                       const int32_t *run, int64_t at) {
    const float *part = job->column_part + run[0];
    vec parts = splat(0), best = splat(-INFINITY);
    for (int i = 0; i < run[1]; i++) parts[i] = part[i];
    ints winner = {};
    for (int64_t j = 0; j < n; j++) {
        const float *c = corners + 4 * j;
        float left = c[0] + below * (c[2] - c[0]), right = c[1] + below * (c[3] - c[1]);
        vec value = left + parts * (right - left);
        ints wins = value > best;
        best = choose(wins, value, best);
        winner = (wins & list[j]) | (~wins & winner);
    }
    for (int i = 0; i < run[1]; i++) write_label(job, at + i, winner[i]);
}

/* Output rows first .. last - 1, all below the same score row. work: low and high rows, corners, list. */
static void block_labels(const Job *job, Scratch *s, int64_t b, int64_t first, int64_t last) {
    float *low = s->top_grad, *high = s->bottom_grad, *corners = s->work;
    int32_t *list = (int32_t *)(s->work + 4 * s->stride);
    for (int64_t i = 0; i < s->row; i += LANES) {
        store(low + i, smaller(load(s->top + i), load(s->bottom + i)));
        store(high + i, larger(load(s->top + i), load(s->bottom + i)));
    }
    int64_t n = 0;
    for (int64_t r = 0; r < job->n_runs; r++) {
        const int32_t *run = job->runs + 3 * r;
        if (r == 0 || run[2] != run[2 - 3]) {
            int64_t left = run[2] * s->stride, right = left + s->stride;
            n = candidates(list, low + left, high + left, job, s->stride);
            for (int64_t j = 0; j < n; j++) {
                corners[4 * j] = s->top[left + list[j]];
                corners[4 * j + 1] = s->top[right + list[j]];
                corners[4 * j + 2] = s->bottom[left + list[j]];
                corners[4 * j + 3] = s->bottom[right + list[j]];
            }
        }
        for (int64_t y = first; y < last; y++) {
            int64_t at = (b * job->height + y) * job->width + run[0];
            if (n == 1)
                for (int i = 0; i < run[1]; i++) write_label(job, at + i, list[0]);
            else
                run_labels(job, list, corners, n, job->row_part[y], run, at);
        }
    }
}

static void load_padded(float *row, const Job *job, int64_t stride, int64_t b, int64_t y) {
    load_row(row, job, stride, b, y);
    for (int64_t x = 0; x < job->w; x++)
        for (int64_t k = job->classes; k < stride; k++) row[x * stride + k] = -INFINITY;
    memcpy(row + job->w * stride, row + (job->w - 1) * stride, sizeof(float) * (size_t)stride);
}

/* Labels of one piece. */
int sceneparse_labels(const Job *job, int64_t piece) {
    Scratch s;
    if (make_scratch(&s, job)) return NO_MEMORY;
    int64_t b = piece / job->pieces_per_image, begin = piece % job->pieces_per_image * job->piece_rows;
    int64_t end = begin + job->piece_rows < job->h ? begin + job->piece_rows : job->h;
    load_padded(s.top, job, s.stride, b, begin);
    for (int64_t y = begin; y < end; y++) {
        load_padded(s.bottom, job, s.stride, b, y + 1 < job->h ? y + 1 : y);
        if (job->row_begin[y] < job->row_begin[y + 1])
            block_labels(job, &s, b, job->row_begin[y], job->row_begin[y + 1]);
        exchange(&s.top, &s.bottom);
    }
    free(s.memory);
    return FINE;
}

/* 0 if this machine runs the code and its exponentials are right. */
int sceneparse_self_test(void) {
    for (float x = -86; x < 20; x += 0.37f) {
        vec e = exp_of(splat(x));
        if (!(fabsf(e[LANES - 1] / expf(x) - 1) < 1e-6f)) return 1;
    }
    return 0;
}
