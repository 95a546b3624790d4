/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * threads.c - a region in -> its units claimed by the caller and parked threads.
 *
 * One 64-bit word says everything a worker needs to claim work:
 *
 *   word = step number << 32 | units of this step nobody has claimed
 *
 * A claim is a compare-and-swap that takes one off the low half, so it fails when the step changed meanwhile. What a
 * step is made of may be read after a claim: it changes only when all units of the step are finished, and the claimed
 * one is not. Whoever finishes the last unit prepares the next step and publishes a new word. A thread that is late,
 * or never gets a processor, therefore delays nobody: no step waits for arrivals, only for units.
 *
 * Idle workers spin for spin_us, then sleep on a condition variable. A publisher looks at the number of sleepers after
 * its (sequentially consistent) store of the word, a sleeper looks at the word after raising that number: one of the
 * two sees the other.
 */
#include "runtime/threads.h"

#include "runtime/cpu_features.h"
#include "runtime/status.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define POOL_MAGIC UINT64_C(0x6d6f6563706f6f6c)

enum { DEFAULT_SPIN_US = 50, SPINS_PER_CLOCK = 32 };

typedef struct moec_worker {
  struct moec_pool *pool;
  pthread_t thread;
  int32_t index;
} moec_worker;

struct moec_pool {
  _Atomic uint64_t magic; /* cleared when its creator destroys it; layers may still use it */
  atomic_int users;
  int32_t max_threads, waits; /* waits: calls take turns */
  int64_t spin_ns;
  void (*on_thread_start)(void *context, int32_t worker);
  void *on_thread_start_context;
  atomic_long owner_pid; /* process the threads live in; 0 while a forked child takes the pool over */
  atomic_flag busy;      /* a region is running */
  int32_t num_started;   /* threads that exist, guarded by busy */
  int start_tried;

  const moec_region *region; /* valid while a unit is claimed */
  uint32_t step_units;       /* the same */
  _Alignas(64) atomic_ullong word;
  _Alignas(64) atomic_uint units_done;
  _Alignas(64) atomic_int region_done; /* the last step is finished: the caller may return */

  pthread_mutex_t mutex;
  pthread_cond_t work, done; /* workers sleep on the first, the caller on the second */
  atomic_int work_sleepers, done_sleepers;
  atomic_int stop;

  pthread_mutex_t turn_mutex; /* of the two counters; waiting callers sleep on `turn` */
  pthread_cond_t turn;
  uint64_t next_turn, turn_served; /* a caller takes the first; the one whose number is served has the pool */
  moec_worker workers[];           /* max_threads - 1 */
};

static uint64_t step_of(unsigned long long word) { return word >> 32; }
static uint32_t units_of(unsigned long long word) { return (uint32_t)word; }

static int64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Makes step `step` of the region visible, or its end when no units are left. */
static void publish(moec_pool *pool, uint64_t step, uint32_t units) {
  pool->step_units = units;
  atomic_store_explicit(&pool->units_done, 0, memory_order_relaxed);
  if (units == 0)
    atomic_store(&pool->region_done, 1);
  else
    atomic_store(&pool->word, (unsigned long long)step << 32 | units);
  /* NOTE: a single unit is run by whoever is awake, the publisher if nobody else; waking would cost more than it. */
  int wake_workers = units > 1 && atomic_load(&pool->work_sleepers) > 0;
  int wake_caller = units != 1 && atomic_load(&pool->done_sleepers) > 0;
  if (!wake_workers && !wake_caller)
    return;
  pthread_mutex_lock(&pool->mutex);
  if (wake_workers)
    pthread_cond_broadcast(&pool->work);
  if (wake_caller)
    pthread_cond_signal(&pool->done);
  pthread_mutex_unlock(&pool->mutex);
}

/* Claims and runs units until none is left to claim. */
static void run_units(moec_pool *pool, int32_t worker) {
  unsigned long long word = atomic_load_explicit(&pool->word, memory_order_acquire);
  while (units_of(word) > 0) {
    if (!atomic_compare_exchange_weak_explicit(&pool->word, &word, word - 1, memory_order_acq_rel,
                                               memory_order_acquire))
      continue;
    const moec_region *region = pool->region;
    uint32_t units = pool->step_units;
    region->run_unit(region->context, units - units_of(word), worker);
    if (atomic_fetch_add_explicit(&pool->units_done, 1, memory_order_acq_rel) + 1 == units)
      publish(pool, step_of(word) + 1, region->next_step(region->context));
    word = atomic_load_explicit(&pool->word, memory_order_acquire);
  }
}

