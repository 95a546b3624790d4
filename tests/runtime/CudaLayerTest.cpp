// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CUDA layers on the fake driver: results, what is launched and when, contexts, and every way create can be refused.

#include "TinyCuda.h"

#include <gtest/gtest.h>

using namespace moec::test;

namespace {

class CudaLayer : public testing::Test {
protected:
  CudaLayer() : source(1) { addTinyKernels(driver); }

  void expectCreate(moec_status status, const std::string &text, int32_t device = -1,
                    const moec_package *package = tiny_cuda_package()) {
    moec_layer_options options = cudaOptions(driver, device);
    moec_layer *layer = nullptr;
    EXPECT_STREQ(moec_status_name(moec_layer_create(package, &options, &layer)), moec_status_name(status));
    EXPECT_EQ(lastError(), text);
    EXPECT_EQ(layer, nullptr);
    EXPECT_EQ(driver.retained, 0);
    EXPECT_EQ(driver.modules, 0);
  }

  std::vector<std::string> launched() const {
    std::vector<std::string> names;
    for (const FakeLaunch &launch : driver.launches)
      names.push_back(launch.kernel);
    return names;
  }

  FakeDriver driver;
  TinyWeights source;
};

} // namespace

TEST_F(CudaLayer, every_token_count_matches_the_reference) {
  for (int major : {9, 8, 10}) {
    driver.major = major;
    TinyCuda tiny(driver, source);
    for (int64_t t = 1; t <= 70; ++t) {
      std::vector<float> x = randomInput(t, static_cast<unsigned>(t));
      TinyCall call(driver, tiny, x);
      ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
      expectReference(source, x, call.result());
      ASSERT_FALSE(HasFatalFailure()) << "T = " << t;
    }
  }
}

TEST_F(CudaLayer, same_answer_as_the_cpu_layer) {
  TinyLayer cpu(source);
  TinyCuda tiny(driver, source);
  std::vector<float> x = randomInput(37, 3);
  TinyCall call(driver, tiny, x);
  ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
  TinyResult want = runTiny(cpu, x), got = call.result();
  EXPECT_EQ(got.ids, want.ids);
  EXPECT_EQ(got.counts, want.counts);
  EXPECT_EQ(got.logits, want.logits);
  for (size_t i = 0; i < want.y.size(); ++i)
    EXPECT_NEAR(got.y[i], want.y[i], 1e-5);
}

TEST_F(CudaLayer, optional_outputs_may_be_left_out) {
  TinyCuda tiny(driver, source);
  std::vector<float> x = randomInput(9, 3);
  TinyCall call(driver, tiny, x), bare(driver, tiny, x);
  bare.args.out_logits = bare.args.out_weights = nullptr;
  bare.args.out_ids = bare.args.out_counts = nullptr;
  ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
  driver.launches.clear();
  ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &bare.args), MOEC_OK) << lastError();
  EXPECT_EQ(bare.result().y, call.result().y);
  EXPECT_EQ(launched(),
            (std::vector<std::string>{"router", "route", "dispatch", "ffn_up_sm_90a", "ffn_down_sm_90a", "combine"}));
}

TEST_F(CudaLayer, info) {
  TinyCuda tiny(driver, source);
  moec_layer_info info = {};
  info.struct_size = sizeof(info);
  ASSERT_EQ(moec_layer_get_info(tiny.layer, &info), MOEC_OK) << lastError();
  EXPECT_EQ(info.device, MOEC_DEVICE_CUDA);
  EXPECT_EQ(info.cuda_sm, 90);
  EXPECT_STREQ(info.isa_name, "sm_90a");
  EXPECT_EQ(info.isa, -1);
  info.cuda_sm = 7;
  info.struct_size = 96;
  ASSERT_EQ(moec_layer_get_info(tiny.layer, &info), MOEC_OK) << lastError();
  EXPECT_EQ(info.cuda_sm, 7) << "written beyond struct_size";
}

// ---- launches ---------------------------------------------------------------------------------------------------

