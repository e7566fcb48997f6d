/* Minimal filtering (Winograd; Lavin and Gray 2016) of a 2x2 convolution. F(4x4, 2x2): sixteen cells from 5x5
   scores by 25 products in place of 64; F(3x3, 2x2): nine cells by 16 in place of 36, for maps that it covers
   with less overhang. Scores and weights are seen as polynomials; the products are those of their values at
   some points, one of them infinity; of the tile of four P, -P, Q and -Q besides. All is done along the rows,
   then along the columns.

   Six little functions say it for one side, and its turned form for gradients. */

#ifndef SCENEPARSE_FILTERING_H
#define SCENEPARSE_FILTERING_H

#include "products.h"

#ifndef SIDE
#define SIDE 4 /* cells of a tile */
#endif
#define LINE_POINTS (SIDE + 1)
#define CELLS (SIDE * SIDE)
#define POINTS (LINE_POINTS * LINE_POINTS)

#if SIDE == 4

#define P 1.25f /* with 5/4 and 1/2 errors are half of those with 0, 1, -1 and 2, the usual points */
#define Q 0.5f
#define P_PART (0.5f / (P * (P * P - Q * Q)))
#define Q_PART (0.5f / (Q * (Q * Q - P * P)))

INLINE void scores_to_points(vec *out, const vec *in) {
    vec even = P * (in[2] - Q * Q * in[0]), odd = in[3] - Q * Q * in[1];
    out[0] = odd + even, out[1] = odd - even;
    even = Q * (in[2] - P * P * in[0]), odd = in[3] - P * P * in[1];
    out[2] = odd + even, out[3] = odd - even;
    out[4] = in[4] - (P * P + Q * Q) * in[2] + P * P * Q * Q * in[0];
}

INLINE void points_to_scores(vec *out, const vec *in) {
    vec p_odd = in[0] + in[1], p_even = P * (in[0] - in[1]);
    vec q_odd = in[2] + in[3], q_even = Q * (in[2] - in[3]);
    out[0] = P * P * Q * Q * in[4] - Q * Q * p_even - P * P * q_even;
    out[1] = -Q * Q * p_odd - P * P * q_odd;
    out[2] = p_even + q_even - (P * P + Q * Q) * in[4];
    out[3] = p_odd + q_odd;
    out[4] = in[4];
}

INLINE void weights_to_points(vec *out, const vec *in) {
    out[0] = P_PART * (P * in[1] + in[0]), out[1] = P_PART * (P * in[1] - in[0]);
    out[2] = Q_PART * (Q * in[1] + in[0]), out[3] = Q_PART * (Q * in[1] - in[0]);
    out[4] = in[1];
}

INLINE void points_to_weights(vec *out, const vec *in) {
    out[0] = P_PART * (in[0] - in[1]) + Q_PART * (in[2] - in[3]);
    out[1] = P * P_PART * (in[0] + in[1]) + Q * Q_PART * (in[2] + in[3]) + in[4];
}

INLINE void points_to_cells(vec *out, const vec *in) {
    vec p_even = in[0] + in[1], p_odd = in[0] - in[1], q_even = in[2] + in[3], q_odd = in[2] - in[3];
    out[0] = p_even + q_even;
    out[1] = P * p_odd + Q * q_odd;
    out[2] = P * P * p_even + Q * Q * q_even;
    out[3] = P * P * P * p_odd + Q * Q * Q * q_odd + in[4];
}

INLINE void cells_to_points(vec *out, const vec *in) {
    vec even = in[0] + P * P * in[2], odd = P * in[1] + P * P * P * in[3];
    out[0] = even + odd, out[1] = even - odd;
    even = in[0] + Q * Q * in[2], odd = Q * in[1] + Q * Q * Q * in[3];
    out[2] = even + odd, out[3] = even - odd;
    out[4] = in[3];
}

#undef P
#undef Q
#undef P_PART
#undef Q_PART

#else /* three cells; the points are 0, 1, -1 and infinity */

INLINE void scores_to_points(vec *out, const vec *in) {
    out[0] = in[0] - in[2], out[1] = in[1] + in[2], out[2] = in[2] - in[1], out[3] = in[3] - in[1];
}

INLINE void points_to_scores(vec *out, const vec *in) {
    out[0] = in[0], out[1] = in[1] - in[2] - in[3], out[2] = in[1] + in[2] - in[0], out[3] = in[3];
}

INLINE void weights_to_points(vec *out, const vec *in) {
    out[0] = in[0], out[1] = 0.5f * (in[0] + in[1]), out[2] = 0.5f * (in[0] - in[1]), out[3] = in[1];
}

INLINE void points_to_weights(vec *out, const vec *in) {
    out[0] = in[0] + 0.5f * (in[1] + in[2]), out[1] = in[3] + 0.5f * (in[1] - in[2]);
}

INLINE void points_to_cells(vec *out, const vec *in) {
    vec both = in[1] + in[2];
    out[0] = in[0] + both, out[1] = in[1] - in[2], out[2] = both + in[3];
}

INLINE void cells_to_points(vec *out, const vec *in) {
    vec both = in[0] + in[2];
    out[0] = in[0], out[1] = both + in[1], out[2] = both - in[1], out[3] = in[2];
}

#endif

/* n vectors from equally far places. */
INLINE void load_all(vec *out, const float *from, int64_t step, const int n) {
    for (int i = 0; i < n; i++) out[i] = load(from + i * step);
}

/* Column x of n rows of vectors. */
INLINE void column_of(vec *out, const vec *rows, int x, const int n, const int row) {
    for (int i = 0; i < n; i++) out[i] = rows[i * row + x];
}

