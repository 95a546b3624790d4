// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights of CUDA layers from host and device tensors, files and packed buffers: the bytes MOEC_LAYOUT_ROWS promises,
// with zeros wherever no weight is.

#include "TinyCuda.h"
#include "WeightFile.h"
#include "runtime/cuda/cuda_plan.h"
#include "runtime/weights/float_convert.h"
#include "runtime/weights/pack_file.h"

#include <gtest/gtest.h>

#include <memory>
#include <unistd.h>

using namespace moec::test;

namespace {

using Bytes = std::vector<unsigned char>;

class CudaWeights : public testing::Test {
protected:
  CudaWeights() : source(1), path(testing::TempDir() + "moec_cuda_weights_" + std::to_string(getpid())) {
    addTinyKernels(driver);
  }
  ~CudaWeights() override {
    moec_layer_destroy(layer);
    unlink(path.c_str());
  }

  void create(const moec_package *package = tiny_cuda_package()) {
    moec_layer_options options = cudaOptions(driver);
    moec_layer_destroy(layer);
    layer = nullptr;
    ASSERT_EQ(moec_layer_create(package, &options, &layer), MOEC_OK) << lastError();
  }

  // All bytes after the header page.
  static Bytes regions(const AlignedBytes &packed) {
    const unsigned char *first = static_cast<const unsigned char *>(packed.data());
    return {first + 4096, first + packed.size()};
  }

  Bytes pack(const std::vector<moec_tensor> &tensors) {
    DeviceBytes packed(driver, cudaPackedBytes);
    moec_weights *weights = nullptr;
    EXPECT_EQ(moec_weights_pack(layer, tensors.data(), tensors.size(), packed.data(), packed.size(), &weights), MOEC_OK)
        << lastError();
    moec_weights_destroy(weights);
    return regions(packed);
  }

  Bytes load(const FileWriter &file) {
    file.write(path);
    DeviceBytes packed(driver, cudaPackedBytes);
    moec_weights *weights = nullptr;
    EXPECT_EQ(moec_weights_load(layer, path.c_str(), nullptr, packed.data(), packed.size(), &weights), MOEC_OK)
        << lastError();
    moec_weights_destroy(weights);
    return regions(packed);
  }

  // The map of moec_cuda_abi.h as a loop.
  Bytes expected(bool bf16 = false) const {
    Bytes bytes(cudaPackedBytes - 4096);
    auto put = [&](size_t region, size_t element, float value) {
      uint16_t bits = moec_bf16_of_f32(value);
      std::memcpy(&bytes[region + element * (bf16 ? 2 : 4)], bf16 ? static_cast<const void *>(&bits) : &value,
                  bf16 ? 2 : 4);
    };
    for (size_t i = 0; i < size_t(experts * hidden); ++i)
      put(0, i, source.router[i]);
    for (size_t e = 0; e < size_t(experts); ++e)
      for (size_t n = 0; n < size_t(inner); ++n)
        for (size_t i = 0; i < size_t(hidden); ++i) {
          put(4096, ((e * 2) * inner + n) * hidden + i, source.gate[(e * inner + n) * hidden + i]);
          put(4096, ((e * 2 + 1) * inner + n) * hidden + i, source.up[(e * inner + n) * hidden + i]);
        }
    for (size_t row = 0; row < size_t(experts * hidden); ++row)
      for (size_t i = 0; i < size_t(inner); ++i)
        put(8192, row * 8 + i, source.down[row * inner + i]);
    return bytes;
  }