TEST_F(CudaLayer, launches_by_token_count_with_their_grids) {
  TinyCuda tiny(driver, source);
  int stream = 0;
  TinyCall small(driver, tiny, randomInput(5, 1)), large(driver, tiny, randomInput(16, 1));
  large.args.stream = &stream;
  ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &small.args), MOEC_OK) << lastError();
  ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &large.args), MOEC_OK) << lastError();
  ASSERT_EQ(driver.launches.size(), 14u);
  auto expect = [&](size_t i, unsigned grid, unsigned shared, void *onStream, bool overlaps) {
    const FakeLaunch &launch = driver.launches[i];
    EXPECT_EQ(launch.grid, grid) << i;
    EXPECT_EQ(launch.block, 128u) << i;
    EXPECT_EQ(launch.shared, shared) << i;
    EXPECT_EQ(launch.stream, onStream) << i;
    EXPECT_EQ(launch.overlaps, overlaps) << i;
  };
  expect(0, 2, 0, nullptr, false); // ceil(5 / 4)
  expect(1, 2, 0, nullptr, true);
  expect(2, 1, 0, nullptr, true);
  expect(3, 6, 50000, nullptr, true); // min(2*5 + 4, 2 * 3 SMs)
  expect(5, 5, 0, nullptr, true);
  expect(6, 1, 0, nullptr, false);
  expect(7, 4, 0, &stream, false);
  expect(10, 6, 70000, &stream, true);
  expect(12, 16, 0, &stream, true);
}

TEST_F(CudaLayer, overlap_needs_compute_capability_9) {
  driver.major = 8;
  TinyCuda tiny(driver, source);
  TinyCall call(driver, tiny, randomInput(5, 1));
  ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
  for (const FakeLaunch &launch : driver.launches)
    EXPECT_FALSE(launch.overlaps) << launch.kernel;
}

TEST_F(CudaLayer, shared_memory_is_set_once_to_the_maximum) {
  TinyCuda tiny(driver, source);
  EXPECT_EQ(driver.sharedCalls, 1);
  EXPECT_EQ(driver.sharedOfKernel["ffn_up_sm_90a"], 70000);
}

TEST_F(CudaLayer, forward_calls_nothing_but_launches) {
  TinyCuda tiny(driver, source);
  TinyCall call(driver, tiny, randomInput(5, 1));
  driver.calls.clear();
  ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
  std::vector<std::string> want = {"cuCtxGetCurrent", "cuCtxPushCurrent"};
  want.insert(want.end(), 7, "cuLaunchKernelEx");
  want.push_back("cuCtxPopCurrent");
  EXPECT_EQ(driver.calls, want);
}

TEST_F(CudaLayer, no_tokens_no_calls) {
  TinyCuda tiny(driver, source);
  moec_forward_args args = {};
  args.struct_size = sizeof(args);
  driver.calls.clear();
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &args), MOEC_OK) << lastError();
  EXPECT_TRUE(driver.calls.empty());
}

TEST_F(CudaLayer, a_failing_launch_is_named) {
  const char *steps[] = {"router", "route", "dispatch", "ffn_up", "ffn_down", "combine", "counts"};
  const char *kernels[] = {"router", "route", "dispatch", "ffn_up_sm_90a", "ffn_down_sm_90a", "combine", "counts"};
  TinyCuda tiny(driver, source);
  std::vector<float> x = randomInput(5, 1);
  for (int i = 0; i < 7; ++i) {
    TinyCall call(driver, tiny, x);
    driver.launches.clear();
    driver.failAt("cuLaunchKernelEx", i, MOEC_CUDA_LAUNCH_FAILED);
    EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_DEVICE_ERROR);
    EXPECT_EQ(lastError(), std::string(steps[i]) + ": kernel " + kernels[i] +
                               " cannot be launched: CUDA_ERROR_LAUNCH_FAILED (words)");
    EXPECT_EQ(driver.launches.size(), static_cast<size_t>(i)) << "launched after a failure";
    EXPECT_TRUE(driver.contexts.empty());
    ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
    expectReference(source, x, call.result());
  }
  TinyCall call(driver, tiny, x);
  driver.failAt("cuLaunchKernelEx", 0, 12345);
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_DEVICE_ERROR);
  EXPECT_EQ(lastError(), "router: kernel router cannot be launched: unknown error (no text)");
}

TEST_F(CudaLayer, grid_too_large) {
  EditableCuda edited;
  edited.launch(0, 6).units = {int64_t(1) << 32, 0, 0};
  TinyCuda tiny(driver, source, &edited.package);
  TinyCall call(driver, tiny, randomInput(2, 1));
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_TOKENS_OUT_OF_RANGE);
  EXPECT_EQ(lastError(), "combine: 2 tokens make a grid of 8589934592 blocks, at most 2147483647");
  EXPECT_TRUE(driver.launches.empty());
}

// ---- arguments --------------------------------------------------------------------------------------------------

