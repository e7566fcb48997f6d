/* Arg-max of bilinearly upsampled scores, without the upsampled scores.

   Between four scores a class lies between its smallest and its largest corner. Most classes are ruled out by
   that, mostly all but one or two, and only the others are interpolated. */

#include "bilinear.h"

/* The classes that can win between four columns of scores: a class whose largest corner is below the smallest
   corner of another is below it everywhere between. low, high: smallest and largest of top and bottom. */
static int64_t candidates(int32_t *list, const float *low, const float *high, const Job *job,
                          int64_t stride) {
    vec most = splat(-INFINITY);
    for (int64_t k = 0; k < stride; k += LANES)
        most = larger(most, smaller(load(low + k), load(low + stride + k)));
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