/* Has a waiter something to do? Workers wait for units or the end of the pool, the caller also for its region's end. */
static int has_news(moec_pool *pool, int is_caller) {
  return units_of(atomic_load(&pool->word)) > 0 || atomic_load(is_caller ? &pool->region_done : &pool->stop);
}

static void wait_for_news(moec_pool *pool, int is_caller) {
  int64_t deadline = 0;
  for (unsigned spins = 0; !has_news(pool, is_caller); ++spins) {
    moec_cpu_relax();
    if (spins % SPINS_PER_CLOCK)
      continue;
    int64_t time = now_ns();
    if (!deadline)
      deadline = time + pool->spin_ns;
    if (time >= deadline)
      break;
  }
  if (has_news(pool, is_caller))
    return;
  atomic_int *sleepers = is_caller ? &pool->done_sleepers : &pool->work_sleepers;
  pthread_mutex_lock(&pool->mutex);
  atomic_fetch_add(sleepers, 1);
  while (!has_news(pool, is_caller))
    pthread_cond_wait(is_caller ? &pool->done : &pool->work, &pool->mutex);
  atomic_fetch_sub(sleepers, 1);
  pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument) {
  moec_worker *self = argument;
  if (self->pool->on_thread_start)
    self->pool->on_thread_start(self->pool->on_thread_start_context, self->index);
  moec_fp_mode_enter();
  while (!atomic_load(&self->pool->stop)) {
    run_units(self->pool, self->index);
    wait_for_news(self->pool, 0);
  }
  return NULL;
}

/* NOTE: signals are the host's business: its handlers must not find themselves on our threads. */
static void start_threads(moec_pool *pool) {
  sigset_t all, before;
  sigfillset(&all);
  pool->start_tried = 1;
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
    return;
  for (int32_t i = 0; i < pool->max_threads - 1; ++i) {
    moec_worker *worker = &pool->workers[i];
    worker->pool = pool;
    worker->index = i + 1;
    if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
      break;
    ++pool->num_started;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The state of a pool without threads. The caller owns the pool alone. */
static void reset_state(moec_pool *pool) {
  pool->num_started = 0;
  pool->start_tried = 0;
  atomic_init(&pool->word, 0);
  atomic_init(&pool->units_done, 0);
  atomic_init(&pool->region_done, 0);
  atomic_init(&pool->work_sleepers, 0);
  atomic_init(&pool->done_sleepers, 0);
  atomic_init(&pool->stop, 0);
  pthread_mutex_init(&pool->mutex, NULL);
  pthread_cond_init(&pool->work, NULL);
  pthread_cond_init(&pool->done, NULL);
  pthread_mutex_init(&pool->turn_mutex, NULL);
  pthread_cond_init(&pool->turn, NULL);
  pool->next_turn = pool->turn_served = 0;
}

moec_pool *moec_pool_make(const moec_pool_options *options) {
  size_t bytes = sizeof(moec_pool) + (size_t)options->threads * sizeof(moec_worker);
  moec_pool *pool = aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (!pool)
    return NULL;
  int32_t spin_us = options->spin_us;
  pool->max_threads = options->threads;
  pool->waits = options->when_busy == MOEC_BUSY_WAIT;
  pool->spin_ns = (int64_t)(spin_us == 0 ? DEFAULT_SPIN_US : spin_us < 0 ? 0 : spin_us) * 1000;
  pool->on_thread_start = options->on_thread_start;
  pool->on_thread_start_context = options->on_thread_start_context;
  atomic_init(&pool->magic, POOL_MAGIC);
  atomic_init(&pool->users, 1);
  pool->region = NULL;
  pool->step_units = 0;
  reset_state(pool);
  atomic_flag_clear(&pool->busy);
  atomic_init(&pool->owner_pid, (long)getpid());
  return pool;
}

void moec_pool_retain(moec_pool *pool) { atomic_fetch_add(&pool->users, 1); }

int32_t moec_pool_threads(const moec_pool *pool) { return pool->max_threads; }

void moec_pool_release(moec_pool *pool) {
  if (!pool || atomic_fetch_sub(&pool->users, 1) > 1)
    return;
  if (atomic_load(&pool->owner_pid) == (long)getpid()) {
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->stop, 1);
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (int32_t i = 0; i < pool->num_started; ++i)
      pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->turn);
    pthread_mutex_destroy(&pool->turn_mutex);
  }
  free(pool);
}