TEST_F(CudaLayer, forward_arguments) {
  TinyCuda tiny(driver, source);
  TinyCall call(driver, tiny, randomInput(6, 1));
  moec_forward_args valid = call.args;
  auto expect = [&](moec_status status, const std::string &text) {
    EXPECT_STREQ(moec_status_name(moec_layer_forward(tiny.layer, tiny.weights, &call.args)), moec_status_name(status));
    EXPECT_EQ(lastError(), text);
    EXPECT_TRUE(driver.launches.empty());
    call.args = valid;
  };
  std::string bytes = std::to_string(call.workspaceBytes);
  --call.args.workspace_bytes;
  expect(MOEC_WORKSPACE_TOO_SMALL,
         "workspace has " + std::to_string(call.workspaceBytes - 1) + " bytes, 6 tokens need " + bytes);
  call.args.workspace = static_cast<char *>(call.args.workspace) + 128;
  expect(MOEC_ALIGNMENT, "workspace is not 256-byte aligned");
  call.args.x = static_cast<const char *>(call.args.x) + 8;
  expect(MOEC_ALIGNMENT, "x is not 16-byte aligned");
  call.args.y = call.args.workspace;
  expect(MOEC_OVERLAP, "y and workspace share bytes");
  call.args.y = static_cast<char *>(tiny.packed.data()) + 4096;
  expect(MOEC_OVERLAP, "y and weights share bytes");
  call.args.num_tokens = 513;
  expect(MOEC_TOKENS_OUT_OF_RANGE, "num_tokens is 513, expected 0 to 512");
  call.args.struct_size = 84;
  expect(MOEC_INVALID_ARGUMENT, "args: struct_size is 84, expected " + std::to_string(sizeof(moec_forward_args)) + "");
  call.args.struct_size = 80;
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
  for (const FakeLaunch &launch : driver.launches)
    EXPECT_EQ(launch.stream, nullptr);
}

TEST_F(CudaLayer, weights_of_the_other_device) {
  TinyLayer cpu(source, nullptr, tiny_cuda_package());
  TinyCuda tiny(driver, source);
  TinyCall call(driver, tiny, randomInput(6, 1));
  EXPECT_EQ(moec_layer_forward(tiny.layer, cpu.weights, &call.args), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "weights are not packed for sm_90a, where the layer runs");
  EXPECT_EQ(moec_layer_forward(cpu.layer, tiny.weights, &call.args), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "weights are not packed for the CPU, where the layer runs");
  moec_layer *second = nullptr;
  moec_layer_options options = cudaOptions(driver, 1);
  ASSERT_EQ(moec_layer_create(tiny_cuda_package(), &options, &second), MOEC_OK) << lastError();
  EXPECT_EQ(moec_layer_forward(second, tiny.weights, &call.args), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "weights are on CUDA device 0, the layer runs on device 1");
  moec_layer_destroy(second);
  int stream = 0;
  call.args.stream = &stream;
  EXPECT_EQ(moec_layer_forward(cpu.layer, cpu.weights, &call.args), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "stream is set, but the layer runs on the CPU, expected NULL");
}

TEST_F(CudaLayer, workspace_is_slots_routes_and_tables) {
  TinyCuda tiny(driver, source);
  auto up = [](int64_t bytes) { return static_cast<size_t>((bytes + 255) / 256 * 256); };
  for (int64_t t : {0, 1, 31, 512}) {
    size_t bytes = 0, slots = up(64 * t) + up(8 * t) + up(8 * t) + up(16) + up(48 * t);
    ASSERT_EQ(moec_layer_workspace_bytes(tiny.layer, t, &bytes), MOEC_OK);
    EXPECT_EQ(bytes, slots + up(20) + 3 * up(8 * t) + up(16 * t + 64)) << t;
  }
}

// ---- contexts ---------------------------------------------------------------------------------------------------

TEST_F(CudaLayer, callers_context_is_kept) {
  int other = 0;
  driver.contexts = {&other};
  {
    TinyCuda tiny(driver, source); // device -1: the current context's
    EXPECT_EQ(driver.retained, 0);
    EXPECT_EQ(driver.contexts, std::vector<void *>{&other});
    TinyCall call(driver, tiny, randomInput(3, 1));
    driver.calls.clear();
    EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
    EXPECT_EQ(driver.calls.front(), "cuCtxGetCurrent");
    EXPECT_EQ(driver.calls.back(), "cuLaunchKernelEx") << "no push where the context is current";
    driver.contexts.clear();
    EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
    EXPECT_TRUE(driver.contexts.empty());
  }
  driver.contexts = {&other};
  moec_layer_options options = cudaOptions(driver, 1);
  moec_layer *layer = nullptr;
  ASSERT_EQ(moec_layer_create(tiny_cuda_package(), &options, &layer), MOEC_OK) << lastError();
  EXPECT_EQ(driver.retained, 1) << "another device's context is current: the primary one is used";
  EXPECT_EQ(driver.contexts, std::vector<void *>{&other});
  moec_layer_destroy(layer);
  EXPECT_EQ(driver.contexts, std::vector<void *>{&other});
  EXPECT_EQ(driver.retained, 0);
  EXPECT_EQ(driver.modules, 0);
}

