// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Counts every allocation of this process while calls run: there are none.

#include "TinyCuda.h"

#include <gtest/gtest.h>

#include <atomic>

static std::atomic<bool> counting{false};
static std::atomic<int> allocations{0};

extern "C" {
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);

void *malloc(size_t bytes) {
  allocations += counting;
  return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes) {
  allocations += counting;
  return __libc_calloc(count, bytes);
}
void *realloc(void *memory, size_t bytes) {
  allocations += counting;
  return __libc_realloc(memory, bytes);
}
void *aligned_alloc(size_t align, size_t bytes) {
  allocations += counting;
  return __libc_memalign(align, bytes);
}
}

using namespace moec::test;

TEST(Allocation, forward_allocates_nothing) {
  TinyWeights source(1);
  moec_layer_options two = threadOptions(2);
  for (const moec_layer_options *options : {static_cast<moec_layer_options *>(nullptr), &two}) {
    TinyLayer tiny(source, options);
    runTiny(tiny, randomInput(130, 1)); // starts the pool's threads, once per layer
    for (int64_t t : {1, 5, 64, 130}) {
      size_t bytes = static_cast<size_t>(t * hidden) * sizeof(float);
      AlignedBytes x(bytes), y(bytes), workspace(tiny.workspaceBytes(t));
      moec_forward_args args = {};
      args.struct_size = sizeof(args);
      args.num_tokens = t;
      args.x = x.data();
      args.y = y.data();
      args.workspace = workspace.data();
      args.workspace_bytes = workspace.size();
      allocations = 0;
      counting = true;
      moec_status status = moec_layer_forward(tiny.layer, tiny.weights, &args);
      args.num_tokens = -1;
      moec_status refused = moec_layer_forward(tiny.layer, tiny.weights, &args);
      counting = false;
      EXPECT_EQ(status, MOEC_OK);
      EXPECT_EQ(refused, MOEC_TOKENS_OUT_OF_RANGE);
      EXPECT_EQ(allocations, 0) << "T = " << t;
    }
  }
}

// The fake driver's own allocations are kept out: its launch and context calls are replaced by ones that do nothing.
TEST(Allocation, cuda_forward_allocates_nothing) {
  FakeDriver driver;
  addTinyKernels(driver);
  TinyCuda tiny(driver, TinyWeights(1));
  TinyCall call(driver, tiny, randomInput(20, 1));
  driver.table.launch_kernel_ex = [](const moec_cuda_launch_config *, void *, void **, void **) { return 0; };
  driver.table.ctx_get_current = [](void **context) {
    *context = nullptr;
    return 0;
  };
  driver.table.ctx_push_current = [](void *) { return 0; };
  driver.table.ctx_pop_current = [](void **) { return 0; };
  allocations = 0;
  counting = true;
  moec_status status = moec_layer_forward(tiny.layer, tiny.weights, &call.args);
  counting = false;
  EXPECT_EQ(status, MOEC_OK);
  EXPECT_EQ(allocations, 0);
}

TEST(Allocation, counter_sees_an_allocation) {
  allocations = 0;
  counting = true;
  moec_layer *layer = nullptr;
  moec_status status = moec_layer_create(tiny_package(), nullptr, &layer);
  counting = false;
  EXPECT_EQ(status, MOEC_OK);
  EXPECT_GT(allocations, 0);
  moec_layer_destroy(layer);
}
