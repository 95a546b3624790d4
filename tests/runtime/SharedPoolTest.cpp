// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One pool for many layers: as many threads as one layer has, the results of layers of their own, and calls at the same
// time that run alone or take turns.

#include "TinyLayer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <sched.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace moec::test;

namespace {

struct Pool {
  moec_pool *pool = nullptr;
  explicit Pool(moec_pool_options options) {
    options.struct_size = sizeof(options);
    EXPECT_EQ(moec_pool_create(&options, &pool), MOEC_OK) << lastError();
  }
  ~Pool() { moec_pool_destroy(pool); }
  Pool(const Pool &) = delete;
};

moec_pool_options poolOptions(int32_t threads, int32_t whenBusy = MOEC_BUSY_ALONE) {
  moec_pool_options options = {};
  options.struct_size = sizeof(options);
  options.threads = threads;
  options.when_busy = whenBusy;
  return options;
}

moec_layer_options onPool(moec_pool *pool) {
  moec_layer_options options = {};
  options.struct_size = sizeof(options);
  options.pool = pool;
  return options;
}

size_t threadsOfProcess() {
  auto tasks = std::filesystem::directory_iterator("/proc/self/task");
  return size_t(std::distance(begin(tasks), end(tasks)));
}

void expectPoolError(const moec_pool_options &options, moec_status status, const std::string &text) {
  moec_pool *pool = reinterpret_cast<moec_pool *>(8);
  EXPECT_STREQ(moec_status_name(moec_pool_create(&options, &pool)), moec_status_name(status));
  EXPECT_EQ(lastError(), text);
  EXPECT_EQ(pool, reinterpret_cast<moec_pool *>(8)) << "written although refused";
}

void expectLayerError(const moec_layer_options &options, moec_status status, const std::string &text) {
  moec_layer *layer = nullptr;
  EXPECT_STREQ(moec_status_name(moec_layer_create(tiny_package(), &options, &layer)), moec_status_name(status));
  EXPECT_EQ(lastError(), text);
  EXPECT_EQ(layer, nullptr);
}

} // namespace

TEST(SharedPool, six_layers_have_the_threads_of_one) {
  Pool pool(poolOptions(4));
  TinyWeights source(1);
  moec_layer_options options = onPool(pool.pool);
  std::vector<std::unique_ptr<TinyLayer>> layers;
  size_t before = threadsOfProcess();
  std::vector<float> x = randomInput(300, 1);
  TinyResult want = runTiny(TinyLayer(source), x);
  for (int i = 0; i < 6; ++i) {
    layers.push_back(std::make_unique<TinyLayer>(source, &options));
    EXPECT_TRUE(runTiny(*layers.back(), x) == want);
  }
  EXPECT_LE(threadsOfProcess(), before + 3);
  moec_layer_info info = {};
  info.struct_size = sizeof(info);
  ASSERT_EQ(moec_layer_get_info(layers[0]->layer, &info), MOEC_OK);
  EXPECT_EQ(info.max_threads, 4);
  moec_layer_options own = threadOptions(4);
  TinyLayer same(source, &own);
  EXPECT_EQ(layers[0]->workspaceBytes(300), same.workspaceBytes(300));
}

TEST(SharedPool, calls_at_the_same_time_agree) {
  for (int32_t whenBusy : {MOEC_BUSY_ALONE, MOEC_BUSY_WAIT}) {
    Pool pool(poolOptions(3, whenBusy));
    TinyWeights source(2), other(3);
    moec_layer_options options = onPool(pool.pool);
    TinyLayer first(source, &options), second(other, &options);
    std::vector<float> x = randomInput(200, 4);
    TinyResult wantFirst = runTiny(TinyLayer(source), x), wantSecond = runTiny(TinyLayer(other), x);
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
      callers.emplace_back([&, caller] {
        for (int i = 0; i < 40; ++i)
          wrong += !(runTiny(caller % 2 ? first : second, x) == (caller % 2 ? wantFirst : wantSecond));
      });
    for (std::thread &caller : callers)
      caller.join();
    EXPECT_EQ(wrong, 0) << whenBusy;
  }
}

