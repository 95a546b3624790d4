/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * pool.c - a host's options in -> a pool of threads that its layers share out.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "runtime/threads.h"

#include "runtime/status.h"

#include <sched.h>
#include <unistd.h>

/* CPUs that the calling thread may run on; at least 1. */
static int32_t usable_cpus(void) {
  long count = sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    count = CPU_COUNT(&set);
#endif
  return count < 1 ? 1 : count > MOEC_MAX_THREADS ? MOEC_MAX_THREADS : (int32_t)count;
}

static moec_status check_options(const moec_pool_options *options) {
  if (options->struct_size < sizeof(*options))
    return moec_error(MOEC_INVALID_ARGUMENT, "options: struct_size is %zu, expected %zu", options->struct_size,
                      sizeof(*options));
  if (options->struct_size > sizeof(*options))
    return moec_error(MOEC_VERSION_MISMATCH, "options: struct_size is %zu, this runtime knows %zu",
                      options->struct_size, sizeof(*options));
  if (options->threads < 0 || options->threads > MOEC_MAX_THREADS)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: threads is %d, expected 0 to %d", (int)options->threads,
                      MOEC_MAX_THREADS);
  if (options->spin_us < -1)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: spin_us is %d, expected -1 or more", (int)options->spin_us);
  if (options->when_busy != MOEC_BUSY_ALONE && options->when_busy != MOEC_BUSY_WAIT)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: when_busy is %d, expected 0 (alone) or 1 (wait)",
                      (int)options->when_busy);
  if (options->reserved)
    return moec_error(MOEC_INVALID_ARGUMENT, "options: reserved is %d, expected 0", (int)options->reserved);
  return MOEC_OK;
}

moec_status moec_pool_create(const moec_pool_options *options, moec_pool **out_pool) {
  moec_pool_options chosen = {.struct_size = sizeof(chosen)};
  if (!out_pool)
    return moec_error(MOEC_NULL_POINTER, "out_pool is NULL");
  moec_status status = options ? check_options(options) : MOEC_OK;
  if (status != MOEC_OK)
    return status;
  if (options)
    chosen = *options;
  if (!chosen.threads)
    chosen.threads = usable_cpus();
  moec_pool *pool = moec_pool_make(&chosen);
  if (!pool)
    return moec_error(MOEC_OUT_OF_MEMORY, "no memory for a pool of %d threads", (int)chosen.threads);
  *out_pool = pool;
  return MOEC_OK;
}