static void wait_for_turn(moec_pool *pool) {
  pthread_mutex_lock(&pool->turn_mutex);
  uint64_t own = pool->next_turn++;
  while (own != pool->turn_served)
    pthread_cond_wait(&pool->turn, &pool->turn_mutex);
  pthread_mutex_unlock(&pool->turn_mutex);
}

static void end_turn(moec_pool *pool) {
  pthread_mutex_lock(&pool->turn_mutex);
  ++pool->turn_served;
  if (pool->next_turn != pool->turn_served)
    pthread_cond_broadcast(&pool->turn);
  pthread_mutex_unlock(&pool->turn_mutex);
}

moec_status moec_check_pool(const moec_pool *pool) {
  return atomic_load(&pool->magic) == POOL_MAGIC ? MOEC_OK
                                                 : moec_error(MOEC_INVALID_HANDLE, "pool is not a live moec_pool");
}

void moec_pool_destroy(moec_pool *pool) {
  if (!pool || atomic_exchange(&pool->magic, 0) != POOL_MAGIC)
    return;
  moec_pool_release(pool);
}

/* Takes the pool for one region, waiting for it if its callers do; 0 when another region has it. A forked child finds
 * the parent's state without its threads: one thread of the child resets it, others run alone meanwhile. */
static int acquire(moec_pool *pool) {
  long pid = (long)getpid();
  long owner = atomic_load(&pool->owner_pid);
  if (owner != pid) {
    if (owner == 0 || !atomic_compare_exchange_strong(&pool->owner_pid, &owner, 0))
      return 0;
    reset_state(pool);
    atomic_flag_clear(&pool->busy);
    atomic_store(&pool->owner_pid, pid);
  }
  if (pool->waits)
    wait_for_turn(pool);
  return pool->waits || !atomic_flag_test_and_set_explicit(&pool->busy, memory_order_acquire);
}

void moec_pool_run(moec_pool *pool, const moec_region *region) {
  if (!acquire(pool)) {
    moec_region_run_alone(region);
    return;
  }
  if (!pool->start_tried)
    start_threads(pool);
  pool->region = region;
  atomic_store(&pool->region_done, 0);
  publish(pool, step_of(atomic_load(&pool->word)) + 1, region->next_step(region->context));
  while (!atomic_load(&pool->region_done)) {
    run_units(pool, 0);
    if (!atomic_load(&pool->region_done))
      wait_for_news(pool, 1);
  }
  if (pool->waits)
    end_turn(pool);
  else
    atomic_flag_clear_explicit(&pool->busy, memory_order_release);
}

void moec_region_run_alone(const moec_region *region) {
  for (uint32_t units; (units = region->next_step(region->context)) > 0;)
    for (uint32_t unit = 0; unit < units; ++unit)
      region->run_unit(region->context, unit, 0);
}

typedef struct hosted_step {
  const moec_region *region;
  int64_t units;
  int32_t max_threads;
  atomic_llong units_run, out_of_range;
} hosted_step;

static void run_hosted_unit(void *argument, int64_t i, int32_t worker) {
  hosted_step *step = argument;
  if (i < 0 || i >= step->units || worker < 0 || worker >= step->max_threads) {
    atomic_fetch_add(&step->out_of_range, 1);
    return;
  }
  uint32_t mode = moec_fp_mode_enter();
  step->region->run_unit(step->region->context, (uint32_t)i, worker);
  moec_fp_mode_leave(mode);
  atomic_fetch_add(&step->units_run, 1);
}

moec_status moec_region_run_hosted(const moec_region *region, moec_parallel_for parallel_for,
                                   void *parallel_for_context, int32_t max_threads) {
  for (uint32_t units; (units = region->next_step(region->context)) > 0;) {
    hosted_step step = {.region = region, .units = units, .max_threads = max_threads};
    parallel_for(parallel_for_context, units, run_hosted_unit, &step);
    long long ran = atomic_load(&step.units_run), bad = atomic_load(&step.out_of_range);
    if (ran != step.units || bad)
      return moec_error(
          MOEC_DEVICE_ERROR,
          "parallel_for ran %lld of %lld bodies, and %lld with an index or worker out of range (workers 0..%d)", ran,
          (long long)step.units, bad, (int)max_threads - 1);
  }
  return MOEC_OK;
}
