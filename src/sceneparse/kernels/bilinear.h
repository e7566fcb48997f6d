/* What the loss and the labels of bilinearly upsampled scores have in common.

   B batch, K classes, h,w scores, H,W labels. One call does one piece: some rows of scores of one image, and
   the output rows between them. Pieces do not touch each other's memory, so any number of threads gives the
   same bits. */

#ifndef SCENEPARSE_BILINEAR_H
#define SCENEPARSE_BILINEAR_H

#include "vectors.h"

#define RUN 8    /* pixels of a row that are done together; runs come from Python */
#define ROOM 16  /* a run in whole vectors */
#define BLOCK 16 /* output rows whose labels are looked at together */

enum { FINE = 0, NO_MEMORY = 1, NOT_FINITE = 2, BAD_LABEL = 3 };

typedef struct {
    const float *scores; /* (B, K, h, w) with the strides below, in elements */
    int64_t score_b, score_k, score_y, score_x;
    int64_t classes, h, w, height, width;
    int64_t piece_rows, pieces_per_image;
    const int32_t *row_begin; /* (h + 1): output rows row_begin[y] .. row_begin[y + 1] - 1 lie below row y */
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
        for (int64_t k = 0; k < job->classes; k++) {
            const float *plane = from + k * job->score_k;
            for (int64_t x = 0; x < job->w; x++) row[x * stride + k] = plane[x * job->score_x];
        }
    }
}

#endif
