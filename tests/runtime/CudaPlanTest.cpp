// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// CUDA blobs that contradict themselves: each field is refused with a text, random damage is refused or harmless.

#include "TinyCuda.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

using namespace moec::test;

namespace {

void expectRefused(const std::function<void(EditableCuda &)> &spoil, moec_status status, const std::string &text) {
  FakeDriver driver;
  addTinyKernels(driver);
  EditableCuda edited;
  spoil(edited);
  moec_layer_options options = cudaOptions(driver);
  moec_layer *layer = nullptr;
  EXPECT_STREQ(moec_status_name(moec_layer_create(&edited.package, &options, &layer)), moec_status_name(status))
      << text;
  EXPECT_EQ(lastError(), text);
  EXPECT_EQ(layer, nullptr);
  EXPECT_TRUE(driver.calls.empty()) << "the driver was asked before the blob was checked";
  moec_layer_destroy(layer);
}

#define REFUSED(status, text, ...) expectRefused([](EditableCuda &p) { __VA_ARGS__; }, status, text)
#define BAD(text, ...) REFUSED(MOEC_INVALID_ARGUMENT, text, __VA_ARGS__)

std::string blobBytes() { return std::to_string(tiny_cuda_package()->cuda_plan_bytes); }

} // namespace

TEST(CudaPlan, versions) {
  REFUSED(MOEC_ISA_MISSING, "package tiny holds no CUDA kernels", p.package.cuda_plan = nullptr);
  REFUSED(MOEC_ALIGNMENT, "package: the CUDA plan is not 64-byte aligned", p.package.cuda_plan = p.cudaBytes() + 8);
  BAD("package: cuda_plan_bytes is 7, a header has " + std::to_string(sizeof(moec_cuda_plan_header)),
      p.package.cuda_plan_bytes = 7);
  REFUSED(MOEC_VERSION_MISMATCH, "cuda plan: magic is 0x00000001, expected 0x6475306d", p.cudaHeader().magic = 1);
  for (int field = 0; field < 6; ++field)
    expectRefused([field](EditableCuda &p) { (&p.cudaHeader().header_bytes)[field] += 8; }, MOEC_VERSION_MISMATCH,
                  "cuda plan: struct sizes differ from this runtime's");
  BAD("cuda plan: total_bytes is 9999999, the package holds " + blobBytes(), p.cudaHeader().total_bytes = 9999999);
  REFUSED(MOEC_NULL_POINTER, "package: images is NULL", p.package.images = nullptr);
}

TEST(CudaPlan, header) {
  std::string outside = "cuda plan: an array lies outside the blob of " + blobBytes() + " bytes";
  BAD(outside, p.cudaHeader().targets.offset = 8);
  BAD(outside, p.cudaHeader().weights.count = 1u << 31);
  BAD(outside, p.cudaHeader().strings.offset = UINT32_MAX);
  BAD("cuda plan: strings do not end with a NUL", --p.cudaHeader().strings.count);
  BAD("cuda plan: 0 targets, expected 1 to 16", p.cudaHeader().targets.count = 0);
  BAD("cuda plan: 2 weights, the plan has 3", p.cudaHeader().weights.count = 2);
  BAD("cuda plan: packed_bytes is 4095", p.cudaHeader().packed_bytes = 4095);
}

