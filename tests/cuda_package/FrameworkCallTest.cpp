// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The shared library of a CUDA package, called as frameworks call it, on the emulator: the bits of moec_layer_forward.

#include "codegen/emit/PackageLibrary.h"
#include "codegen/emulate/EmulatedDevice.h"
#include "codegen/emulate/LoadedPackage.h"
#include "codegen/pipeline/Pipeline.h"

#include "dsl/spec/SpecReader.h"
#include "runtime/bindings/tvm_ffi/tvm_ffi_abi.h"
#include "runtime/moec.h"

#include <gtest/gtest.h>

#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <sys/mman.h>
#include <unistd.h>

using namespace moec;

namespace {

const char spec[] = R"({"moec": 1, "name": "NAME", "hidden": 64, "dtype": "bf16", "router": {"top_k": 2},
                        "experts": {"count": 4, "intermediate": 32}})";

// A process keeps the layers of a library, so every test has its own.
std::string nameFor(CudaArch arch) { return arch == CudaArch::Sm80 ? "framework80" : "framework90"; }

std::unique_ptr<CompiledPackage> compileFor(CudaArch arch) {
  DiagnosticList diagnostics;
  SpecSource source;
  std::string text = spec;
  text.replace(text.find("NAME"), 4, nameFor(arch));
  std::optional<LayerSpec> layerSpec = readSpec(text, "spec", {}, source, diagnostics);
  CompileInput input;
  input.spec = &*layerSpec;
  CompileOptions options;
  options.isas = IsaSet{};
  options.archs = {arch};
  options.emulateCuda = true;
  std::vector<Diagnostic> errors;
  std::unique_ptr<CompiledPackage> compiled = compileLayer(input, options, errors);
  EXPECT_TRUE(compiled) << (errors.empty() ? "" : errors.front().message);
  return compiled;
}

// The library on disk, opened; its images replaced by the emulator's.
class OpenedLibrary {
public:
  explicit OpenedLibrary(const CompiledPackage &compiled) {
    folder = testing::TempDir() + "moec-framework-" + std::to_string(getpid());
    std::filesystem::create_directories(folder);
    Result<std::string> bytes = sharedLibraryBytes(compiled, LibraryContents::Calls, folder);
    EXPECT_TRUE(bytes) << bytes.error().message;
    std::string path = folder + "/lib" + compiled.name + ".so";
    std::ofstream(path, std::ios::binary) << *bytes;
    handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    EXPECT_NE(handle, nullptr) << dlerror();
    auto *package =
        const_cast<moec_package *>(reinterpret_cast<const moec_package *(*)()>(find(compiled.name + "_package"))());
    uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE)), first = uintptr_t(package) / page * page;
    mprotect(reinterpret_cast<void *>(first), uintptr_t(package + 1) - first, PROT_READ | PROT_WRITE);
    image = {compiled.images.front().data(), compiled.images.front().size()};
    package->images = &image;
    package->num_images = 1;
  }
  ~OpenedLibrary() { std::filesystem::remove_all(folder); }
  void *find(const std::string &name) const { return dlsym(handle, name.c_str()); }

  // The function's result; fails the test with the library's own text otherwise.
  moec_ffi_value call(const std::string &name, const std::vector<moec_ffi_value> &args) const {
    using Function = int(void *, const moec_ffi_value *, int32_t, moec_ffi_value *);
    moec_ffi_value result = {}, text = {};
    auto *function = reinterpret_cast<Function *>(find("__tvm_ffi_" + name));
    if (function(nullptr, args.data(), int32_t(args.size()), &result) != 0) {
      reinterpret_cast<Function *>(find("__tvm_ffi_last_error"))(nullptr, nullptr, 0, &text);
      auto *object = static_cast<moec_ffi_object *>(text.as.pointer);
      ADD_FAILURE() << name << ": " << reinterpret_cast<moec_ffi_bytes *>(object + 1)->data;
      object->destroy(object, 3);
    }
    return result;
  }

private:
  std::string folder;
  void *handle = nullptr;
  moec_cuda_image image = {};
};

// Device memory with a tensor over it.
struct DeviceTensor {
  DeviceTensor(const DeviceContext &context, std::vector<int64_t> extents, moec_ffi_dtype dtype)
      : shape(std::move(extents)) {
    size_t bytes = dtype.bits / 8;
    for (int64_t extent : shape)
      bytes *= size_t(extent);
    memory = DeviceMemory(context, bytes);
    memory.fill(0xff);
    tensor = {memory.data(), {MOEC_FFI_CUDA, 0}, int32_t(shape.size()), dtype, shape.data(), nullptr, 0};
  }
  std::vector<char> bytes() const {
    std::vector<char> all(memory.size());
    memory.download(all.data());
    return all;
  }
  std::vector<int64_t> shape;
  DeviceMemory memory;
  moec_ffi_tensor tensor;
};

moec_ffi_value valueOf(moec_ffi_tensor &tensor) { return {MOEC_FFI_TENSOR_POINTER, 0, {.pointer = &tensor}}; }
moec_ffi_value valueOf(const char *text) { return {MOEC_FFI_C_STRING, 0, {.pointer = const_cast<char *>(text)}}; }
moec_ffi_value valueOf(int64_t number) { return {MOEC_FFI_INT, 0, {.integer = number}}; }

