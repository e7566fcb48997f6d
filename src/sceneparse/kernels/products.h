/* Matrix products: rows x columns of c from inner products of a and b. Columns are taken in whole vectors.

   A block of c is held in registers while the sum runs; a strip of columns of b stays in the innermost cache
   while all rows of a pass. a is read as it lies. */

#ifndef SCENEPARSE_PRODUCTS_H
#define SCENEPARSE_PRODUCTS_H

#include "vectors.h"

#define INLINE static inline __attribute__((always_inline))

static inline int64_t whole(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

/* Some rows by some vectors, all in registers. */
INLINE void product_block(float *c, int64_t c_row, const float *a, int64_t a_row, int64_t a_step,
                          const float *b, int64_t b_row, int64_t inner, const int add, const int rows,
                          const int vecs) {
    vec sum[6][3];
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vecs; j++) sum[i][j] = splat(0);
    if (add)
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < vecs; j++) __builtin_prefetch(c + i * c_row + j * LANES, 1);
    for (int64_t k = 0; k < inner; k++, a += a_step, b += b_row) {
        vec right[3];
        for (int j = 0; j < vecs; j++) right[j] = load(b + j * LANES);
        for (int i = 0; i < rows; i++) {
            vec left = splat(a[i * a_row]);
            for (int j = 0; j < vecs; j++) sum[i][j] += left * right[j];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vecs; j++) {
            float *to = c + i * c_row + j * LANES;
            store(to, add ? load(to) + sum[i][j] : sum[i][j]);
        }
}

INLINE void product_strip(float *c, int64_t c_row, const float *a, int64_t a_row, int64_t a_step,
                          const float *b, int64_t b_row, int64_t rows, int64_t inner, const int add,
                          const int high, const int vecs) {
    int64_t i = 0;
#define BLOCK_OF(n) \
    product_block(c + i * c_row, c_row, a + i * a_row, a_row, a_step, b, b_row, inner, add, n, vecs)
    for (; i + high <= rows; i += high) BLOCK_OF(high);
    switch (rows - i) {
    case 1: BLOCK_OF(1); break;
    case 2: BLOCK_OF(2); break;
    case 3: BLOCK_OF(3); break;
    case 4: BLOCK_OF(4); break;
    case 5: BLOCK_OF(5); break;
    }
#undef BLOCK_OF
}

/* Vectors of the next strip of columns, where so many are left. */
static inline int strip_of(int64_t left) { return left == 3 ? 3 : left == 1 ? 1 : 2; }

/* c = a b or c += a b, with a (rows, inner) and b (strips, inner, columns of a strip). A strip of b stays in
   the innermost cache while all rows of a pass. */
INLINE void product_by_strips(float *c, int64_t c_row, const float *a, int64_t a_row, const float *b,
                              int64_t rows, int64_t inner, int64_t columns, const int add) {
    int64_t j = 0, left = whole(columns) / LANES;
    for (; left > 3 || left == 2; left -= 2, j += 2 * LANES)
        product_strip(c + j, c_row, a, a_row, 1, b + j * inner, 2 * LANES, rows, inner, add, 6, 2);
    if (left == 3) product_strip(c + j, c_row, a, a_row, 1, b + j * inner, 3 * LANES, rows, inner, add, 4, 3);
    if (left == 1) product_strip(c + j, c_row, a, a_row, 1, b + j * inner, LANES, rows, inner, add, 6, 1);
}

static void product(float *c, int64_t c_row, const float *a, int64_t a_row, const float *b, int64_t rows,
                    int64_t inner, int64_t columns) {
    product_by_strips(c, c_row, a, a_row, b, rows, inner, columns, 0);
}

static void add_product(float *c, int64_t c_row, const float *a, int64_t a_row, const float *b, int64_t rows,
                        int64_t inner, int64_t columns) {
    product_by_strips(c, c_row, a, a_row, b, rows, inner, columns, 1);
}

/* c += a b with a (inner, rows) and b (inner, columns). */
static void add_turned_product(float *c, int64_t c_row, const float *a, int64_t a_row, const float *b,
                               int64_t b_row, int64_t rows, int64_t inner, int64_t columns) {
    int64_t j = 0, left = whole(columns) / LANES;
    for (; left > 3 || left == 2; left -= 2, j += 2 * LANES)
        product_strip(c + j, c_row, a, 1, a_row, b + j, b_row, rows, inner, 1, 6, 2);
    if (left == 3) product_strip(c + j, c_row, a, 1, a_row, b + j, b_row, rows, inner, 1, 4, 3);
    if (left == 1) product_strip(c + j, c_row, a, 1, a_row, b + j, b_row, rows, inner, 1, 6, 1);
}

#endif
