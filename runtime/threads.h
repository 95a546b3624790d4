/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * threads.h - a region (steps of independent units) in -> every unit run once, steps in order, on 1..max_threads
 * workers.
 *
 * All parallel work of the runtime is a region: a whole forward call is one, packing weights is another.
 */
#ifndef MOEC_RUNTIME_THREADS_H
#define MOEC_RUNTIME_THREADS_H

#include "runtime/moec.h"

typedef struct moec_region {
  void *context;
  uint32_t (*next_step)(void *context);                           /* makes the next step ready: its units, 0 = done */
  void (*run_unit)(void *context, uint32_t unit, int32_t worker); /* worker is in [0, max_threads)                  */
} moec_region;

typedef struct moec_pool moec_pool;

/* A pool of max_threads - 1 threads, none of them started yet. NULL when out of memory. */
moec_pool *moec_pool_create(int32_t max_threads, int32_t spin_us);

/* Joins the threads. No region may be running. In a forked child there is nothing to join. */
void moec_pool_destroy(moec_pool *pool);

/* Runs `region` with the calling thread as worker 0. Between two steps next_step runs on one thread while no unit runs.
 * The first call starts the threads. While the pool runs another thread's region, this call runs on its own thread
 * alone, as worker 0. Never fails: if threads cannot be started, fewer workers do the same work. */
void moec_pool_run(moec_pool *pool, const moec_region *region);

/* Runs `region` on the calling thread alone. */
void moec_region_run_alone(const moec_region *region);

/* Runs `region` with one call of the host's parallel_for per step. MOEC_DEVICE_ERROR when it did not run every unit
 * once on a worker in range; the region is then left half done. */
moec_status moec_region_run_hosted(const moec_region *region, moec_parallel_for parallel_for,
                                   void *parallel_for_context, int32_t max_threads);

#endif
