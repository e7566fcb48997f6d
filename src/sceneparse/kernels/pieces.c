/* Jobs in pieces that know nothing of each other, shared by threads. */

#include "threads.h"

typedef struct {
    int (*piece)(const void *, int64_t);
    const void *job;
    atomic_int *worst;
} Pieces;

static void one_piece(const void *what, int64_t index, int64_t worker) {
    (void)worker;
    const Pieces *all = what;
    int status = all->piece(all->job, index), worst = atomic_load(all->worst);
    while (status > worst && !atomic_compare_exchange_weak(all->worst, &worst, status)) continue;
}

/* Do every piece; the greatest status. */
int sceneparse_pieces(Parallel parallel, int64_t threads, int (*piece)(const void *, int64_t),
                      const void *job, int64_t pieces) {
    atomic_int worst = 0;
    Pieces all = {piece, job, &worst};
    share(parallel, threads, one_piece, &all, pieces);
    return atomic_load(&worst);
}