  FakeDriver driver;
  TinyWeights source;
  std::string path;
  moec_layer *layer = nullptr;
};

// Tensors in device memory, in f32 or bf16.
struct DeviceTensors {
  DeviceTensors(FakeDriver &driver, const TinyWeights &source, moec_dtype dtype) : tensors(source.tensors()) {
    for (moec_tensor &tensor : tensors) {
      size_t count = 1;
      for (int32_t i = 0; i < tensor.rank; ++i)
        count *= static_cast<size_t>(tensor.dims[i]);
      memory.push_back(std::make_unique<DeviceBytes>(driver, count * (dtype == MOEC_F32 ? 4 : 2)));
      for (size_t i = 0; i < count; ++i) {
        float value = static_cast<const float *>(tensor.data)[i];
        if (dtype == MOEC_F32)
          static_cast<float *>(memory.back()->data())[i] = value;
        else
          static_cast<uint16_t *>(memory.back()->data())[i] = moec_bf16_of_f32(value);
      }
      tensor.data = memory.back()->data();
      tensor.dtype = dtype;
    }
  }
  std::vector<moec_tensor> tensors;
  std::vector<std::unique_ptr<DeviceBytes>> memory;
};

void roundToBf16(TinyWeights &source) {
  for (std::vector<float> *values : {&source.router, &source.gate, &source.up, &source.down})
    for (float &value : *values)
      value = moec_f32_of_bf16(moec_bf16_of_f32(value));
}

// A package whose CUDA regions are bf16.
struct Bf16Package : EditableCuda {
  Bf16Package() {
    for (int i = 0; i < 3; ++i)
      cudaWeight(i).dtype = MOEC_BF16;
    map(1).box_k = 8; // 16 bytes
  }
};

} // namespace

TEST_F(CudaWeights, host_and_device_tensors_without_conversion) {
  create();
  EXPECT_EQ(pack(source.tensors()), expected());
  EXPECT_EQ(pack(DeviceTensors(driver, source, MOEC_F32).tensors), expected());
}

TEST_F(CudaWeights, bf16_to_f32_and_back) {
  create();
  TinyWeights original = source;
  roundToBf16(source);
  EXPECT_EQ(pack(DeviceTensors(driver, source, MOEC_BF16).tensors), expected());
  Bf16Package edited;
  create(&edited.package);
  EXPECT_EQ(pack(original.tensors()), expected(true));
  EXPECT_EQ(pack(DeviceTensors(driver, original, MOEC_F32).tensors), expected(true));
  EXPECT_EQ(pack(DeviceTensors(driver, original, MOEC_BF16).tensors), expected(true));
}

// A vector region [E, n] with padding, from the host and from the device.
TEST_F(CudaWeights, vectors) {
  EditableCuda edited;
  edited.role(0).matrix = 0;
  edited.role(0).expert_axis = 1;
  for (moec_weight *weight : {&edited.weight(0), &edited.cudaWeight(0)}) {
    weight->layout = MOEC_LAYOUT_VECTOR;
    weight->groups = experts;
    weight->n = hidden;
    weight->k = 1;
    weight->n_padded = 16;
    weight->bytes = experts * 16 * 4;
  }
  create(&edited.package);
  Bytes want = expected();
  std::memset(want.data(), 0, 4096);
  for (size_t e = 0; e < size_t(experts); ++e)
    std::memcpy(&want[e * 64], &source.router[e * hidden], hidden * 4);
  EXPECT_EQ(pack(source.tensors()), want);
  EXPECT_EQ(pack(DeviceTensors(driver, source, MOEC_F32).tensors), want);
}

TEST_F(CudaWeights, file_in_every_storage_form) {
  for (bool bf16 : {false, true})
    for (int stack : {MOEC_STACK_PER_EXPERT, MOEC_STACK_STACKED, MOEC_STACK_FLAT_ROWS, MOEC_STACK_INTERLEAVED_COLUMNS})
      for (int axes : {MOEC_AXES_OUT_IN, MOEC_AXES_IN_OUT})
        for (int part : {MOEC_PART_ALL, MOEC_PART_FIRST_HALF, MOEC_PART_SECOND_HALF, MOEC_PART_EVEN, MOEC_PART_ODD}) {
          EditableCuda edited;
          if (bf16)
            roundToBf16(source);
          edited.role(3).stack = static_cast<uint16_t>(stack);
          edited.role(3).axes = static_cast<uint16_t>(axes);
          edited.role(3).part = static_cast<uint16_t>(part);
          create(&edited.package);
          EXPECT_EQ(load(fileWithDown(source, stack, axes, part, bf16 ? MOEC_BF16 : MOEC_F32)), expected())
              << stack << " " << axes << " " << part;
        }
}

