// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whole calls of the hand-written package: against the float64 loop, on every kind of threads, inside guard pages.

#include "TinyLayer.h"

extern "C" {
#include "runtime/cpu_features.h"
}

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <xmmintrin.h>

using namespace moec::test;

TEST(Forward, every_token_count_matches_the_reference) {
  TinyWeights weights(1);
  TinyLayer tiny(weights);
  for (int64_t t = 1; t <= 130; ++t) {
    std::vector<float> x = randomInput(t, static_cast<unsigned>(t));
    expectReference(weights, x, runTiny(tiny, x));
    ASSERT_FALSE(HasFatalFailure()) << "T = " << t;
  }
}

TEST(Forward, threads_give_the_same_bits) {
  TinyWeights weights(2);
  moec_layer_options two = threadOptions(2), three = threadOptions(3);
  TinyLayer one(weights), pairLayer(weights, &two), tripleLayer(weights, &three);
  for (int64_t t = 1; t <= 130; ++t) {
    std::vector<float> x = randomInput(t, static_cast<unsigned>(t));
    TinyResult want = runTiny(one, x);
    ASSERT_TRUE(runTiny(pairLayer, x) == want) << "T = " << t;
    ASSERT_TRUE(runTiny(tripleLayer, x) == want) << "T = " << t;
  }
}

TEST(Forward, workspace_contents_do_not_matter) {
  TinyWeights weights(3);
  TinyLayer tiny(weights);
  std::vector<float> x = randomInput(37, 5);
  TinyResult want = runTiny(tiny, x, 0);
  for (int poison : {0xff, 0x7f, 0x80, 0x01})
    EXPECT_TRUE(runTiny(tiny, x, poison) == want) << poison;
}

// ---- a host's threads -------------------------------------------------------------------------------------------

static void sequential(void *, int64_t count, void (*body)(void *, int64_t, int32_t), void *argument) {
  for (int64_t i = 0; i < count; ++i)
    body(argument, i, 0);
}

static void reversed(void *, int64_t count, void (*body)(void *, int64_t, int32_t), void *argument) {
  for (int64_t i = count - 1; i >= 0; --i)
    body(argument, i, static_cast<int32_t>(i % 3));
}

static void onThreads(void *, int64_t count, void (*body)(void *, int64_t, int32_t), void *argument) {
  std::vector<std::thread> threads;
  for (int32_t worker = 0; worker < 3; ++worker)
    threads.emplace_back([=] {
      for (int64_t i = worker; i < count; i += 3)
        body(argument, i, worker);
    });
  for (std::thread &thread : threads)
    thread.join();
}

TEST(Forward, parallel_for_gives_the_same_bits) {
  TinyWeights weights(4);
  TinyLayer one(weights);
  for (moec_parallel_for hook : {sequential, reversed, onThreads}) {
    moec_layer_options options = threadOptions(3);
    options.parallel_for = hook;
    TinyLayer hosted(weights, &options);
    for (int64_t t : {1, 2, 7, 64, 129}) {
      std::vector<float> x = randomInput(t, static_cast<unsigned>(t));
      ASSERT_TRUE(runTiny(hosted, x) == runTiny(one, x)) << "T = " << t;
    }
  }
}

static moec_status runHosted(moec_parallel_for hook) {
  TinyWeights weights(4);
  TinyLayer packed(weights);
  moec_layer_options options = threadOptions(3);
  options.parallel_for = hook;
  moec_layer *layer = nullptr;
  EXPECT_EQ(moec_layer_create(tiny_package(), &options, &layer), MOEC_OK);
  size_t bytes = 0;
  moec_layer_workspace_bytes(layer, 8, &bytes);
  AlignedBytes x(8 * hidden * 4), y(8 * hidden * 4), workspace(bytes);
  moec_forward_args args = {};
  args.struct_size = sizeof(args);
  args.num_tokens = 8;
  args.x = x.data();
  args.y = y.data();
  args.workspace = workspace.data();
  args.workspace_bytes = bytes;
  moec_status status = moec_layer_forward(layer, packed.weights, &args);
  moec_layer_destroy(layer);
  return status;
}

