// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "threads.h"

namespace train {

Threads::Threads(int count) {
  if (count <= 0)
    count = static_cast<int>(std::thread::hardware_concurrency());
  for (int worker = 1; worker < count; ++worker)
    workers.emplace_back([this, worker] { work(worker); });
}

Threads::~Threads() {
  {
    std::lock_guard<std::mutex> lock(mutex);
    stop = true;
  }
  begin.notify_all();
  for (std::thread &thread : workers)
    thread.join();
}

void Threads::take(int worker) {
  for (int64_t i = next++; i < iterations; i = next++)
    (*loop)(i, worker);
}

void Threads::work(int worker) {
  uint64_t seen = 0;
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    begin.wait(lock, [&] { return stop || loops != seen; });
    if (stop)
      return;
    seen = loops;
    lock.unlock();
    take(worker);
    lock.lock();
    if (--busy == 0)
      end.notify_one();
  }
}

void Threads::run(int64_t n, const Body &body) {
  if (workers.empty() || n <= 1) {
    for (int64_t i = 0; i < n; ++i)
      body(i, 0);
    return;
  }
  {
    std::lock_guard<std::mutex> lock(mutex);
    loop = &body;
    iterations = n;
    next = 0;
    busy = static_cast<int>(workers.size());
    ++loops;
  }
  begin.notify_all();
  take(0);
  std::unique_lock<std::mutex> lock(mutex);
  end.wait(lock, [&] { return busy == 0; });
}

void Threads::run_for_moec(void *context, int64_t n, void (*body)(void *, int64_t, int32_t), void *argument) {
  static_cast<Threads *>(context)->run(n, [&](int64_t i, int worker) { body(argument, i, worker); });
}

} // namespace train