TEST_F(CudaWeights, maps_describe_the_regions) {
  TinyCuda tiny(driver, source);
  FakeMap up = {}, down = {};
  auto keep = [](FakeMap &map) { return [&map](void **params) { std::memcpy(&map, params[1], sizeof(map)); }; };
  driver.kernels["ffn_up_sm_90a"] = keep(up);
  driver.kernels["ffn_down_sm_90a"] = keep(down);
  driver.kernels["combine"] = [](void **) {};
  TinyCall call(driver, tiny, randomInput(2, 1));
  ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
  char *packed = static_cast<char *>(tiny.packed.data());
  EXPECT_EQ(up.address, packed + 8192);
  EXPECT_EQ(std::vector<uint64_t>(up.dims, up.dims + 3), (std::vector<uint64_t>{8, 6, 8}));
  EXPECT_EQ(std::vector<uint64_t>(up.strides, up.strides + 2), (std::vector<uint64_t>{32, 192}));
  EXPECT_EQ(std::vector<uint32_t>(up.box, up.box + 3), (std::vector<uint32_t>{8, 6, 1}));
  EXPECT_EQ(up.swizzle, 1);
  EXPECT_EQ(up.type, MOEC_CUDA_TENSOR_F32);
  EXPECT_EQ(down.address, packed + 12288);
  EXPECT_EQ(std::vector<uint64_t>(down.dims, down.dims + 3), (std::vector<uint64_t>{6, 8, 4}));
  EXPECT_EQ(std::vector<uint64_t>(down.strides, down.strides + 2), (std::vector<uint64_t>{32, 256}));
  EXPECT_EQ(down.swizzle, 0);
}

// Rows of a buffer and of a table: as many as the call has.
TEST_F(CudaWeights, maps_of_rows_follow_the_call) {
  for (bool table : {false, true}) {
    EditableCuda edited;
    edited.launch(0, 3).min_tokens = 1;
    edited.map(0) = {0, 32, 6, 8, uint32_t(table ? MOEC_CUDA_MAP_TABLE : MOEC_CUDA_MAP_BUFFER), 0, MOEC_F32, 8, 32, 0};
    TinyCuda tiny(driver, source, &edited.package);
    for (int64_t t : {1, 5, 40}) {
      FakeMap up = {};
      driver.kernels["ffn_up_sm_90a"] = [&up](void **params) { std::memcpy(&up, params[1], sizeof(up)); };
      driver.kernels["ffn_down_sm_90a"] = driver.kernels["combine"] = [](void **) {};
      TinyCall call(driver, tiny, randomInput(t, 1));
      ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
      uint64_t rows = uint64_t(table ? (16 * t + 64) / 32 : t); // the table has 64 bytes and 16 a token
      char *workspace = static_cast<char *>(call.workspace.data());
      if (table)
        EXPECT_TRUE(up.address > workspace && up.address < workspace + call.workspaceBytes);
      else
        EXPECT_EQ(up.address, call.x.data());
      EXPECT_EQ(std::vector<uint64_t>(up.dims, up.dims + 3), (std::vector<uint64_t>{8, rows, 1}));
      EXPECT_EQ(std::vector<uint64_t>(up.strides, up.strides + 2), (std::vector<uint64_t>{32, 32 * rows}));
      EXPECT_EQ(std::vector<uint32_t>(up.box, up.box + 3), (std::vector<uint32_t>{8, 6, 1}));
    }
  }
}

// ---- packed buffers ---------------------------------------------------------------------------------------------

TEST_F(CudaWeights, packed_buffer_is_mapped_again) {
  TinyCuda tiny(driver, source);
  DeviceBytes copy(driver, cudaPackedBytes);
  std::memcpy(copy.data(), tiny.packed.data(), cudaPackedBytes);
  moec_weights *weights = nullptr;
  ASSERT_EQ(moec_weights_map(tiny.layer, copy.data(), cudaPackedBytes, 0, &weights), MOEC_OK) << lastError();
  std::vector<float> x = randomInput(7, 1);
  TinyCall call(driver, tiny, x);
  std::memset(static_cast<char *>(tiny.packed.data()) + 4096, 0xff, cudaPackedBytes - 4096);
  ASSERT_EQ(moec_layer_forward(tiny.layer, weights, &call.args), MOEC_OK) << lastError();
  expectReference(source, x, call.result());
  moec_weights_destroy(weights);
}

