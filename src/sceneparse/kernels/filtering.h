/* Minimal filtering F(4x4, 2x2) (Winograd; Lavin and Gray 2016): sixteen cells of a 2x2 convolution of 5x5
   scores by 25 products in place of 64. Scores and weights are seen as polynomials; the products are those of
   their values at the points P, -P, Q, -Q and infinity. All is done along the rows, then along the columns.

   Six little functions say it for one side, and its turned form for gradients. */

#ifndef SCENEPARSE_FILTERING_H
#define SCENEPARSE_FILTERING_H

#include "products.h"

#define SIDE 4 /* cells of a tile */
#define CELLS 16
#define LINE_POINTS 5
#define POINTS 25
#define P 1.25f /* with 5/4 and 1/2 errors are half of those with 0, 1, -1 and 2, the usual points */
#define Q 0.5f
#define P_PART (0.5f / (P * (P * P - Q * Q)))
#define Q_PART (0.5f / (Q * (Q * Q - P * P)))

INLINE void scores_to_points(vec *out, vec a, vec b, vec c, vec d, vec e) {
    vec even = P * (c - Q * Q * a), odd = d - Q * Q * b;
    out[0] = odd + even, out[1] = odd - even;
    even = Q * (c - P * P * a), odd = d - P * P * b;
    out[2] = odd + even, out[3] = odd - even;
    out[4] = e - (P * P + Q * Q) * c + P * P * Q * Q * a;
}

INLINE void points_to_scores(vec *out, vec a, vec b, vec c, vec d, vec e) {
    vec p_odd = a + b, p_even = P * (a - b), q_odd = c + d, q_even = Q * (c - d);
    out[0] = P * P * Q * Q * e - Q * Q * p_even - P * P * q_even;
    out[1] = -Q * Q * p_odd - P * P * q_odd;
    out[2] = p_even + q_even - (P * P + Q * Q) * e;
    out[3] = p_odd + q_odd;
    out[4] = e;
}

INLINE void weights_to_points(vec *out, vec a, vec b) {
    out[0] = P_PART * (P * b + a), out[1] = P_PART * (P * b - a);
    out[2] = Q_PART * (Q * b + a), out[3] = Q_PART * (Q * b - a);
    out[4] = b;
}

INLINE void points_to_weights(vec *out, vec a, vec b, vec c, vec d, vec e) {
    out[0] = P_PART * (a - b) + Q_PART * (c - d);
    out[1] = P * P_PART * (a + b) + Q * Q_PART * (c + d) + e;
}

INLINE void points_to_cells(vec *out, vec a, vec b, vec c, vec d, vec e) {
    vec p_even = a + b, p_odd = a - b, q_even = c + d, q_odd = c - d;
    out[0] = p_even + q_even;
    out[1] = P * p_odd + Q * q_odd;
    out[2] = P * P * p_even + Q * Q * q_even;
    out[3] = P * P * P * p_odd + Q * Q * Q * q_odd + e;
}

INLINE void cells_to_points(vec *out, vec a, vec b, vec c, vec d) {
    vec even = a + P * P * c, odd = P * b + P * P * P * d;
    out[0] = even + odd, out[1] = even - odd;
    even = a + Q * Q * c, odd = Q * b + Q * Q * Q * d;
    out[2] = even + odd, out[3] = even - odd;
    out[4] = d;
}

#undef P
#undef Q
#undef P_PART
#undef Q_PART

/* Scores of a tile (5, 5, deep), rows far apart, to (25, deep), planes far apart. */
static void tile_to_points(float *points, int64_t plane, const float *scores, int64_t row, int64_t deep) {
    for (int64_t c = 0; c < deep; c += LANES) {
        vec half[LINE_POINTS][LINE_POINTS], out[LINE_POINTS];
        for (int y = 0; y < LINE_POINTS; y++) {
            const float *s = scores + y * row + c;
            scores_to_points(half[y], load(s), load(s + deep), load(s + 2 * deep), load(s + 3 * deep),
                             load(s + 4 * deep));
        }
        for (int x = 0; x < LINE_POINTS; x++) {
            scores_to_points(out, half[0][x], half[1][x], half[2][x], half[3][x], half[4][x]);
            for (int y = 0; y < LINE_POINTS; y++) store(points + (LINE_POINTS * y + x) * plane + c, out[y]);
        }
    }
}