TEST_F(CudaLayer, context_that_cannot_be_made_current) {
  TinyCuda tiny(driver, source);
  TinyCall call(driver, tiny, randomInput(3, 1));
  driver.failAt("cuCtxPushCurrent", 0, MOEC_CUDA_INVALID_VALUE);
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_DEVICE_ERROR);
  EXPECT_EQ(lastError(), "CUDA device 0: the layer's context cannot be made current: CUDA_ERROR_INVALID_VALUE (words)");
}

// ---- create -----------------------------------------------------------------------------------------------------

TEST_F(CudaLayer, devices) {
  expectCreate(MOEC_INVALID_ARGUMENT, "options: cuda_device is 3, 1 + the ordinal of a device, and the machine has 2",
               2);
  expectCreate(MOEC_INVALID_ARGUMENT, "options: cuda_device is -2, expected 0, or 1 + a device's ordinal", -3);
  driver.numDevices = 0;
  expectCreate(MOEC_UNSUPPORTED_DEVICE, "the NVIDIA driver knows no CUDA device");
  driver.failAt("cuInit", 0, MOEC_CUDA_NO_DEVICE);
  expectCreate(MOEC_UNSUPPORTED_DEVICE, "the NVIDIA driver cannot be used: CUDA_ERROR_NO_DEVICE (words)");
}

TEST_F(CudaLayer, compute_capability_without_kernels) {
  driver.major = 7;
  driver.minor = 5;
  expectCreate(MOEC_UNSUPPORTED_DEVICE,
               "package tiny holds kernels for sm_90a, sm_80, CUDA device 0 (Fake GPU) is sm_75");
}

TEST_F(CudaLayer, images_are_tried_in_order) {
  driver.refusedImages = {"ELF sm_90a"};
  {
    TinyCuda tiny(driver, source);
    EXPECT_EQ(driver.image, ".version 8.0 sm_90a");
  }
  driver.refusedImages.insert(".version 8.0 sm_90a");
  expectCreate(MOEC_UNSUPPORTED_DEVICE,
               "package tiny: the driver accepts none of the 2 images for sm_90a: CUDA_ERROR_INVALID_IMAGE (words)");
  driver.imageLog = "ptxas fatal: too new\nmore";
  expectCreate(MOEC_UNSUPPORTED_DEVICE,
               "package tiny: the driver accepts none of the 2 images for sm_90a; it says: ptxas fatal: too new: "
               "CUDA_ERROR_INVALID_IMAGE (words)");
  driver.imageLog.clear();
  driver.version = 12040;
  expectCreate(
      MOEC_UNSUPPORTED_DEVICE,
      "package tiny: the driver accepts none of the 2 images for sm_90a; the driver is for CUDA 12.4, expected "
      "CUDA 13.0 (version 580 or newer): CUDA_ERROR_INVALID_IMAGE (words)");
}

TEST_F(CudaLayer, kernels_that_cannot_be_set_up) {
  driver.maxThreads = 96;
  expectCreate(MOEC_DEVICE_ERROR, "kernel router can have 96 threads a block on CUDA device 0, its launch needs 128");
  driver.maxThreads = 1024;
  driver.failAt("cuFuncSetAttribute", 0, MOEC_CUDA_INVALID_VALUE);
  expectCreate(MOEC_DEVICE_ERROR,
               "kernel ffn_up_sm_90a cannot have 70000 bytes of shared memory: CUDA_ERROR_INVALID_VALUE (words)");
  driver.failAt("cuModuleLoadDataEx", 0, MOEC_CUDA_OUT_OF_MEMORY);
  expectCreate(MOEC_OUT_OF_MEMORY, "package tiny: its image cannot be loaded: CUDA_ERROR_OUT_OF_MEMORY (words)");
  driver.kernels.erase("ffn_down_sm_90a");
  expectCreate(MOEC_DEVICE_ERROR, "the image for sm_90a has no kernel ffn_down_sm_90a: CUDA_ERROR_NOT_FOUND (words)");
}