// The rows of a GPU, packed in host memory as moec pack does it, are those that a GPU's layer packs; with a checksum.
TEST_F(CudaWeights, rows_packed_by_the_host) {
  for (bool bf16 : {false, true}) {
    Bf16Package halves;
    EditableCuda floats;
    EditableCuda &edited = bf16 ? halves : floats;
    create(&edited.package);
    FileWriter file = fileWithDown(source, MOEC_STACK_PER_EXPERT, MOEC_AXES_OUT_IN, MOEC_PART_ALL, MOEC_F32);
    Bytes want = load(file);
    moec_plan plan;
    moec_cuda_plan cuda;
    ASSERT_EQ(moec_plan_open(&edited.package, &plan), MOEC_OK) << lastError();
    ASSERT_EQ(moec_cuda_plan_open(&edited.package, &plan, &cuda), MOEC_OK) << lastError();
    const moec_weights_source where = {path.c_str(), ""};
    moec_checkpoint_set set;
    ASSERT_EQ(moec_checkpoints_open(&where, 1, &set), MOEC_OK) << lastError();
    AlignedBytes host(cudaPackedBytes, 0x5a);
    ASSERT_EQ(moec_pack_checkpoints(&plan, &cuda.weight_set, &set, nullptr, host.data()), MOEC_OK) << lastError();
    moec_checkpoints_close(&set);
    EXPECT_EQ(regions(host), want) << bf16;
    DeviceBytes device(driver, cudaPackedBytes);
    std::memcpy(device.data(), host.data(), cudaPackedBytes);
    moec_weights *weights = nullptr;
    ASSERT_EQ(moec_weights_map(layer, device.data(), cudaPackedBytes, MOEC_MAP_VERIFY, &weights), MOEC_OK)
        << lastError();
    moec_weights_destroy(weights);
    weights = nullptr;
    static_cast<char *>(device.data())[8200] ^= 1;
    EXPECT_EQ(moec_weights_map(layer, device.data(), cudaPackedBytes, MOEC_MAP_VERIFY, &weights), MOEC_FILE_FORMAT);
    EXPECT_EQ(lastError(), "packed weights are damaged, probably at byte 8200, in experts.gate + experts.up, group 0");
    EXPECT_EQ(weights, nullptr);
  }
}

TEST_F(CudaWeights, gpu_writes_no_checksum) {
  TinyCuda tiny(driver, source);
  moec_weights *weights = nullptr;
  EXPECT_EQ(moec_weights_map(tiny.layer, tiny.packed.data(), cudaPackedBytes, MOEC_MAP_VERIFY, &weights),
            MOEC_VERSION_MISMATCH);
  EXPECT_EQ(lastError(), "packed weights hold no checksum: a GPU packed them; moec pack writes one");
}