namespace {
// Calls whose first step waits for `release`, and what others did meanwhile.
struct Blocker {
  std::atomic<bool> entered{false}, release{false};
  static void onEvent(void *context, const moec_probe_event *event) {
    auto *blocker = static_cast<Blocker *>(context);
    if (event->event != MOEC_PROBE_STEP_BEGIN || event->step != 0)
      return;
    blocker->entered = true;
    while (!blocker->release)
      std::this_thread::yield();
  }
};

// One call of 8 tokens.
struct Call {
  AlignedBytes x, y, workspace;
  moec_forward_args args = {};
  explicit Call(const TinyLayer &tiny, const moec_probe *probe = nullptr)
      : x(8 * hidden * 4), y(8 * hidden * 4), workspace(tiny.workspaceBytes(8)) {
    args.struct_size = sizeof(args);
    args.num_tokens = 8;
    args.x = x.data();
    args.y = y.data();
    args.workspace = workspace.data();
    args.workspace_bytes = workspace.size();
    args.probe = probe;
  }
};
} // namespace

TEST(SharedPool, busy_pool_is_waited_for_or_not) {
  for (int32_t whenBusy : {MOEC_BUSY_ALONE, MOEC_BUSY_WAIT}) {
    Pool pool(poolOptions(2, whenBusy));
    TinyWeights source(2);
    moec_layer_options options = onPool(pool.pool);
    TinyLayer first(source, &options), second(source, &options);
    Blocker blocker;
    moec_probe probe = {};
    probe.struct_size = sizeof(probe);
    probe.on_event = Blocker::onEvent;
    probe.context = &blocker;
    Call blocked(first, &probe), free(second);
    std::atomic<bool> done{false};
    std::thread holder([&] { EXPECT_EQ(moec_layer_forward(first.layer, first.weights, &blocked.args), MOEC_OK); });
    while (!blocker.entered)
      std::this_thread::yield();
    std::thread waiter([&] {
      EXPECT_EQ(moec_layer_forward(second.layer, second.weights, &free.args), MOEC_OK);
      done = true;
    });
    for (int i = 0; i < 2000 && !done && whenBusy == MOEC_BUSY_ALONE; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (whenBusy == MOEC_BUSY_WAIT)
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(done, whenBusy == MOEC_BUSY_ALONE);
    blocker.release = true;
    holder.join();
    waiter.join();
    EXPECT_TRUE(done);
  }
}

TEST(SharedPool, outlives_its_creator_as_long_as_layers_use_it) {
  TinyWeights source(5);
  std::vector<float> x = randomInput(64, 6);
  TinyResult want = runTiny(TinyLayer(source), x);
  moec_pool *pool = nullptr;
  moec_pool_options three = poolOptions(3);
  ASSERT_EQ(moec_pool_create(&three, &pool), MOEC_OK);
  moec_layer_options options = onPool(pool);
  size_t before = threadsOfProcess();
  {
    TinyLayer tiny(source, &options);
    moec_pool_destroy(pool);
    EXPECT_TRUE(runTiny(tiny, x) == want);
    expectLayerError(options, MOEC_INVALID_HANDLE, "pool is not a live moec_pool");
  }
  for (int i = 0; i < 1000 && threadsOfProcess() > before; ++i) // joined threads leave /proc a moment later
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(threadsOfProcess(), before);
}

TEST(SharedPool, tells_its_threads_when_they_start) {
  std::atomic<uint32_t> workers{0};
  moec_pool_options options = poolOptions(4);
  options.on_thread_start = [](void *context, int32_t worker) {
    *static_cast<std::atomic<uint32_t> *>(context) |= 1u << worker;
  };
  options.on_thread_start_context = &workers;
  Pool pool(options);
  EXPECT_EQ(workers, 0u) << "started before a call needs them";
  moec_layer_options layer = onPool(pool.pool);
  TinyWeights source(1);
  TinyLayer tiny(source, &layer); // packing is the first region
  for (int i = 0; i < 2000 && workers != 0xe; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(workers, 0xeu);
}

TEST(SharedPool, zeros_are_the_defaults) {
  moec_pool *pool = nullptr;
  ASSERT_EQ(moec_pool_create(nullptr, &pool), MOEC_OK);
  moec_layer_options options = onPool(pool);
  moec_layer *layer = nullptr;
  ASSERT_EQ(moec_layer_create(tiny_package(), &options, &layer), MOEC_OK) << lastError();
  moec_layer_info info = {};
  info.struct_size = sizeof(info);
  ASSERT_EQ(moec_layer_get_info(layer, &info), MOEC_OK);
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  EXPECT_EQ(info.max_threads, CPU_COUNT(&set));
  moec_layer_destroy(layer);
  moec_pool_destroy(pool);
  moec_pool_destroy(nullptr);
}

#ifndef MOEC_TEST_UNDER_TSAN
TEST(SharedPool, forked_child_starts_threads_of_its_own) {
  for (int32_t whenBusy : {MOEC_BUSY_ALONE, MOEC_BUSY_WAIT}) {
    Pool pool(poolOptions(3, whenBusy));
    TinyWeights source(7);
    moec_layer_options options = onPool(pool.pool);
    TinyLayer tiny(source, &options);
    std::vector<float> x = randomInput(100, 8);
    TinyResult want = runTiny(tiny, x);
    pid_t child = fork();
    if (child == 0)
      _exit(runTiny(tiny, x) == want ? 0 : 1);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(runTiny(tiny, x) == want);
  }
}

#endif

TEST(SharedPool, refuses_options) {
  moec_pool_options options = poolOptions(2);
  std::string size = std::to_string(sizeof(options));
  options.struct_size = 0;
  expectPoolError(options, MOEC_INVALID_ARGUMENT, "options: struct_size is 0, expected " + size);
  options.struct_size = 400;
  expectPoolError(options, MOEC_VERSION_MISMATCH, "options: struct_size is 400, this runtime knows " + size);
  expectPoolError(poolOptions(-1), MOEC_INVALID_ARGUMENT, "options: threads is -1, expected 0 to 1024");
  expectPoolError(poolOptions(1025), MOEC_INVALID_ARGUMENT, "options: threads is 1025, expected 0 to 1024");
  expectPoolError(poolOptions(2, 2), MOEC_INVALID_ARGUMENT, "options: when_busy is 2, expected 0 (alone) or 1 (wait)");
  options = poolOptions(2);
  options.spin_us = -2;
  expectPoolError(options, MOEC_INVALID_ARGUMENT, "options: spin_us is -2, expected -1 or more");
  options = poolOptions(2);
  options.reserved = 1;
  expectPoolError(options, MOEC_INVALID_ARGUMENT, "options: reserved is 1, expected 0");
  EXPECT_EQ(moec_pool_create(&options, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "out_pool is NULL");
}

TEST(SharedPool, layer_refuses_what_contradicts_its_pool) {
  Pool pool(poolOptions(3));
  moec_layer_options options = onPool(pool.pool);
  options.max_threads = 2;
  expectLayerError(options, MOEC_INVALID_ARGUMENT, "options: max_threads is 2, expected 0 or the pool's 3");
  options = onPool(pool.pool);
  options.spin_us = 10;
  expectLayerError(options, MOEC_INVALID_ARGUMENT, "options: spin_us is 10, expected 0: the pool has its own");
  options = onPool(pool.pool);
  options.parallel_for = [](void *, int64_t, void (*)(void *, int64_t, int32_t), void *) {};
  expectLayerError(options, MOEC_INVALID_ARGUMENT, "options: pool and parallel_for are both set, expected one of them");
  options = onPool(pool.pool);
  options.max_threads = 3;
  moec_layer *layer = nullptr;
  EXPECT_EQ(moec_layer_create(tiny_package(), &options, &layer), MOEC_OK) << lastError();
  moec_layer_destroy(layer);
}
