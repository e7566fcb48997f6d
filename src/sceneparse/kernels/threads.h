/* Work shared by threads, and memory that is kept from call to call. */

#ifndef SCENEPARSE_THREADS_H
#define SCENEPARSE_THREADS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define HUGE_PAGE 2097152 /* bytes */

#define MOST_THREADS 256 /* of our own */

/* GOMP_parallel: the work is done by PyTorch's own threads, which are there already. Null: by our own. */
typedef void (*Parallel)(void (*)(void *), void *, unsigned, unsigned);

/* ---- threads ---- */

typedef struct {
    void (*task)(const void *, int64_t index, int64_t worker);
    const void *what;
    int64_t tasks;
    atomic_llong next, workers;
} Team;

static void work(void *shared) {
    Team *team = shared;
    int64_t worker = atomic_fetch_add(&team->workers, 1), i;
    while ((i = atomic_fetch_add(&team->next, 1)) < team->tasks) team->task(team->what, i, worker);
}

static void *work_alone(void *shared) {
    work(shared);
    return NULL;
}

static void share(Parallel parallel, int64_t threads, void (*task)(const void *, int64_t, int64_t),
                  const void *what, int64_t tasks) {
    Team team = {.task = task, .what = what, .tasks = tasks};
    int64_t n = threads < tasks ? threads : tasks;
    if (parallel && n > 1) {
        parallel(work, &team, (unsigned)n, 0);
        return;
    }
    pthread_t others[MOST_THREADS];
    int started = 0;
    while (started < n - 1 && started < MOST_THREADS &&
           !pthread_create(&others[started], NULL, work_alone, &team))
        started++;
    work(&team); /* all of it, if no other could be started */
    while (started > 0) pthread_join(others[--started], NULL);
}

/* ---- memory that calls leave to those after them: fresh pages cost as much as the arithmetic ---- */

#define KEPT 16
static _Atomic(void *) kept[KEPT];

/* Fresh memory in pages of 2 MB where the system has them: 500 times fewer faults. */
static inline void large_pages(void *memory, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    uintptr_t begin = ((uintptr_t)memory + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uintptr_t end = ((uintptr_t)memory + bytes) / HUGE_PAGE * HUGE_PAGE;
    if (begin < end) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

typedef struct {
    int64_t floats;
    char line[56];
} Head;

static void let_go(float *memory) {
    void *head = (Head *)memory - 1;
    for (int i = 0; i < KEPT; i++) {
        void *none = NULL;
        if (atomic_compare_exchange_strong(&kept[i], &none, head)) return;
    }
    free(head);
}

static float *take(int64_t floats) {
    for (int i = 0; i < KEPT; i++) {
        Head *head = atomic_exchange(&kept[i], NULL);
        if (!head) continue;
        if (head->floats >= floats) return (float *)(head + 1);
        free(head);
    }
    size_t bytes = (size_t)floats * sizeof(float) + sizeof(Head);
    bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    Head *head = aligned_alloc(HUGE_PAGE, bytes);
    if (!head) return NULL;
    large_pages(head, bytes);
    head->floats = floats;
    return (float *)(head + 1);
}

#endif