TEST(CudaPlan, weights) {
  BAD("cuda plan: weight 0: layout is 1", p.cudaWeight(0).layout = MOEC_LAYOUT_PANELS);
  BAD("cuda plan: weight 0: type is 3", p.cudaWeight(0).dtype = MOEC_I32);
  BAD("cuda plan: weight 0: 3 parts", p.cudaWeight(0).parts = 3);
  BAD("cuda plan: weight 2: k_padded 6 for k 6", p.cudaWeight(2).k_padded = 6);
  BAD("cuda plan: weight 0: k_padded 4 for k 8", p.cudaWeight(0).k_padded = 4);
  BAD("cuda plan: weight 0: 100 bytes are too few", p.cudaWeight(0).bytes = 100);
  BAD("cuda plan: weight 0: role 1 does not have its shape", p.cudaWeight(0).role[0] = 1);
  BAD("cuda plan: weight 1: role 9 does not have its shape", p.cudaWeight(1).role[1] = 9);
  BAD("cuda plan: weight 0: 0 groups of [4, 8]", p.cudaWeight(0).groups = 0);
  BAD("cuda plan: weight 2: offset 16384 and 1024 bytes, expected multiples of 4096 in 9728..16384",
      p.cudaWeight(2).offset = 16384);
  BAD("cuda plan: weight 1: offset 8200 and 1536 bytes, expected multiples of 4096 in 4224..16384",
      p.cudaWeight(1).offset = 8200);
}

TEST(CudaPlan, targets) {
  BAD("cuda plan: target 0: sm 7 and exact 1", p.target(0).sm = 7);
  BAD("cuda plan: target 1: sm 80 and exact 2", p.target(1).exact = 2);
  std::string outside = "cuda plan: target sm_90a: an array lies outside the blob of " + blobBytes() + " bytes";
  BAD(outside, p.target(0).launches.offset += 4);
  BAD(outside, p.target(0).params.count = 1u << 30);
  BAD(outside, p.target(0).tables.offset = 0);
  BAD(outside, p.target(0).maps.offset = 1u << 31);
  BAD("cuda plan: target sm_80: 0 launches, expected 1 to 1024", p.target(1).launches.count = 0);
  BAD("cuda plan: target sm_90a: images 3 + 2, the package has 4", p.target(0).first_image = 3);
  BAD("cuda plan: target sm_90a: images 0 + 0, the package has 4", p.target(0).num_images = 0);
  BAD("cuda plan: target sm_90a: image 1 is NULL or shorter than 4 bytes", p.images[1].data = nullptr);
  BAD("cuda plan: target sm_80: image 2 is NULL or shorter than 4 bytes", p.images[2].bytes = 3);
  BAD("cuda plan: target sm_80: image 3 is text that does not end with a NUL", --p.images[3].bytes);
  BAD("cuda plan: target sm_90a: table 0: name is outside the strings", p.table(0).name = 1u << 30);
  BAD("cuda plan: target sm_90a: table 0 (items): bytes out of range", p.table(0).bytes.per_token = INT64_MAX);
  BAD("cuda plan: target sm_90a: table 0 (items): bytes out of range", p.table(0).bytes.fixed = -1);
}

TEST(CudaPlan, maps) {
  BAD("cuda plan: target sm_80: 2 TMA maps before sm_90", p.target(1).maps.count = 2);
  BAD("cuda plan: target sm_90a: map 0: weight 3 of 3", p.map(0).weight = 3);
  BAD("cuda plan: target sm_90a: map 0: swizzle is 48, expected 0, 32, 64 or 128", p.map(0).swizzle = 48);
  BAD("cuda plan: target sm_90a: map 1: box 257 x 4, expected 1 to 256 each", p.map(1).box_n = 257);
  BAD("cuda plan: target sm_90a: map 1: box 8 x 0, expected 1 to 256 each", p.map(1).box_k = 0);
  BAD("cuda plan: target sm_90a: map 1: rows of 20 bytes with swizzle 0", p.map(1).box_k = 5);
  BAD("cuda plan: target sm_90a: map 0: rows of 64 bytes with swizzle 32", p.map(0).box_k = 16);
}

// Map 0 as one of rows of the table of items, which has 64 bytes and 16 a token.
static moec_cuda_map &rows(EditableCuda &p) {
  p.launch(0, 3).min_tokens = 1;
  p.map(0) = {0, 32, 6, 8, MOEC_CUDA_MAP_TABLE, 0, MOEC_F32, 4, 16, 0};
  return p.map(0);
}