/* Scores of a tile (LINE_POINTS, LINE_POINTS, deep), rows far apart, to (POINTS, deep), planes far apart. */
static void tile_to_points(float *points, int64_t plane, const float *scores, int64_t row, int64_t deep) {
    for (int64_t c = 0; c < deep; c += LANES) {
        vec half[LINE_POINTS][LINE_POINTS], in[LINE_POINTS], out[LINE_POINTS];
        for (int y = 0; y < LINE_POINTS; y++) {
            const float *s = scores + y * row + c;
            load_all(in, s, deep, LINE_POINTS);
            scores_to_points(half[y], in);
        }
        for (int x = 0; x < LINE_POINTS; x++) {
            column_of(in, half[0], x, LINE_POINTS, LINE_POINTS);
            scores_to_points(out, in);
            for (int y = 0; y < LINE_POINTS; y++) store(points + (LINE_POINTS * y + x) * plane + c, out[y]);
        }
    }
}

/* The way back of tile_to_points for gradients, added to those of the scores: tiles share some. */
static void tile_from_points(float *scores, int64_t row, const float *points, int64_t plane, int64_t deep) {
    for (int64_t c = 0; c < deep; c += LANES) {
        vec half[LINE_POINTS][LINE_POINTS], in[LINE_POINTS], out[LINE_POINTS];
        for (int y = 0; y < LINE_POINTS; y++) {
            const float *p = points + LINE_POINTS * y * plane + c;
            load_all(in, p, plane, LINE_POINTS);
            points_to_scores(half[y], in);
        }
        for (int x = 0; x < LINE_POINTS; x++) {
            column_of(in, half[0], x, LINE_POINTS, LINE_POINTS);
            points_to_scores(out, in);
            for (int y = 0; y < LINE_POINTS; y++) {
                float *to = scores + y * row + x * deep + c;
                store(to, load(to) + out[y]);
            }
        }
    }
}

/* Weights (2, 2, rows, row) to the points, by strips of columns
   (POINTS, strips, rows, columns of a strip). */
static void kernel_to_points(float *points, const float *kernel, int64_t rows, int64_t row, int64_t columns) {
    int64_t corner = rows * row, plane = rows * whole(columns);
    int vecs;
    for (int64_t j = 0, left = whole(columns) / LANES; left > 0; left -= vecs, j += vecs * LANES) {
        vecs = strip_of(left);
        for (int64_t i = 0; i < rows; i++) {
            for (int v = 0; v < vecs; v++) {
                const float *from = kernel + i * row + j + v * LANES;
                float *to = points + j * rows + (i * vecs + v) * LANES;
                vec half[2][LINE_POINTS], in[2], all[LINE_POINTS];
                for (int y = 0; y < 2; y++) {
                    load_all(in, from + 2 * y * corner, corner, 2);
                    weights_to_points(half[y], in);
                }
                for (int x = 0; x < LINE_POINTS; x++) {
                    column_of(in, half[0], x, 2, LINE_POINTS);
                    weights_to_points(all, in);
                    for (int y = 0; y < LINE_POINTS; y++) store(to + (LINE_POINTS * y + x) * plane, all[y]);
                }
            }
        }
    }
}

/* The way back of kernel_to_points for gradients (POINTS, size) to (2, 2, size). */
static void points_to_kernel(float *kernel, const float *points, int64_t size) {
    for (int64_t i = 0; i < size; i += LANES) {
        vec half[LINE_POINTS][2], in[LINE_POINTS], all[2];
        for (int y = 0; y < LINE_POINTS; y++) {
            const float *p = points + LINE_POINTS * y * size + i;
            load_all(in, p, size, LINE_POINTS);
            points_to_weights(half[y], in);
        }
        for (int x = 0; x < 2; x++) {
            column_of(in, half[0], x, LINE_POINTS, 2);
            points_to_weights(all, in);
            for (int y = 0; y < 2; y++) store(kernel + (2 * y + x) * size + i, all[y]);
        }
    }
}

/* Logits (POINTS, classes), planes far apart, to those of the cells of a tile (CELLS, row). */
static void tile_to_cells(float *cells, int64_t row, const float *points, int64_t plane, int64_t classes) {
    for (int64_t k = 0; k < classes; k += LANES) {
        vec half[LINE_POINTS][SIDE], in[LINE_POINTS], out[SIDE];
        for (int y = 0; y < LINE_POINTS; y++) {
            const float *p = points + LINE_POINTS * y * plane + k;
            load_all(in, p, plane, LINE_POINTS);
            points_to_cells(half[y], in);
        }
        for (int x = 0; x < SIDE; x++) {
            column_of(in, half[0], x, LINE_POINTS, SIDE);
            points_to_cells(out, in);
            for (int y = 0; y < SIDE; y++) store(cells + (SIDE * y + x) * row + k, out[y]);
        }
    }
}

/* The way back of tile_to_cells for gradients; what follows the classes is left alone. */
static void tile_from_cells(float *points, int64_t plane, const float *cells, int64_t row, int64_t classes) {
    for (int64_t k = 0; k < classes; k += LANES) {
        vec half[SIDE][LINE_POINTS], in[SIDE], out[LINE_POINTS];
        for (int y = 0; y < SIDE; y++) {
            const float *p = cells + SIDE * y * row + k;
            load_all(in, p, row, SIDE);
            cells_to_points(half[y], in);
        }
        for (int x = 0; x < LINE_POINTS; x++) {
            column_of(in, half[0], x, SIDE, LINE_POINTS);
            cells_to_points(out, in);
            for (int y = 0; y < LINE_POINTS; y++) {
                float *to = points + (LINE_POINTS * y + x) * plane + k;
                if (k + LANES <= classes) store(to, out[y]);
                else memcpy(to, &out[y], sizeof(float) * (size_t)(classes - k));
            }
        }
    }
}

#endif