/* The way back of tile_to_points for gradients, added to those of the scores: tiles share some. */
static void tile_from_points(float *scores, int64_t row, const float *points, int64_t plane, int64_t deep) {
    for (int64_t c = 0; c < deep; c += LANES) {
        vec half[LINE_POINTS][LINE_POINTS], out[LINE_POINTS];
        for (int y = 0; y < LINE_POINTS; y++) {
            const float *p = points + LINE_POINTS * y * plane + c;
            points_to_scores(half[y], load(p), load(p + plane), load(p + 2 * plane), load(p + 3 * plane),
                             load(p + 4 * plane));
        }
        for (int x = 0; x < LINE_POINTS; x++) {
            points_to_scores(out, half[0][x], half[1][x], half[2][x], half[3][x], half[4][x]);
            for (int y = 0; y < LINE_POINTS; y++) {
                float *to = scores + y * row + x * deep + c;
                store(to, load(to) + out[y]);
            }
        }
    }
}

/* Weights (2, 2, rows, row) to the points, by strips of columns (25, strips, rows, columns of a strip). */
static void kernel_to_points(float *out, const float *in, int64_t rows, int64_t row, int64_t columns) {
    int64_t corner = rows * row, plane = rows * whole(columns);
    int vecs;
    for (int64_t j = 0, left = whole(columns) / LANES; left > 0; left -= vecs, j += vecs * LANES) {
        vecs = strip_of(left);
        for (int64_t i = 0; i < rows; i++) {
            for (int v = 0; v < vecs; v++) {
                const float *from = in + i * row + j + v * LANES;
                float *to = out + j * rows + (i * vecs + v) * LANES;
                vec half[2][LINE_POINTS], all[LINE_POINTS];
                weights_to_points(half[0], load(from), load(from + corner));
                weights_to_points(half[1], load(from + 2 * corner), load(from + 3 * corner));
                for (int x = 0; x < LINE_POINTS; x++) {
                    weights_to_points(all, half[0][x], half[1][x]);
                    for (int y = 0; y < LINE_POINTS; y++) store(to + (LINE_POINTS * y + x) * plane, all[y]);
                }
            }
        }
    }
}

/* The way back of kernel_to_points for gradients (25, size) to (2, 2, size). */
static void points_to_kernel(float *out, const float *in, int64_t size) {
    for (int64_t i = 0; i < size; i += LANES) {
        vec half[LINE_POINTS][2], all[2];
        for (int y = 0; y < LINE_POINTS; y++) {
            const float *p = in + LINE_POINTS * y * size + i;
            points_to_weights(half[y], load(p), load(p + size), load(p + 2 * size), load(p + 3 * size),
                              load(p + 4 * size));
        }
        for (int x = 0; x < 2; x++) {
            points_to_weights(all, half[0][x], half[1][x], half[2][x], half[3][x], half[4][x]);
            for (int y = 0; y < 2; y++) store(out + (2 * y + x) * size + i, all[y]);
        }
    }
}

/* Logits (25, classes), planes far apart, to those of the cells of a tile (16, row). */
static void tile_to_cells(float *cells, int64_t row, const float *points, int64_t plane, int64_t classes) {
    for (int64_t k = 0; k < classes; k += LANES) {
        vec half[LINE_POINTS][SIDE], out[SIDE];
        for (int y = 0; y < LINE_POINTS; y++) {
            const float *p = points + LINE_POINTS * y * plane + k;
            points_to_cells(half[y], load(p), load(p + plane), load(p + 2 * plane), load(p + 3 * plane),
                            load(p + 4 * plane));
        }
        for (int x = 0; x < SIDE; x++) {
            points_to_cells(out, half[0][x], half[1][x], half[2][x], half[3][x], half[4][x]);
            for (int y = 0; y < SIDE; y++) store(cells + (SIDE * y + x) * row + k, out[y]);
        }
    }
}

/* The way back of tile_to_cells for gradients; what follows the classes is left alone. */
static void tile_from_cells(float *points, int64_t plane, const float *cells, int64_t row, int64_t classes) {
    for (int64_t k = 0; k < classes; k += LANES) {
        vec half[SIDE][LINE_POINTS], out[LINE_POINTS];
        for (int y = 0; y < SIDE; y++) {
            const float *p = cells + SIDE * y * row + k;
            cells_to_points(half[y], load(p), load(p + row), load(p + 2 * row), load(p + 3 * row));
        }
        for (int x = 0; x < LINE_POINTS; x++) {
            cells_to_points(out, half[0][x], half[1][x], half[2][x], half[3][x]);
            for (int y = 0; y < LINE_POINTS; y++) {
                float *to = points + (LINE_POINTS * y + x) * plane + k;
                if (k + LANES <= classes) store(to, out[y]);
                else memcpy(to, &out[y], sizeof(float) * (size_t)(classes - k));
            }
        }
    }
}

#endif