TEST(CudaPlan, maps_of_rows) {
  BAD("cuda plan: target sm_90a: launch 3 (ffn_up): maps of rows, but 0 tokens are enough", rows(p),
      p.launch(0, 3).min_tokens = 0);
  BAD("cuda plan: target sm_90a: map 0: source 3, index 0 of 13", rows(p).source = 3);
  BAD("cuda plan: target sm_90a: map 0: source 2, index 1 of 1", rows(p).index = 1);
  BAD("cuda plan: target sm_90a: map 0: dtype 3 is not f32, bf16 or f16", rows(p).dtype = MOEC_I32);
  BAD("cuda plan: target sm_90a: map 0: 0 columns in rows of 16 bytes", rows(p).columns = 0);
  BAD("cuda plan: target sm_90a: map 0: 5 columns in rows of 16 bytes", rows(p).columns = 5);
  BAD("cuda plan: target sm_90a: map 0: 4 columns in rows of 24 bytes", rows(p).row_bytes = 24);
  BAD("cuda plan: target sm_90a: map 0: no row of 96 bytes fits", rows(p).row_bytes = 96);
  BAD("cuda plan: target sm_90a: map 0: buffer 2 is a weight", rows(p).index = 2,
      p.map(0).source = MOEC_CUDA_MAP_BUFFER);
  BAD("cuda plan: target sm_90a: map 0: swizzle is 48, expected 0, 32, 64 or 128", rows(p).swizzle = 48);
}

TEST(CudaPlan, launches) {
  BAD("cuda plan: target sm_90a: launch 3: step 7 of 7", p.launch(0, 3).step = 7);
  BAD("cuda plan: target sm_90a: launch 3 (ffn_up): flags are 4", p.launch(0, 3).flags = 4);
  BAD("cuda plan: target sm_90a: launch 3 (ffn_up): flags are 3", p.launch(0, 3).flags = 3);
  BAD("cuda plan: target sm_80: launch 3 (ffn_up): symbol 99999 is outside the strings", p.launch(1, 3).symbol = 99999);
  BAD("cuda plan: target sm_90a: launch 3 (ffn_up): 0 threads, expected 1 to 1024", p.launch(0, 3).block_threads = 0);
  BAD("cuda plan: target sm_90a: launch 3 (ffn_up): 1025 threads, expected 1 to 1024",
      p.launch(0, 3).block_threads = 1025);
  BAD("cuda plan: target sm_90a: launch 3 (ffn_up): 4294967295 bytes of shared memory",
      p.launch(0, 3).shared_bytes = UINT32_MAX);
  BAD("cuda plan: target sm_90a: launch 0 (router): -1 units per token + 0", p.launch(0, 0).units.per_token = -1);
  BAD("cuda plan: target sm_90a: launch 0 (router): 0 units per block, 0 blocks per SM",
      p.launch(0, 0).units_per_block = 0);
  BAD("cuda plan: target sm_90a: launch 0 (router): 4 units per block, 65 blocks per SM",
      p.launch(0, 0).blocks_per_sm = 65);
  BAD("cuda plan: target sm_90a: launch 4 (ffn_up): for 16 to 3 tokens", p.launch(0, 4).max_tokens = 3);
  BAD("cuda plan: target sm_90a: launch 7 (counts): params 30 + 2, the target has 31", p.launch(0, 7).first_param = 30);
  BAD("cuda plan: target sm_90a: launch 0 (router): params 0 + 65, the target has 31", p.launch(0, 0).num_params = 65);
}

