// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Calls as programs make them: from many threads, from a forked child, from threads that end; what info says.

#include "FfiCall.h"

#include <gtest/gtest.h>

#include <malloc.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace moec::test;

TEST(FfiUse, threads_share_the_layer) {
  TinyWeights source(1);
  TinyLayer tiny(source);
  std::vector<TinyResult> want;
  std::vector<std::vector<float>> inputs;
  for (int64_t t = 1; t <= 16; ++t) {
    inputs.push_back(randomInput(t * 7, unsigned(t)));
    want.push_back(runTiny(tiny, inputs.back()));
  }
  std::vector<std::thread> threads;
  std::vector<int> wrong(8);
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      AlignedBytes own(16384, 0xff); // the first calls of the process come all at once
      Tensor mine(own.data(), {16384}, u8);
      pack(mine, source);
      for (int round = 0; round < 40; ++round) {
        size_t which = size_t(i + round) % inputs.size();
        CpuCall call(inputs[which]);
        callFfi(__tvm_ffi_call, call.args(mine));
        wrong[size_t(i)] += !(call.result() == want[which]);
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(wrong, std::vector<int>(8));
}

#ifndef MOEC_TEST_UNDER_TSAN
TEST(FfiUse, a_forked_child_calls_too) {
  TinyWeights source(1);
  TinyLayer tiny(source);
  PackedTiny packed(source);
  std::vector<float> x = randomInput(300, 1);
  TinyResult want = runTiny(tiny, x);
  CpuCall before(x);
  callFfi(__tvm_ffi_call, before.args(packed.tensor)); // starts the threads
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    bool same = true;
    for (int i = 0; i < 20; ++i) {
      CpuCall call(x);
      callFfi(__tvm_ffi_call, call.args(packed.tensor));
      same &= call.result() == want;
    }
    _exit(same ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}
#endif

#if !defined(MOEC_TEST_UNDER_TSAN) && !defined(__SANITIZE_ADDRESS__)
static size_t memoryInUse() {
  struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

TEST(FfiUse, threads_that_end_leave_no_memory) {
  TinyWeights source(1);
  PackedTiny packed(source);
  std::vector<float> x = randomInput(maxTokens, 1);
  size_t workspace = size_t(callFfi(__tvm_ffi_workspace_bytes, {valueOf(maxTokens)}).as.integer), before = 0;
  for (int i = 0; i < 60; ++i) {
    std::thread([&] {
      CpuCall call(x);
      callFfi(__tvm_ffi_call, call.args(packed.tensor));
    }).join();
    if (i == 9)
      before = memoryInUse();
  }
  EXPECT_LT(memoryInUse(), before + workspace);
}
#endif

TEST(FfiUse, memory_of_a_thread_grows_with_its_calls) {
  TinyWeights source(1);
  TinyLayer tiny(source);
  PackedTiny packed(source);
  auto bytesOf = [](int64_t tokens) { return callFfi(__tvm_ffi_workspace_bytes, {valueOf(tokens)}).as.integer; };
  ASSERT_GT(bytesOf(maxTokens), 65536); // more than the least that a thread takes
  std::thread([&] {
    for (int64_t t : {int64_t(1), maxTokens, int64_t(2), maxTokens}) {
      std::vector<float> x = randomInput(t, unsigned(t));
      CpuCall call(x);
      callFfi(__tvm_ffi_call, call.args(packed.tensor));
      EXPECT_TRUE(call.result() == runTiny(tiny, x)) << t;
    }
  }).join();
}

TEST(FfiUse, info_lists_arguments_and_roles) {
  std::string text = textOf(callFfi(__tvm_ffi_info, {}));
  for (const char *part :
       {"\"name\": \"tiny\"", "\"device\": \"cpu\"", "\"hidden\": 8", "\"max_tokens\": 512", "\"weights_bytes\": 16384",
        "\"inputs\": [\n    {\"name\": \"x\", \"dtype\": \"f32\", \"shape\": [\"T\", 8], \"optional\": false}\n  ]",
        "{\"name\": \"y\", \"dtype\": \"f32\", \"shape\": [\"T\", 8], \"optional\": false}",
        "{\"name\": \"out_weights\", \"dtype\": \"f32\", \"shape\": [\"T\", 2], \"optional\": true}",
        "{\"name\": \"counts\", \"dtype\": \"i32\", \"shape\": [4], \"optional\": true}",
        "\"roles\": [\n    {\"name\": \"router.weight\", \"shape\": [4, 8], \"gradient\": false},\n"
        "    {\"name\": \"experts.gate\", \"shape\": [4, 6, 8], \"gradient\": false}"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
}