TEST(Forward, parallel_for_that_skips_work_is_an_error) {
  EXPECT_EQ(runHosted([](void *, int64_t, void (*)(void *, int64_t, int32_t), void *) {}), MOEC_DEVICE_ERROR);
  EXPECT_EQ(lastError(), "parallel_for ran 0 of 2 bodies, and 0 with an index or worker out of range (workers 0..2)");
}

TEST(Forward, parallel_for_with_a_worker_out_of_range_is_an_error) {
  auto bad = [](void *, int64_t count, void (*body)(void *, int64_t, int32_t), void *argument) {
    for (int64_t i = 0; i < count; ++i)
      body(argument, i, 3);
  };
  EXPECT_EQ(runHosted(bad), MOEC_DEVICE_ERROR);
  EXPECT_EQ(lastError(), "parallel_for ran 0 of 2 bodies, and 2 with an index or worker out of range (workers 0..2)");
}

TEST(Forward, two_threads_share_one_layer) {
  TinyWeights weights(5);
  for (int32_t maxThreads : {1, 3}) {
    moec_layer_options options = threadOptions(maxThreads);
    TinyLayer tiny(weights, &options);
    std::vector<float> x[2] = {randomInput(33, 1), randomInput(70, 2)};
    TinyResult want[2] = {runTiny(tiny, x[0]), runTiny(tiny, x[1])};
    int wrong[2] = {0, 0};
    auto work = [&](int i) {
      for (int repeat = 0; repeat < 50; ++repeat)
        wrong[i] += !(runTiny(tiny, x[i]) == want[i]);
    };
    std::thread other(work, 1);
    work(0);
    other.join();
    EXPECT_EQ(wrong[0] + wrong[1], 0);
  }
}

#ifndef MOEC_TEST_UNDER_TSAN
TEST(Forward, pool_works_in_a_forked_child) {
  TinyWeights weights(6);
  moec_layer_options options = threadOptions(2);
  TinyLayer tiny(weights, &options);
  std::vector<float> x = randomInput(40, 1);
  TinyResult want = runTiny(tiny, x);
  pid_t child = fork();
  if (child == 0) {
    bool same = runTiny(tiny, x) == want && runTiny(tiny, x) == want;
    _exit(same ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(runTiny(tiny, x) == want);
}
#endif

// How often each item of ffn_up was handed to a kernel.
static std::atomic<int> itemRuns[1024];
static std::atomic<int64_t> itemCount;

static void countItems(const moec_call *call, void *const *, void *, int64_t first, int64_t last) {
  itemCount = call->num_items;
  for (int64_t i = first; i < last; ++i)
    ++itemRuns[i];
}

TEST(Forward, every_item_runs_once) {
  EditablePackage edited;
  for (int i : {4, 5, 6})
    edited.functions[static_cast<size_t>(i)] = countItems;
  moec_layer_options hosted = threadOptions(3), pool = threadOptions(3), one = threadOptions(1);
  hosted.parallel_for = reversed;
  for (const moec_layer_options &options : {hosted, pool, one}) {
    TinyLayer tiny(TinyWeights(13), &options, &edited.package);
    for (std::atomic<int> &runs : itemRuns)
      runs = 0;
    runTiny(tiny, randomInput(301, 1));
    ASSERT_GT(itemCount, 100);
    for (int64_t i = 0; i < 1024; ++i)
      ASSERT_EQ(itemRuns[i], i < itemCount ? 1 : 0) << i;
  }
}

// ---- memory -----------------------------------------------------------------------------------------------------

TEST(Forward, touches_nothing_outside_its_buffers) {
  TinyWeights weights(7);
  moec_layer_options options = threadOptions(2);
  TinyLayer tiny(weights, &options);
  for (int64_t t = 1; t <= 130; ++t) {
    size_t bytes = static_cast<size_t>(t * hidden) * sizeof(float), workspaceBytes = tiny.workspaceBytes(t);
    std::vector<float> input = randomInput(t, static_cast<unsigned>(t));
    GuardedBytes x(bytes, 16), y(bytes, 16), workspace(workspaceBytes, 256);
    std::memcpy(x.data(), input.data(), bytes);
    moec_forward_args args = {};
    args.struct_size = sizeof(args);
    args.num_tokens = t;
    args.x = x.data();
    args.y = y.data();
    args.workspace = workspace.data();
    args.workspace_bytes = workspaceBytes;
    ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &args), MOEC_OK) << lastError();
    ASSERT_EQ(std::memcmp(y.data(), runTiny(tiny, input).y.data(), bytes), 0) << "T = " << t;
  }
}