// Whichever driver call fails: a status or a working layer, nothing leaked, the context as before.
TEST_F(CudaLayer, every_driver_call_of_create_may_fail) {
  for (int index = 0;; ++index) {
    driver.failAt("*", index, MOEC_CUDA_INVALID_VALUE);
    moec_layer_options options = cudaOptions(driver);
    moec_layer *layer = nullptr;
    moec_status status = moec_layer_create(tiny_cuda_package(), &options, &layer);
    bool reached = driver.failed;
    EXPECT_EQ(status == MOEC_OK, layer != nullptr);
    driver.failAt("", 0, 0);
    moec_layer_destroy(layer);
    driver.contexts.resize(0);
    EXPECT_EQ(driver.retained, 0) << index;
    EXPECT_EQ(driver.modules, 0) << index;
    if (!reached)
      break;
    ASSERT_LT(index, 200);
  }
}

TEST_F(CudaLayer, tables_of_functions) {
  driver.table.struct_size = 8;
  expectCreate(MOEC_VERSION_MISMATCH,
               "cuda_driver: struct_size is 8, expected " + std::to_string(sizeof(moec_cuda_driver)));
  driver.table.struct_size = sizeof(driver.table);
  driver.table.launch_kernel_ex = nullptr;
  expectCreate(MOEC_NULL_POINTER, "cuda_driver: cuLaunchKernelEx is NULL");
}

TEST_F(CudaLayer, options) {
  moec_layer_options options = cudaOptions(driver);
  moec_layer *layer = nullptr;
  options.device = 2;
  EXPECT_EQ(moec_layer_create(tiny_cuda_package(), &options, &layer), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "options: device is 2, expected 0 (CPU) or 1 (CUDA)");
  options.device = MOEC_DEVICE_CUDA;
  options.struct_size = 40; // a caller that knows no devices
  ASSERT_EQ(moec_layer_create(tiny_cuda_package(), &options, &layer), MOEC_OK) << lastError();
  moec_layer_info info = {};
  info.struct_size = sizeof(info);
  ASSERT_EQ(moec_layer_get_info(layer, &info), MOEC_OK);
  EXPECT_EQ(info.device, MOEC_DEVICE_CPU);
  EXPECT_EQ(info.cuda_sm, 0);
  moec_layer_destroy(layer);
  expectCreate(MOEC_ISA_MISSING, "package tiny holds no CUDA kernels", -1, tiny_package());
}

TEST_F(CudaLayer, package_without_cpu_kernels) {
  EditableCuda edited;
  edited.header().isa_mask = 0;
  edited.package.functions = nullptr;
  edited.package.num_functions = 0;
  TinyCuda tiny(driver, source, &edited.package);
  moec_layer *layer = nullptr;
  EXPECT_EQ(moec_layer_create(&edited.package, nullptr, &layer), MOEC_ISA_MISSING);
  EXPECT_EQ(lastError(), "package tiny holds CUDA kernels only, expected options.device MOEC_DEVICE_CUDA");
}

// ---- the machine's driver ---------------------------------------------------------------------------------------

TEST(CudaDriver, library_that_is_not_there) {
  moec_cuda_driver table;
  EXPECT_EQ(moec_cuda_driver_open("libcuda-is-not-here.so.1", &table), MOEC_UNSUPPORTED_DEVICE);
  EXPECT_EQ(lastError(), "no NVIDIA driver: libcuda-is-not-here.so.1 cannot be opened (libcuda-is-not-here.so.1: "
                         "cannot open shared object "
                         "file: No such file or directory)");
}

TEST(CudaDriver, library_without_a_function) {
  moec_cuda_driver table;
  EXPECT_EQ(moec_cuda_driver_open("libc.so.6", &table), MOEC_UNSUPPORTED_DEVICE);
  EXPECT_EQ(lastError(), "NVIDIA driver too old: libc.so.6 has no cuInit, expected one for CUDA 12.0 or newer");
}

TEST(CudaDriver, machine_without_a_driver) {
  moec_cuda_driver table;
  if (moec_cuda_driver_open("libcuda.so.1", &table) == MOEC_OK)
    GTEST_SKIP() << "this machine has an NVIDIA driver";
  moec_layer_options options = threadOptions(0);
  options.device = MOEC_DEVICE_CUDA;
  moec_layer *layer = nullptr;
  for (int repeat = 0; repeat < 2; ++repeat) {
    EXPECT_EQ(moec_layer_create(tiny_cuda_package(), &options, &layer), MOEC_UNSUPPORTED_DEVICE);
    EXPECT_EQ(lastError(), "no NVIDIA driver: libcuda.so.1 cannot be opened (libcuda.so.1: cannot open shared object "
                           "file: No such file or directory)");
  }
  EXPECT_EQ(layer, nullptr);
}
