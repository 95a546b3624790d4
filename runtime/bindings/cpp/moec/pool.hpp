// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// pool.hpp - threads that layers share, and steps of a call for threads of the host.
#ifndef MOEC_POOL_HPP
#define MOEC_POOL_HPP

#include "result.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace moec {
inline namespace v0 {

struct PoolOptions {
  int32_t threads = 0;       // the calling thread included; 0 = the CPUs this thread may use
  int32_t spin_us = 0;       // how long idle workers spin; 0 = 50, -1 = not at all
  bool wait_if_busy = false; // wait for a turn, instead of running on the calling thread alone
  std::function<void(int32_t worker)> on_thread_start; // first on each thread that the pool starts
};

class Pool {
public:
  Pool() = default;             // no pool
  Pool(const Pool &) = default; // also for rvalues: a handle is never empty
  Pool &operator=(const Pool &) = default;
  static Result<Pool> create(PoolOptions options = {}) {
    auto state = std::make_shared<State>();
    state->on_thread_start = std::move(options.on_thread_start);
    moec_pool_options c = {};
    c.struct_size = sizeof c;
    c.threads = options.threads;
    c.spin_us = options.spin_us;
    c.when_busy = options.wait_if_busy ? MOEC_BUSY_WAIT : MOEC_BUSY_ALONE;
    if (state->on_thread_start) {
      c.on_thread_start = [](void *context, int32_t worker) noexcept {
        static_cast<State *>(context)->on_thread_start(worker);
      };
      c.on_thread_start_context = state.get();
    }
    moec_status status = moec_pool_create(&c, &state->pool);
    if (status != MOEC_OK)
      return last_error(status);
    return Pool(std::move(state));
  }
  moec_pool *get() const { return state ? state->pool : nullptr; }

private:
  struct State {
    moec_pool *pool = nullptr;
    std::function<void(int32_t)> on_thread_start;
    State() = default;
    State(const State &) = delete;
    State &operator=(const State &) = delete;
    ~State() { moec_pool_destroy(pool); }
  };
  explicit Pool(std::shared_ptr<State> made) : state(std::move(made)) {}
  std::shared_ptr<State> state;
};

// One step of a call, as a host's threads run it: body(i, worker) once for every i.
class Body {
public:
  Body(void (*function)(void *, int64_t, int32_t), void *context) : run(function), argument(context) {}
  void operator()(int64_t i, int32_t worker) const { run(argument, i, worker); }

private:
  void (*run)(void *, int64_t, int32_t);
  void *argument;
};

} // namespace v0
} // namespace moec
#endif