TEST(CudaPlan, params) {
  BAD("cuda plan: target sm_90a: launch 0 (router): param 1: kind 1 with index 13 of 13", p.param(0, 1).index = 13);
  BAD("cuda plan: target sm_90a: launch 0 (router): param 1: kind 6 with index 0 of 0", p.param(0, 1).kind = 6);
  BAD("cuda plan: target sm_90a: launch 2 (dispatch): param 2: kind 2 with index 7 of 7", p.param(0, 10).index = 7);
  BAD("cuda plan: target sm_90a: launch 2 (dispatch): param 2: part 0 of step 3 is not a table of a dispatch",
      p.param(0, 10).index = 3);
  BAD("cuda plan: target sm_90a: launch 2 (dispatch): param 2: part 4 of step 2 is not a table of a dispatch",
      p.param(0, 10).part = 4);
  BAD("cuda plan: target sm_90a: launch 2 (dispatch): param 6: kind 3 with index 1 of 1", p.param(0, 14).index = 1);
  BAD("cuda plan: target sm_90a: launch 3 (ffn_up): param 1: kind 4 with index 2 of 2", p.param(0, 16).index = 2);
}

TEST(CudaPlan, cut_blobs_are_refused) {
  FakeDriver driver;
  addTinyKernels(driver);
  moec_layer_options options = cudaOptions(driver);
  for (size_t bytes = 0; bytes < tiny_cuda_package()->cuda_plan_bytes; ++bytes) {
    EditableCuda edited;
    edited.package.cuda_plan_bytes = bytes;
    moec_layer *layer = nullptr;
    ASSERT_NE(moec_layer_create(&edited.package, &options, &layer), MOEC_OK) << bytes;
  }
}

// Packs and runs an accepted layer in buffers of exactly its sizes, as far as those are small.
static void exercise(FakeDriver &driver, const moec_layer *layer) {
  constexpr size_t limit = 1 << 20;
  size_t packedBytes = 0, workspaceBytes = 0;
  ASSERT_EQ(moec_layer_weights_bytes(layer, &packedBytes), MOEC_OK);
  ASSERT_EQ(moec_layer_workspace_bytes(layer, 5, &workspaceBytes), MOEC_OK);
  if (packedBytes > limit || workspaceBytes > limit)
    return;
  std::vector<moec_tensor> tensors = TinyWeights(1).tensors();
  GuardedBytes packed(packedBytes, 64), workspace(workspaceBytes, 256);
  driver.registerMemory(packed.data(), packedBytes);
  DeviceBytes x(driver, 160), y(driver, 160);
  TinyWeights source(1);
  tensors = source.tensors();
  moec_weights *weights = nullptr;
  if (moec_weights_pack(layer, tensors.data(), tensors.size(), packed.data(), packedBytes, &weights) == MOEC_OK) {
    moec_forward_args args = {};
    args.struct_size = sizeof(args);
    args.num_tokens = 5;
    args.x = x.data();
    args.y = y.data();
    args.workspace = workspace.data();
    args.workspace_bytes = workspaceBytes;
    moec_layer_forward(layer, weights, &args);
  }
  moec_weights_destroy(weights);
  driver.forgetMemory(packed.data());
}

// Random damage of the CUDA blob; kernels that touch nothing stand in for real ones.
TEST(CudaPlan, damaged_blobs_never_crash) {
  std::mt19937 generator(11);
  int accepted = 0, refused = 0;
  for (int repeat = 0; repeat < 5000; ++repeat) {
    FakeDriver driver;
    addTinyKernels(driver);
    for (auto &kernel : driver.kernels)
      kernel.second = [](void **) {};
    EditableCuda edited;
    size_t bytes = static_cast<size_t>(edited.package.cuda_plan_bytes);
    for (unsigned flips = 1 + generator() % 3; flips > 0; --flips)
      edited.cudaBytes()[generator() % bytes] ^=
          static_cast<char>(generator() % 4 ? 1u << generator() % 8 : generator());
    driver.major = generator() % 2 ? 9 : 8;
    moec_layer_options options = cudaOptions(driver);
    moec_layer *layer = nullptr;
    if (moec_layer_create(&edited.package, &options, &layer) != MOEC_OK) {
      ++refused;
      continue;
    }
    ++accepted;
    exercise(driver, layer);
    moec_layer_destroy(layer);
    ASSERT_FALSE(testing::Test::HasFatalFailure());
  }
  EXPECT_GT(accepted, 500);
  EXPECT_GT(refused, 500);
}
