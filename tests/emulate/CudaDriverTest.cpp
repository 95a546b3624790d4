// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The emulated driver and the host module: what loads, what is refused, and with which words.

#include "EmulatedKernel.h"

#include <cstring>
#include <gtest/gtest.h>

namespace moec {
namespace {

const std::string nothing = kernelText("ptr addrspace(1) %g, i32 %n", "ret void\n");

TEST(CudaDriver, NeedsAContextAndKnownImages) {
  CudaEmulator emulator({1, 80, 5});
  const moec_cuda_driver *driver = emulator.driver();
  moec_cuda_pointer pointer = 0;
  void *module = nullptr, *context = nullptr, *popped = nullptr;
  EXPECT_EQ(driver->struct_size, sizeof(moec_cuda_driver));
  EXPECT_EQ(driver->mem_alloc(&pointer, 16), 201);
  ASSERT_EQ(driver->primary_ctx_retain(&context, 0), MOEC_CUDA_SUCCESS);
  ASSERT_EQ(driver->ctx_push_current(context), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(driver->module_load_data_ex(&module,
                                        "\x7f"
                                        "ELF",
                                        0, nullptr, nullptr),
            MOEC_CUDA_NO_BINARY);
  EXPECT_EQ(driver->module_load_data_ex(&module, "moec-emulated:0", 0, nullptr, nullptr), MOEC_CUDA_NO_BINARY);
  int value = 0;
  EXPECT_EQ(driver->device_get_attribute(&value, MOEC_CUDA_MULTIPROCESSORS, 0), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(value, 5);
  EXPECT_EQ(driver->device_get_attribute(&value, MOEC_CUDA_CAPABILITY_MAJOR, 0), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(value, 8);
  EXPECT_EQ(driver->device_get_attribute(&value, MOEC_CUDA_MAX_SHARED_OPTIN, 0), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(value, 166912);
  EXPECT_EQ(driver->ctx_pop_current(&popped), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(popped, context);
}

TEST(CudaDriver, MemoryIsPoisonedAndChecked) {
  EmulatedKernel kernel(nothing);
  const moec_cuda_driver *driver = kernel.emulator.driver();
  moec_cuda_pointer pointer = 0;
  ASSERT_EQ(driver->mem_alloc(&pointer, 100), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(pointer % 256, 0u);
  unsigned char bytes[101] = {};
  EXPECT_EQ(driver->memcpy_dtoh(bytes, pointer, 100), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(bytes[99], 0xFF);
  EXPECT_EQ(driver->memcpy_dtoh(bytes, pointer, 101), MOEC_CUDA_INVALID_VALUE);
  EXPECT_EQ(driver->memset_d8(pointer + 10, 3, 90), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(driver->memset_d8(pointer + 10, 3, 91), MOEC_CUDA_INVALID_VALUE);
  EXPECT_EQ(driver->memcpy_htod(pointer, "abc", 3), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(driver->memcpy_dtoh(bytes, pointer, 100), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(std::string(bytes, bytes + 3), "abc");
  EXPECT_EQ(bytes[10], 3);
  unsigned type = 0;
  EXPECT_EQ(driver->pointer_get_attribute(&type, MOEC_CUDA_POINTER_MEMORY_TYPE, pointer + 99), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(type, unsigned(MOEC_CUDA_MEMORY_DEVICE));
  EXPECT_EQ(driver->pointer_get_attribute(&type, MOEC_CUDA_POINTER_MEMORY_TYPE, pointer + 100),
            MOEC_CUDA_INVALID_VALUE);
  EXPECT_EQ(driver->mem_free(pointer + 1), MOEC_CUDA_INVALID_VALUE);
  EXPECT_EQ(driver->mem_free(pointer), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(driver->mem_free(pointer), MOEC_CUDA_INVALID_VALUE);
}

TEST(CudaDriver, CopiesRectangles) {
  EmulatedKernel kernel(nothing);
  auto *device = kernel.upload(std::vector<char>(64, '.'));
  const char *rows = "abcdefgh";
  moec_cuda_copy_2d copy = {};
  copy.src_type = MOEC_CUDA_MEMORY_HOST;
  copy.src_host = rows;
  copy.src_pitch = 4;
  copy.dst_type = MOEC_CUDA_MEMORY_DEVICE;
  copy.dst_device = reinterpret_cast<moec_cuda_pointer>(device);
  copy.dst_pitch = 16;
  copy.dst_x = 2;
  copy.dst_y = 1;
  copy.width = 3;
  copy.height = 2;
  EXPECT_EQ(kernel.emulator.driver()->memcpy_2d(&copy), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(std::string(device + 16, 24), "..abc.............efg...");
  copy.dst_y = 3;
  EXPECT_EQ(kernel.emulator.driver()->memcpy_2d(&copy), MOEC_CUDA_INVALID_VALUE);
}

TEST(CudaDriver, RefusesLaunchesBeyondTheLimits) {
  EmulatedKernel kernel(nothing);
  auto *memory = kernel.allocate<int>(4);
  int32_t n = 1;
  EXPECT_EQ(kernel.launch(1, 1024, 200 * 1024, {&memory, &n}), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(kernel.launch(1, 1025, 0, {&memory, &n}), MOEC_CUDA_INVALID_VALUE);
  EXPECT_EQ(kernel.launch(0, 32, 0, {&memory, &n}), MOEC_CUDA_INVALID_VALUE);
  EXPECT_EQ(kernel.launch(1, 32, 200 * 1024 + 1, {&memory, &n}), MOEC_CUDA_INVALID_VALUE);
  EXPECT_EQ(kernel.launch(1, 32, 0, {&memory, nullptr}), MOEC_CUDA_INVALID_VALUE);
  EXPECT_EQ(kernel.emulator.driver()->func_set_attribute(kernel.function(), MOEC_CUDA_MAX_DYNAMIC_SHARED, 232449),
            MOEC_CUDA_INVALID_VALUE);
}

TEST(CudaDriver, TellsThreadsOfTheKernel) {
  std::string text = nothing;
  text.insert(text.find(") {") + 1, " \"nvvm.reqntid\"=\"64\"");
  EmulatedKernel kernel(text);
  ASSERT_EQ(kernel.error(), "");
  auto *memory = kernel.allocate<int>(4);
  int32_t n = 1;
  int value = 0;
  kernel.emulator.driver()->func_get_attribute(&value, MOEC_CUDA_MAX_THREADS_PER_BLOCK, kernel.function());
  EXPECT_EQ(value, 64);
  EXPECT_EQ(kernel.launch(1, 64, 0, {&memory, &n}), MOEC_CUDA_SUCCESS);
  EXPECT_EQ(kernel.launch(1, 32, 0, {&memory, &n}), MOEC_CUDA_INVALID_VALUE);
}

TEST(CudaDriver, ImagesForAnotherDeviceDoNotLoad) {
  CudaEmulator emulator({1, 80, 3});
  EXPECT_EQ(emulator.codeOf("moec-emulated:x"), nullptr);
  auto context = std::make_unique<llvm::LLVMContext>();
  auto module = std::make_unique<llvm::Module>("empty", *context);
  auto image = emulator.addModule(std::move(module), std::move(context), 90);
  ASSERT_TRUE(bool(image));
  EXPECT_EQ(emulator.codeOf(image->c_str()), nullptr);
}

std::string errorOf(const std::string &body, const std::string &params = "ptr addrspace(1) %g") {
  return EmulatedKernel(kernelText(params, body + "ret void\n")).error();
}

TEST(CudaHostModule, TakesConstantExpressionsOfSharedMemoryAndLocals) {
  EmulatedKernel kernel(
      kernelText("ptr addrspace(1) %out",
                 "%z = icmp eq i32 %tid, 0\nbr i1 %z, label %a, label %b\na:\n%l = alloca [4 x i32], addrspace(5)\n"
                 "store i32 5, ptr addrspace(5) %l\n%m = addrspacecast ptr addrspace(5) %l to ptr\n"
                 "%v = load i32, ptr %m\n"
                 "store i32 %v, ptr addrspace(3) getelementptr (i8, ptr addrspace(3) @moec_shared, i32 64)\n"
                 "%w = load i32, ptr addrspace(3) getelementptr (i8, ptr addrspace(3) @moec_shared, i32 64)\n"
                 "store i32 %w, ptr addrspace(1) %out\nbr label %b\nb:\nret void\n"));
  ASSERT_EQ(kernel.error(), "");
  auto *out = kernel.allocate<uint32_t>(4);
  EXPECT_EQ(kernel.launch(1, 32, 128, {&out}), MOEC_CUDA_SUCCESS) << kernel.report();
  EXPECT_EQ(out[0], 5u);
}

TEST(CudaHostModule, RefusesWhatItCannotRun) {
  EXPECT_EQ(errorOf(ptx("void", "warp_dance")),
            "function \"k\": instruction \"warp_dance\": the emulator has no such instruction");
  EXPECT_EQ(
      errorOf("call void asm sideeffect \"bar.sync 0;\", \"\"()\n"),
      "function \"k\": instruction \"bar.sync 0;\": no tag: inline assembly begins with /*moec NAME key=value ...*/");
  EXPECT_EQ(errorOf("%v = " + ptx("i32", "shfl_bfly", "i32 %tid")),
            "function \"k\": instruction \"shfl_bfly\": no mask=");
  EXPECT_EQ(
      errorOf("%v = " + ptx("i32", "shfl_bfly mask=x", "i32 %tid")),
      "function \"k\": instruction \"shfl_bfly mask=x\": \"mask=x\" is not one of its keys, or not a value of it");
  EXPECT_EQ(errorOf(ptx("void", "barrier id=16")), "function \"k\": instruction \"barrier id=16\": id is 0 to 15");
  EXPECT_EQ(errorOf("%v = " + ptx("i32", "shfl_idx", "i32 %tid")).substr(0, 60),
            "function \"k\": \"shfl_idx\" has 2 operands and 1 results:  %v =");
  EXPECT_EQ(errorOf("%c = addrspacecast ptr addrspace(3) @moec_shared to ptr\n%v = load i32, ptr %c\n").substr(0, 75),
            "function \"k\": a shared pointer becomes a generic one or the reverse:  %c = ");
}

} // namespace
} // namespace moec