TEST(Forward, workspace_is_monotone_in_tokens) {
  TinyLayer tiny(TinyWeights(8));
  size_t before = 0;
  for (int64_t t = 0; t <= maxTokens; ++t) {
    size_t bytes = tiny.workspaceBytes(t);
    ASSERT_GE(bytes, before) << "T = " << t;
    ASSERT_EQ(bytes % 256, 0u);
    before = bytes;
  }
}

// moec_abi.h's formula by hand for T = 10 and one worker: five slots, four route tables, items, scratch.
TEST(Forward, workspace_follows_the_documented_formula) {
  TinyLayer tiny(TinyWeights(8));
  auto up = [](size_t bytes) { return (bytes + 255) / 256 * 256; };
  size_t t = 10, slots = up(t * 64) + up(t * 8) + up(t * 8) + up(16) + up(t * 48);
  size_t routes = up(20) + 3 * up(t * 8), items = up((t + 4 + 4 + 1) * sizeof(moec_item)), scratch = up(128);
  EXPECT_EQ(tiny.workspaceBytes(10), slots + routes + items + scratch);
}

TEST(Forward, no_tokens_touch_nothing) {
  TinyLayer tiny(TinyWeights(9));
  moec_forward_args args = {};
  args.struct_size = sizeof(args);
  int32_t counts[experts] = {7, 7, 7, 7};
  args.out_counts = counts;
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &args), MOEC_OK) << lastError();
  EXPECT_EQ(counts[0], 7);
}

// ---- routing ----------------------------------------------------------------------------------------------------

// Ids the replaced route kernel writes, cyclic over slots; weights are 0.5 each.
static std::vector<int32_t> forcedIds;

static void forcedRoute(const moec_call *, void *const *args, void *, int64_t first, int64_t last) {
  for (int64_t slot = first * choices; slot < last * choices; ++slot) {
    static_cast<int32_t *>(args[1])[slot] = forcedIds[static_cast<size_t>(slot) % forcedIds.size()];
    static_cast<float *>(args[2])[slot] = 0.5f;
  }
}

static void checkForcedRouting(const std::vector<int32_t> &ids) {
  constexpr int64_t numTokens = 45;
  forcedIds = ids;
  EditablePackage edited;
  edited.functions[3] = forcedRoute;
  TinyWeights weights(10);
  moec_layer_options options = threadOptions(2);
  TinyLayer tiny(weights, &options, &edited.package);
  std::vector<float> x = randomInput(numTokens, 3);
  TinyResult got = runTiny(tiny, x);
  for (int64_t t = 0; t < numTokens; ++t) {
    double want[hidden] = {0};
    for (int64_t slot = t * choices; slot < (t + 1) * choices; ++slot) {
      int32_t id = ids[static_cast<size_t>(slot) % ids.size()];
      if (id < 0 || id >= experts)
        continue;
      for (int64_t i = 0; i < inner; ++i) {
        double gate = 0, up = 0;
        for (int64_t d = 0; d < hidden; ++d) {
          gate += double(weights.gate[(id * inner + i) * hidden + d]) * x[t * hidden + d];
          up += double(weights.up[(id * inner + i) * hidden + d]) * x[t * hidden + d];
        }
        for (int64_t d = 0; d < hidden; ++d)
          want[d] += 0.5 * weights.down[(id * hidden + d) * inner + i] * (gate / (1 + std::exp(-gate)) * up);
      }
    }
    for (int64_t d = 0; d < hidden; ++d)
      ASSERT_NEAR(got.y[t * hidden + d], want[d], 1e-4) << "token " << t;
  }
}

TEST(Forward, routing_patterns) {
  constexpr int32_t most = std::numeric_limits<int32_t>::max(), least = std::numeric_limits<int32_t>::min();
  checkForcedRouting({2});          // every row on one expert
  checkForcedRouting({3, 3, 3, 0}); // first and last only
  checkForcedRouting({0, 1, 0, 2}); // last one empty
  checkForcedRouting({1, 1, 1, 1, 1, 2});
  checkForcedRouting({-1}); // no rows at all
  checkForcedRouting({-1, 0, 4, 1, most, 2, least, 3, -7, 3});
}

