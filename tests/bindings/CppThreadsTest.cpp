// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec.hpp: pools, threads of the host, and calls at the same time.

#include "CppLayer.h"

#include <atomic>
#include <thread>

using namespace moec;
using namespace moec::test;

namespace {

// Bodies on `threads` threads, worker w those with i % threads == w.
void onThreads(int32_t threads, int64_t count, const Body &body) {
  std::vector<std::thread> started;
  for (int32_t worker = 0; worker < threads; ++worker)
    started.emplace_back([=] {
      for (int64_t i = worker; i < count; i += threads)
        body(i, worker);
    });
  for (std::thread &thread : started)
    thread.join();
}

} // namespace

TEST(CppThreads, a_hook_of_the_host_gives_the_same_bits) {
  TinyWeights source(4);
  std::vector<float> x = randomInput(65, 2);
  Layer alone = tinyLayer();
  LayerOptions options;
  options.threads = 3;
  std::atomic<int> calls{0};
  options.parallel_for = [&](int64_t count, const Body &body) {
    ++calls;
    onThreads(3, count, body);
  };
  Layer hosted = tinyLayer(options);
  EXPECT_EQ(runCpp(hosted, *hosted.pack(tensorsOf(source)), x), runCpp(alone, *alone.pack(tensorsOf(source)), x));
  EXPECT_GT(calls, 0);
}

TEST(CppThreads, a_hook_that_leaves_bodies_out_is_an_error) {
  LayerOptions options;
  options.threads = 2;
  std::atomic<bool> lazy{false};
  options.parallel_for = [&](int64_t count, const Body &body) {
    for (int64_t i = lazy ? 1 : 0; i < count; ++i)
      body(i, 0);
  };
  Layer layer = tinyLayer(options);
  Weights weights = *layer.pack(tensorsOf(TinyWeights(1)));
  Buffer workspace = *layer.workspace(2);
  std::vector<float> x = randomInput(2, 1), y(x.size());
  lazy = true;
  Result<void> result = layer.forward(weights).x(x).y(y).run(workspace);
  EXPECT_EQ(result.error().status, MOEC_DEVICE_ERROR);
}

TEST(CppThreads, a_pool_starts_its_threads_with_the_callers_function) {
  TinyWeights source(5);
  std::vector<float> x = randomInput(65, 2);
  std::atomic<int> started{0};
  {
    PoolOptions threads;
    threads.threads = 3;
    threads.spin_us = -1;
    threads.wait_if_busy = true;
    threads.on_thread_start = [&](int32_t worker) { started += worker; };
    LayerOptions options;
    options.pool = *Pool::create(threads);
    Layer layer = tinyLayer(options);
    options = {};
    EXPECT_EQ(layer.info().max_threads, 3);
    expectReference(source, x, runCpp(layer, *layer.pack(tensorsOf(source)), x));
  }
  EXPECT_EQ(started, 1 + 2); // joined by now
}

TEST(CppThreads, threads_share_a_layer_and_its_weights) {
  TinyWeights source(6);
  LayerOptions options;
  options.threads = 2;
  Layer layer = tinyLayer(options);
  Weights weights = *layer.pack(tensorsOf(source));
  std::vector<float> x = randomInput(9, 2);
  TinyResult expected = runCpp(layer, weights, x);
  std::atomic<int> equal{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&equal, &x, &expected, layer, weights] {
      for (int i = 0; i < 20; ++i)
        equal += runCpp(layer, weights, x) == expected;
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(equal, 80);
}
