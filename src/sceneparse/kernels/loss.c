/* Cross-entropy of bilinearly upsampled scores and its gradient, without the upsampled scores.

   Between two neighbouring scores of a row the logits of a class change linearly, so their exponentials are a
   geometric progression: e, e*g, e*g^2, ... Two exponentials serve a run of up to eight pixels, and the
   weighted sums of the gradient over a run are a polynomial in g and its derivative, by Horner's rule. Scores
   are first lowered by their maximum over the classes at each place; interpolated maxima bound the
   interpolated logits, so nothing overflows. Where a class rises too steeply for the progression, or where
   the bound is so loose that the sum of a pixel gets small, the run is done pixel by pixel with its exact
   maximum. */

#include "bilinear.h"
#include "exponential.h"

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#define RISE 40.0f   /* steepest rise of a logit over a run: e^40 squared is far from overflow */
#define SMALL 1e-10f /* least sum of exponentials below the bound that is exact enough */

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
    float y_part, x_step;
    const float *x_parts;
    const int32_t *labels;
    float z[ROOM];     /* sums of exponentials, below the bound or below each pixel's maximum */
    float shift[ROOM]; /* what the logits were lowered by beyond the bound */
} Run;

static inline vec mix(const float *a, const float *b, float part) {
    return load(a) + part * (load(b) - load(a));
}

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
    float below = run->y_part, part = run->x_parts[0], step = run->x_step, whole = step * (n - 1);
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
static inline __attribute__((always_inline)) void run_gradient(const Run *run, const float *work,
                                                               int64_t stride, const float *c, int n) {
    float below = run->y_part, above = 1 - below, part = run->x_parts[0], step = run->x_step;
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
        float *e = work + i * stride, most = -INFINITY;
        for (int64_t k = 0; k < classes; k++) {
            e[k] = logit(run, k, run->x_parts[i]);
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
        float right = run->x_parts[i], left = 1 - right;
        for (int64_t k = 0; k < stride; k += LANES) {
            vec one = c[i] * load(work + i * stride + k);
            store(run->gt0 + k, load(run->gt0 + k) + above * left * one);
            store(run->gt1 + k, load(run->gt1 + k) + above * right * one);
            store(run->gb0 + k, load(run->gb0 + k) + below * left * one);
            store(run->gb1 + k, load(run->gb1 + k) + below * right * one);
        }
    }
}

static inline void take(const Run *run, int64_t k, float left, float right) {
    float below = run->y_part, above = 1 - below;
    run->gt0[k] -= above * left;
    run->gt1[k] -= above * right;
    run->gb0[k] -= below * left;
    run->gb1[k] -= below * right;
}

/* The part of a run's gradient that does not come from the softmax: minus the target. */
static void run_target(const Run *run, const Job *job, const float *own, int n) {
    float left = 0, right = 0;
    for (int i = 0; i < n; i++) {
        left += own[i] * (1 - run->x_parts[i]);
        right += own[i] * run->x_parts[i];
        if (i + 1 < n && run->labels[i + 1] == run->labels[i]) continue; /* neighbours mostly agree */
        if (run->labels[i] >= 0) take(run, run->labels[i], left, right);
        left = right = 0;
    }
    if (job->smoothing == 0) return;
    for (int i = 0; i < n; i++) {
        left += run->labels[i] < 0 ? 0 : 1 - run->x_parts[i];
        right += run->labels[i] < 0 ? 0 : run->x_parts[i];
    }
    float each = job->smoothing / (float)job->classes;
    for (int64_t k = 0; k < job->classes; k++) {
        float target = each * (job->class_weights ? job->class_weights[k] : 1);
        take(run, k, target * left, target * right);
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

    float own[RUN], c[RUN], log_z[ROOM], total = 0, each = job->smoothing / (float)job->classes;
    for (int i = 0; i < n; i += LANES)
        store(log_z + i, log_of(load(run->z + i)) + load(run->shift + i));
    for (int i = 0; i < n; i++) {
        int32_t label = run->labels[i] < 0 ? 0 : run->labels[i];
        float counts = run->labels[i] < 0 ? 0 : 1;
        float weight = job->class_weights ? job->class_weights[label] : 1;
        own[i] = counts * weight * (1 - job->smoothing);
        total += own[i] * (log_z[i] - logit(run, label, run->x_parts[i]));
        c[i] = own[i];
        if (job->smoothing != 0) {
            float mean = between(run->mt0, run->mt1, run->mb0, run->mb1, run->y_part, run->x_parts[i]);
            total += counts * each * (all_weights * log_z[i] - mean);
            c[i] += counts * each * all_weights;
        }
        c[i] /= run->z[i];
    }
    *sum += total;
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
static void block_loss(const Job *job, Scratch *s, int64_t first, int64_t rows, double *sum,
                       float all_weights) {
    for (int64_t r = 0; r < job->n_runs; r++) {
        const int32_t *at = job->runs + 3 * r;
        int n = at[1];
        int64_t left = at[2] * s->stride, right = left + s->stride;
        const float *parts = job->column_part + at[0];
        Run run = {.t0 = s->top + left, .t1 = s->top + right,
                   .b0 = s->bottom + left, .b1 = s->bottom + right,
                   .gt0 = s->top_grad + left, .gt1 = s->top_grad + right,
                   .gb0 = s->bottom_grad + left, .gb1 = s->bottom_grad + right,
                   .x_parts = parts, .x_step = n > 1 ? (parts[n - 1] - parts[0]) / (float)(n - 1) : 0};
        for (int i = 0; i < ROOM; i++) run.z[i] = 1;
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

int sceneparse_conv3x3_self_test(void); /* winograd.c */
int sceneparse_fourier_self_test(void); /* fourier.c */

/* 0 if this machine runs the code, its exponentials and logarithms are right, and so are the convolutions. */
int sceneparse_self_test(void) {
    for (float x = -86; x < 20; x += 0.37f) {
        vec e = exp_of(splat(x));
        if (!(fabsf(e[LANES - 1] / expf(x) - 1) < 1e-6f)) return 1;
        if (!(fabsf(log_of(e)[0] - logf(e[0])) < 1e-6f * (1 + fabsf(x)))) return 1;
    }
    return sceneparse_conv3x3_self_test() || sceneparse_fourier_self_test();
}