TEST(Forward, nan_and_infinite_logits_keep_ids_in_range) {
  TinyWeights weights(11);
  TinyLayer tiny(weights);
  constexpr float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> clean = randomInput(6, 4), x = clean;
  for (int64_t d = 0; d < hidden; ++d) {
    x[1 * hidden + d] = nan;
    x[3 * hidden + d] = inf;
    x[4 * hidden + d] = -inf;
  }
  TinyResult got = runTiny(tiny, x), want = runTiny(tiny, clean);
  for (size_t t = 0; t < 6; ++t) {
    int32_t first = got.ids[t * 2], second = got.ids[t * 2 + 1];
    EXPECT_TRUE(first >= 0 && first < experts && second >= 0 && second < experts && first != second) << t;
  }
  for (size_t t : {0, 2, 5})
    EXPECT_EQ(std::memcmp(&got.y[t * hidden], &want.y[t * hidden], hidden * sizeof(float)), 0) << t;
}

// ---- the machine ------------------------------------------------------------------------------------------------

TEST(Forward, floating_point_mode_of_the_caller_is_kept_and_does_not_matter) {
  TinyWeights weights(12);
  for (float &value : weights.down)
    value *= 1e-38f; // products are denormal: flushing them would show
  moec_layer_options options = threadOptions(2);
  TinyLayer one(weights), two(weights, &options);
  std::vector<float> x = randomInput(50, 6);
  TinyResult want = runTiny(one, x);
  EXPECT_TRUE(std::any_of(want.y.begin(), want.y.end(), [](float y) { return std::fpclassify(y) == FP_SUBNORMAL; }));
  unsigned before = _mm_getcsr();
  for (unsigned mode : {0x3f80u, 0x5f80u, 0x7f80u, 0x9fc0u}) { // round down, up, to zero; flush and denormals as zero
    for (const TinyLayer *tiny : {&one, &two}) {
      size_t bytes = tiny->workspaceBytes(50);
      AlignedBytes input(x.size() * 4), y(x.size() * 4), workspace(bytes);
      std::memcpy(input.data(), x.data(), x.size() * 4);
      moec_forward_args args = {};
      args.struct_size = sizeof(args);
      args.num_tokens = 50;
      args.x = input.data();
      args.y = y.data();
      args.workspace = workspace.data();
      args.workspace_bytes = bytes;
      _mm_setcsr(mode);
      moec_status status = moec_layer_forward(tiny->layer, tiny->weights, &args);
      unsigned after = _mm_getcsr();
      _mm_setcsr(before);
      EXPECT_EQ(status, MOEC_OK);
      EXPECT_EQ(after, mode);
      EXPECT_EQ(std::memcmp(y.data(), want.y.data(), x.size() * 4), 0) << std::hex << mode;
    }
  }
}

static int32_t isaWith(const moec_package *package, const char *variable, int32_t maxIsa,
                       moec_status expected = MOEC_OK) {
  if (variable)
    setenv("MOEC_MAX_ISA", variable, 1);
  else
    unsetenv("MOEC_MAX_ISA");
  moec_layer_options options = threadOptions(1);
  options.max_isa = maxIsa;
  moec_layer *layer = nullptr;
  moec_layer_info info = {};
  info.struct_size = sizeof(info);
  EXPECT_EQ(moec_layer_create(package, &options, &layer), expected) << lastError();
  unsetenv("MOEC_MAX_ISA");
  if (layer)
    moec_layer_get_info(layer, &info);
  moec_layer_destroy(layer);
  return layer ? info.isa : -1;
}

