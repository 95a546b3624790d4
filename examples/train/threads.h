// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// threads.h - a loop in -> its iterations on all cores. The model's own loops and moec's layers share these threads.
#ifndef TRAIN_THREADS_H
#define TRAIN_THREADS_H

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace train {

class Threads {
public:
  using Body = std::function<void(int64_t i, int worker)>;

  explicit Threads(int count); // the calling thread included; 0 = as many as the machine has cores
  ~Threads();
  Threads(const Threads &) = delete;
  Threads &operator=(const Threads &) = delete;

  int count() const { return static_cast<int>(workers.size()) + 1; }

  // Runs body(i, worker) for every i in [0, n), in any order, and returns when all are done. Bodies do not throw and
  // do not call run.
  void run(int64_t n, const Body &body);

  // The same as moec_layer_options.parallel_for expects it; `context` is the Threads.
  static void run_for_moec(void *context, int64_t n, void (*body)(void *argument, int64_t i, int32_t worker),
                           void *argument);

private:
  void work(int worker);
  void take(int worker);

  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable begin, end;
  const Body *loop = nullptr;
  int64_t iterations = 0;
  std::atomic<int64_t> next{0};
  uint64_t loops = 0; // how many have begun
  int busy = 0;       // workers that have not finished the current one
  bool stop = false;
};

} // namespace train
#endif