TEST_F(CudaWeights, buffers_that_are_refused) {
  TinyCuda tiny(driver, source);
  moec_weights *weights = nullptr;
  AlignedBytes host(cudaPackedBytes);
  DeviceBytes empty(driver, cudaPackedBytes);
  std::vector<moec_tensor> tensors = source.tensors();
  EXPECT_EQ(moec_weights_pack(tiny.layer, tensors.data(), tensors.size(), host.data(), cudaPackedBytes, &weights),
            MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "buffer is not device memory, expected memory of CUDA device 0");
  EXPECT_EQ(moec_weights_map(tiny.layer, host.data(), cudaPackedBytes, 0, &weights), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "buffer is not device memory, expected memory of CUDA device 0");
  EXPECT_EQ(moec_weights_map(tiny.layer, empty.data(), cudaPackedBytes, 0, &weights), MOEC_VERSION_MISMATCH);
  EXPECT_EQ(lastError(), "buffer does not hold packed weights");
  EXPECT_EQ(moec_weights_map(tiny.layer, tiny.packed.data(), 5000, 0, &weights), MOEC_WORKSPACE_TOO_SMALL);
  EXPECT_EQ(lastError(), "buffer has 5000 bytes, packed weights need 16384");
  EXPECT_EQ(moec_weights_pack(tiny.layer, tensors.data(), tensors.size(), static_cast<char *>(empty.data()) + 32,
                              cudaPackedBytes, &weights),
            MOEC_ALIGNMENT);
  EXPECT_EQ(lastError(), "buffer is not 64-byte aligned");
  // the CPU's packed weights of the same package
  TinyLayer cpu(source, nullptr, tiny_cuda_package());
  AlignedBytes cpuPacked(cudaPackedBytes);
  moec_weights *cpuWeights = nullptr;
  ASSERT_EQ(
      moec_weights_pack(cpu.layer, tensors.data(), tensors.size(), cpuPacked.data(), cudaPackedBytes, &cpuWeights),
      MOEC_OK);
  std::memcpy(empty.data(), cpuPacked.data(), cudaPackedBytes);
  moec_weights_destroy(cpuWeights);
  EXPECT_EQ(moec_weights_map(tiny.layer, empty.data(), cudaPackedBytes, 0, &weights), MOEC_VERSION_MISMATCH);
  EXPECT_EQ(lastError(), "packed weights have another layout than package tiny; pack them again");
  EXPECT_EQ(weights, nullptr);
}

// Whichever driver call fails: a status and no handle, or packed weights; and no header page on a broken buffer.
TEST_F(CudaWeights, every_driver_call_of_pack_may_fail) {
  create();
  DeviceTensors onDevice(driver, source, MOEC_BF16);
  int refused = 0;
  for (int index = 0;; ++index) {
    DeviceBytes packed(driver, cudaPackedBytes);
    moec_weights *weights = nullptr;
    driver.failAt("*", index, MOEC_CUDA_LAUNCH_FAILED);
    moec_status status = moec_weights_pack(layer, onDevice.tensors.data(), onDevice.tensors.size(), packed.data(),
                                           packed.size(), &weights);
    bool reached = driver.failed;
    driver.failAt("", 0, 0);
    EXPECT_EQ(status == MOEC_OK, weights != nullptr) << index;
    moec_weights_destroy(weights);
    driver.contexts.clear();
    refused += status != MOEC_OK;
    if (!reached)
      break;
    ASSERT_LT(index, 1000);
  }
  EXPECT_GT(refused, 20);
  DeviceBytes packed(driver, cudaPackedBytes);
  moec_weights *weights = nullptr;
  driver.failAt("cuMemcpyHtoD", 3, MOEC_CUDA_LAUNCH_FAILED);
  EXPECT_EQ(moec_weights_pack(layer, onDevice.tensors.data(), 4, packed.data(), packed.size(), &weights),
            MOEC_DEVICE_ERROR);
  EXPECT_EQ(lastError(), "weights cannot be copied: CUDA_ERROR_LAUNCH_FAILED (words)");
  EXPECT_EQ(moec_weights_map(layer, packed.data(), packed.size(), 0, &weights), MOEC_VERSION_MISMATCH);
}

TEST_F(CudaWeights, packing_waits_for_the_device) {
  create();
  driver.calls.clear();
  pack(source.tensors());
  EXPECT_EQ(driver.calls.end()[-2], "cuStreamSynchronize");
}

// experts.down as a tensor per expert, every second one in host memory.
TEST_F(CudaWeights, tensor_per_expert) {
  create();
  DeviceTensors onDevice(driver, source, MOEC_F32);
  std::vector<moec_tensor> host = source.tensors(), tensors(onDevice.tensors.begin(), onDevice.tensors.begin() + 3);
  const char *names[] = {"experts.down.0", "experts.down.1", "experts.down.2", "experts.down.3"};
  for (int64_t e = 0; e < experts; ++e) {
    moec_tensor one = {names[e], nullptr, MOEC_F32, 2, {hidden, inner}};
    const moec_tensor &all = e % 2 ? host[3] : onDevice.tensors[3];
    one.data = static_cast<const float *>(all.data) + e * hidden * inner;
    tensors.push_back(one);
  }
  EXPECT_TRUE(pack(tensors) == expected());
}