TEST(Forward, isa_is_the_best_allowed) {
  int32_t best = moec_cpu_isa() < MOEC_ISA_AVX2 ? moec_cpu_isa() : MOEC_ISA_AVX2; // the package has baseline and avx2
  EXPECT_EQ(isaWith(tiny_package(), nullptr, 0), best);
  EXPECT_EQ(isaWith(tiny_package(), "", 0), best);
  EXPECT_EQ(isaWith(tiny_package(), "amx", 0), best);
  EXPECT_EQ(isaWith(tiny_package(), "avx2", 0), best);
  EXPECT_EQ(isaWith(tiny_package(), "baseline", 0), MOEC_ISA_BASELINE);
  EXPECT_EQ(isaWith(tiny_package(), nullptr, 1 + MOEC_ISA_BASELINE), MOEC_ISA_BASELINE);
  EXPECT_EQ(isaWith(tiny_package(), "avx512", 1 + MOEC_ISA_BASELINE), MOEC_ISA_BASELINE);
}

// The flag of avx512_bf16 does not say that its dot products are fast: a table of CPU families does, or a package that
// was tuned on such a CPU, or a limit that names it.
TEST(Forward, bf16_dot_is_used_where_it_is_fast) {
  const moec_cpu_model zen4 = {"AuthenticAMD", 0x19, 0x11}, zen3 = {"AuthenticAMD", 0x19, 0x01},
                       zen5 = {"AuthenticAMD", 0x1a, 0x02}, sapphireRapids = {"GenuineIntel", 6, 0x8f}, none = {};
  EXPECT_TRUE(moec_has_fast_bf16_dot(&zen4));
  EXPECT_TRUE(moec_has_fast_bf16_dot(&zen5));
  EXPECT_FALSE(moec_has_fast_bf16_dot(&zen3));
  EXPECT_FALSE(moec_has_fast_bf16_dot(&sapphireRapids));
  EXPECT_FALSE(moec_has_fast_bf16_dot(&none));
  EditablePackage edited;
  edited.header().isa_mask = 1u << MOEC_ISA_AVX512 | 1u << MOEC_ISA_AVX512_BF16;
  for (int i = 0; i < int(edited.header().steps.count); ++i)
    edited.step(i).isa[MOEC_ISA_AVX512] = edited.step(i).isa[MOEC_ISA_AVX512_BF16] = edited.step(i).isa[0];
  if (moec_cpu_isa() < MOEC_ISA_AVX512_BF16)
    GTEST_SKIP() << "this machine has no avx512_bf16";
  moec_cpu_model here = moec_this_cpu();
  int32_t preferred = moec_has_fast_bf16_dot(&here) ? MOEC_ISA_AVX512_BF16 : MOEC_ISA_AVX512;
  EXPECT_EQ(isaWith(&edited.package, nullptr, 0), preferred);
  EXPECT_EQ(isaWith(&edited.package, "avx512_bf16", 0), MOEC_ISA_AVX512_BF16);
  EXPECT_EQ(isaWith(&edited.package, nullptr, 1 + MOEC_ISA_AVX512_BF16), MOEC_ISA_AVX512_BF16);
  EXPECT_EQ(isaWith(&edited.package, "avx512", 0), MOEC_ISA_AVX512);
  edited.header().features |= MOEC_FEATURE_BF16_DOT_TUNED; // on another CPU
  EXPECT_EQ(isaWith(&edited.package, nullptr, 0), preferred);
  std::strcpy(edited.header().dot_vendor, here.vendor);
  edited.header().dot_family = here.family, edited.header().dot_model = here.model;
  EXPECT_EQ(isaWith(&edited.package, nullptr, 0), MOEC_ISA_AVX512_BF16);
  EXPECT_EQ(isaWith(&edited.package, "avx512", 0), MOEC_ISA_AVX512);
}

TEST(Forward, isa_missing_names_what_is_needed) {
  EditablePackage edited;
  edited.header().isa_mask = 1u << MOEC_ISA_AVX2;
  EXPECT_EQ(isaWith(&edited.package, "baseline", 0, MOEC_ISA_MISSING), -1);
  EXPECT_EQ(lastError(), "package tiny needs avx2, this machine and the limits set allow baseline");
}

TEST(Forward, isa_variable_of_unknown_value_is_an_error) {
  EXPECT_EQ(isaWith(tiny_package(), "sse9", 0, MOEC_INVALID_ARGUMENT), -1);
  EXPECT_EQ(lastError(), "MOEC_MAX_ISA is \"sse9\", expected amx, avx512_bf16, avx512, avx2 or baseline");
}