constexpr moec_ffi_dtype f32 = {MOEC_FFI_CODE_FLOAT, 32, 1}, bf16 = {MOEC_FFI_CODE_BFLOAT, 16, 1},
                         u8 = {MOEC_FFI_CODE_UINT, 8, 1}, i32 = {MOEC_FFI_CODE_INT, 32, 1};

// Values around 0, by an index: no two arrays of a test are alike.
std::vector<float> values(int64_t count, uint32_t seed) {
  std::vector<float> out(static_cast<size_t>(count));
  for (float &value : out)
    value = float(int32_t((seed = seed * 1664525u + 1013904223u) >> 16) - 32768) / 32768;
  return out;
}

struct RoleTensor {
  std::vector<float> values;
  std::vector<int64_t> shape;
  const char *name;
};

class FrameworkCall : public testing::TestWithParam<CudaArch> {};

} // namespace

TEST_P(FrameworkCall, gives_the_bits_of_the_runtime) {
  std::unique_ptr<CompiledPackage> compiled = compileFor(GetParam());
  Result<std::unique_ptr<EmulatedDevice>> device = EmulatedDevice::make(*compiled);
  ASSERT_TRUE(device) << device.error().message;
  const DeviceContext &context = (*device)->context();
  OpenedLibrary library(*compiled);
  library.call("options", {valueOf("cuda_driver"), valueOf(int64_t(intptr_t(context.driver)))});

  Result<std::unique_ptr<LoadedPackage>> package = LoadedPackage::load(*compiled);
  moec_layer_options options = {};
  options.struct_size = sizeof options;
  options.device = MOEC_DEVICE_CUDA;
  options.cuda_driver = context.driver;
  moec_layer *layer = nullptr;
  ASSERT_EQ(moec_layer_create((*package)->get(), &options, &layer), MOEC_OK);

  std::vector<RoleTensor> roles;
  for (int32_t i = 0; i < 4; ++i) {
    const char *name;
    int32_t rank;
    int64_t dims[4], count = 1;
    ASSERT_EQ(moec_layer_role(layer, i, &name, &rank, dims), MOEC_OK);
    for (int32_t d = 0; d < rank; ++d)
      count *= dims[d];
    roles.push_back({values(count, uint32_t(i) + 1), {dims, dims + rank}, name});
  }
  DeviceTensor packed(context, {library.call("weights_bytes", {}).as.integer}, u8);
  std::vector<moec_ffi_value> packing = {valueOf(packed.tensor)};
  std::vector<moec_ffi_tensor> tensors(roles.size());
  for (size_t i = 0; i < roles.size(); ++i) {
    tensors[i] = {roles[i].values.data(),
                  {MOEC_FFI_CPU, 0},
                  int32_t(roles[i].shape.size()),
                  f32,
                  roles[i].shape.data(),
                  nullptr,
                  0};
    packing.push_back(valueOf(roles[i].name));
    packing.push_back(valueOf(tensors[i]));
  }
  library.call("pack", packing);
  moec_weights *weights = nullptr;
  ASSERT_EQ(moec_weights_map(layer, packed.memory.data(), packed.memory.size(), 0, &weights), MOEC_OK);

  for (int64_t t : {0, 1, 5, 33}) {
    std::vector<float> noise = values(t * 64, 77);
    std::vector<uint16_t> rows;
    for (float value : noise) {
      uint32_t bits;
      std::memcpy(&bits, &value, 4);
      rows.push_back(uint16_t(bits >> 16));
    }
    DeviceTensor x(context, {t, 64}, bf16), y(context, {t, 64}, bf16), ids(context, {t, 2}, i32),
        want(context, {t, 64}, bf16), wantIds(context, {t, 2}, i32);
    DeviceTensor workspace(context, {library.call("workspace_bytes", {valueOf(t)}).as.integer}, u8);
    x.memory.upload(rows.data());
    library.call("call", {valueOf("x,weights,workspace,y,ids"), valueOf(x.tensor), valueOf(packed.tensor),
                          valueOf(workspace.tensor), valueOf(y.tensor), valueOf(ids.tensor)});
    moec_forward_args args = {};
    args.struct_size = sizeof args;
    args.num_tokens = t;
    args.x = x.memory.data();
    args.y = want.memory.data();
    args.out_ids = static_cast<int32_t *>(wantIds.memory.data());
    args.workspace = reinterpret_cast<void *>((uintptr_t(workspace.memory.data()) + 255) / 256 * 256);
    args.workspace_bytes = workspace.memory.size() - 256;
    ASSERT_EQ(moec_layer_forward(layer, weights, &args), MOEC_OK);
    EXPECT_EQ(y.bytes(), want.bytes()) << t << " tokens";
    EXPECT_EQ(ids.bytes(), wantIds.bytes()) << t << " tokens";
    for (char byte : ids.bytes())
      EXPECT_NE(byte, char(0xff));
  }
  EXPECT_EQ(context.complaints(), "");
  moec_weights_destroy(weights);
  moec_layer_destroy(layer);
}

INSTANTIATE_TEST_SUITE_P(Architectures, FrameworkCall, testing::Values(CudaArch::Sm80, CudaArch::Sm90a),
                         [](const auto &arch) { return arch.param == CudaArch::Sm80 ? "sm_80" : "sm_90a"; });
