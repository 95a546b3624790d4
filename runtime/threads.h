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

#ifdef __cplusplus
extern "C" {
#endif

enum { MOEC_MAX_THREADS = 1024 };

typedef struct moec_region {
  void *context;
  uint32_t (*next_step)(void *context);                           /* makes the next step ready: its units, 0 = done */
  void (*run_unit)(void *context, uint32_t unit, int32_t worker); /* worker is in [0, max_threads)                  */
} moec_region;

/* A pool of options->threads - 1 threads (options are checked, threads is at least 1), none of them started yet, with
 * one user. NULL when out of memory. */
moec_pool *moec_pool_make(const moec_pool_options *options);

/* A pool has several users: who created it, and layers. The release of the last one joins the threads; no region may be
 * running. In a forked child there is nothing to join. NULL may be released. */
void moec_pool_retain(moec_pool *pool);
void moec_pool_release(moec_pool *pool);

int32_t moec_pool_threads(const moec_pool *pool);

/* MOEC_OK, or MOEC_INVALID_HANDLE: its creator destroyed it. */
moec_status moec_check_pool(const moec_pool *pool);

/* Runs `region` with the calling thread as worker 0. Between two steps next_step runs on one thread while no unit runs.
 * The first call starts the threads. While the pool runs another thread's region, this call waits, or runs on its own
 * thread alone, as worker 0, as the pool's options say. Never fails: if threads cannot be started, fewer workers do the
 * same work. */
void moec_pool_run(moec_pool *pool, const moec_region *region);

/* Runs `region` on the calling thread alone. */
void moec_region_run_alone(const moec_region *region);

/* Runs `region` with one call of the host's parallel_for per step. MOEC_DEVICE_ERROR when it did not run every unit
 * once on a worker in range; the region is then left half done. */
moec_status moec_region_run_hosted(const moec_region *region, moec_parallel_for parallel_for,
                                   void *parallel_for_context, int32_t max_threads);

#ifdef __cplusplus
}
#endif
#endif
