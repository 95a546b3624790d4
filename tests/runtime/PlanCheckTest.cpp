// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Packages that contradict themselves: refused with a text, or harmless. Kernels that do nothing stand in for real
// ones, so that what a damaged plan makes the runtime itself do is seen by guard pages and sanitizers.

#include "TinyLayer.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>

using namespace moec::test;

namespace {

void expectRefused(const std::function<void(EditablePackage &)> &spoil, moec_status status, const std::string &text) {
  EditablePackage edited;
  spoil(edited);
  moec_layer *layer = nullptr;
  EXPECT_STREQ(moec_status_name(moec_layer_create(&edited.package, nullptr, &layer)), moec_status_name(status)) << text;
  EXPECT_EQ(lastError(), text);
  EXPECT_EQ(layer, nullptr);
  moec_layer_destroy(layer);
}

#define REFUSED(status, text, ...) expectRefused([](EditablePackage &p) { __VA_ARGS__; }, status, text)

void doNothing(const moec_call *, void *const *, void *, int64_t, int64_t) {}

// Uses a layer in every way there is, as far as its sizes are those of a small one.
void exercise(const moec_layer *layer) {
  constexpr size_t limit = 1 << 20;
  moec_layer_info info = {};
  info.struct_size = sizeof(info);
  ASSERT_EQ(moec_layer_get_info(layer, &info), MOEC_OK);
  size_t packedBytes = 0, workspaceBytes = 0;
  moec_layer_weights_bytes(layer, &packedBytes);
  int64_t numTokens = info.max_tokens < 5 ? info.max_tokens : 5;
  ASSERT_EQ(moec_layer_workspace_bytes(layer, numTokens, &workspaceBytes), MOEC_OK);
  if (packedBytes > limit || workspaceBytes > limit || info.hidden > 1024)
    return;
  std::vector<moec_tensor> tensors;
  std::vector<float> values(1 << 16, 1.0f);
  for (int32_t i = 0; i < info.num_roles; ++i) {
    moec_tensor tensor = {};
    ASSERT_EQ(moec_layer_role(layer, i, &tensor.role, &tensor.rank, tensor.dims), MOEC_OK);
    int64_t elements = 1;
    for (int32_t d = 0; d < tensor.rank; ++d)
      if (__builtin_mul_overflow(elements, tensor.dims[d], &elements) || elements > (1 << 16))
        return;
    tensor.data = values.data();
    tensors.push_back(tensor);
  }
  GuardedBytes packed(packedBytes, 4096), workspace(workspaceBytes, 256),
      y(static_cast<size_t>(numTokens * info.hidden) * 4, 16);
  std::vector<float> xs(static_cast<size_t>(numTokens * info.hidden) + 4);
  AlignedBytes x(xs.size() * 4);
  moec_weights *weights = nullptr;
  if (moec_weights_pack(layer, tensors.data(), tensors.size(), packed.data(), packedBytes, &weights) != MOEC_OK)
    return;
  moec_forward_args args = {};
  args.struct_size = sizeof(args);
  args.num_tokens = numTokens;
  args.x = x.data();
  args.y = y.data();
  args.workspace = workspace.data();
  args.workspace_bytes = workspaceBytes;
  EXPECT_EQ(moec_layer_forward(layer, weights, &args), MOEC_OK) << lastError();
  moec_weights_destroy(weights);
}

} // namespace

TEST(PlanCheck, versions) {
  REFUSED(MOEC_VERSION_MISMATCH, "package: magic is 0x00000001, expected 0x6365306d", p.package.magic = 1);
  REFUSED(MOEC_VERSION_MISMATCH, "package: made for ABI 2.0, this runtime has 1.0", p.package.abi_major = 2);
  REFUSED(MOEC_VERSION_MISMATCH, "package: made for ABI 1.1, this runtime has 1.0", p.package.abi_minor = 1);
  REFUSED(MOEC_VERSION_MISMATCH, "plan: magic or ABI version differs from the package's", p.header().magic = 2);
  REFUSED(MOEC_VERSION_MISMATCH, "plan: struct sizes differ from this runtime's", p.header().step_bytes -= 8);
  REFUSED(MOEC_VERSION_MISMATCH, "plan: needs features 0x4 this runtime does not know", p.header().features = 4);
  REFUSED(MOEC_NULL_POINTER, "package: plan or functions is NULL", p.package.plan = nullptr);
  REFUSED(MOEC_NULL_POINTER, "package: plan or functions is NULL", p.package.functions = nullptr);
  REFUSED(MOEC_ALIGNMENT, "package: the plan is not 64-byte aligned", p.package.plan = p.bytes() + 8);
  REFUSED(MOEC_INVALID_ARGUMENT, "package: plan_bytes is 7, a header has " + std::to_string(sizeof(moec_plan_header)),
          p.package.plan_bytes = 7);
  REFUSED(MOEC_INVALID_ARGUMENT, "package: function 2 is NULL", p.functions[2] = nullptr);
}

// What CUDA kernels of a package may do in any order, its CPU kernels do not.
TEST(PlanCheck, determinism_of_the_cpu) {
  EditablePackage edited;
  edited.header().determinism = 0;
  moec_layer *layer = nullptr;
  ASSERT_EQ(moec_layer_create(&edited.package, nullptr, &layer), MOEC_OK) << lastError();
  moec_layer_info info = {};
  info.struct_size = sizeof(info);
  EXPECT_EQ(moec_layer_get_info(layer, &info), MOEC_OK);
  EXPECT_EQ(info.determinism, 1);
  moec_layer_destroy(layer);
}

TEST(PlanCheck, header) {
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: isa_mask is 0x0", p.header().isa_mask = 0);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: isa_mask is 0x20", p.header().isa_mask = 32);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: determinism is 3", p.header().determinism = 3);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: x_dtype 3 or y_dtype 0 is not f32, bf16 or f16", p.header().x_dtype = MOEC_I32);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: hidden is 0", p.header().hidden = 0);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: max_tokens is -1", p.header().max_tokens = -1);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: 257 slots, at most 256", p.header().num_slots = 257);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: packed_bytes is 4095", p.header().packed_bytes = 4095);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: items is out of range", p.header().items.per_token = -1);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: name is outside the strings", p.header().name = 1u << 31);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: 0 steps, expected 1 to 256", p.header().steps.count = 0);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: strings do not end with a NUL", --p.header().strings.count);
  REFUSED(MOEC_INVALID_ARGUMENT,
          "plan: an array lies outside the blob of " + std::to_string(tiny_package()->plan_bytes) + " bytes",
          p.header().args.count = 1u << 31);
}

TEST(PlanCheck, buffers) {
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: buffer 9 (h): kind 3 with slot 5 and route 0", p.buffer(9).slot = 5);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: buffer 2 (w_router): kind 2 with slot 3 and route 0", p.buffer(2).slot = 3);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: buffer 11 (row_token): kind 5 with slot 4 and route 2", p.buffer(11).slot = 4);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: buffer 11 (row_token): kind 5 with slot 1 and route 3", p.buffer(11).route = 3);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: buffer 9 (h): bytes out of range", p.buffer(9).bytes.per_token = INT64_MAX);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: buffer 1 (y): kind, type or size do not fit role 2",
          p.buffer(1).bytes.per_token = 28);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: buffer 4 (ids): kind, type or size do not fit role 4", p.header().top_k = 3);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: buffer 9 (h): other columns than logits",
          p.buffer(9).kind = MOEC_BUFFER_OPT_OUTPUT;
          p.buffer(9).role = MOEC_ROLE_PROBABILITIES; p.buffer(9).bytes.per_token = 12);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: buffer 9 (h): kind, type or size do not fit role 12",
          p.buffer(9).kind = MOEC_BUFFER_INPUT;
          p.buffer(9).role = MOEC_ROLE_EXPERT_WEIGHTS; p.buffer(9).bytes.per_token = 12);
  for (auto [role, bytes] : {std::pair(MOEC_ROLE_JITTER, 36),
                             {MOEC_ROLE_REPLACE, 12},
                             {MOEC_ROLE_REPLACE_IDS, 8},
                             {MOEC_ROLE_HIDDEN_MASK, 12},
                             {MOEC_ROLE_OUTPUT_MASK, 12},
                             {MOEC_ROLE_EXPERT_MASK, 6},
                             {MOEC_ROLE_MIDPOINT_MASK, 4}}) {
    std::string text = "plan: buffer 9 (h): kind, type or size do not fit role " + std::to_string(role);
    expectRefused(
        [role = role, bytes = bytes](EditablePackage &p) {
          p.buffer(9).kind = MOEC_BUFFER_INPUT;
          p.buffer(9).role = uint16_t(role);
          p.buffer(9).bytes.per_token = bytes;
        },
        MOEC_INVALID_ARGUMENT, text);
  }
  // masks of slots, in a plan without choices, have rows of every sequence or of the call
  for (moec_extent bytes : {moec_extent{12, 0, 0}, {0, 12, 12}, {0, 6, 0}, {0, 0, 0}, {4, 0, 12}})
    expectRefused(
        [bytes](EditablePackage &p) {
          p.buffer(4).kind = MOEC_BUFFER_WORKSPACE; // ids and weights
          p.buffer(4).role = MOEC_ROLE_NONE;
          p.buffer(5).kind = MOEC_BUFFER_WORKSPACE;
          p.buffer(5).role = MOEC_ROLE_NONE;
          p.header().top_k = 0;
          p.buffer(9).kind = MOEC_BUFFER_INPUT;
          p.buffer(9).role = MOEC_ROLE_HIDDEN_MASK;
          p.buffer(9).bytes = bytes;
        },
        MOEC_INVALID_ARGUMENT, "plan: buffer 9 (h): kind, type or size do not fit role 27");
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: buffer 9 (logits): second buffer of role 3", p.buffer(9) = p.buffer(3));
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: no buffer for x or y", p.buffer(0) = p.buffer(9));
}

TEST(PlanCheck, reports) {
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: 6 of 5 slots are for reports", p.header().num_report_slots = 6);
  REFUSED(MOEC_INVALID_ARGUMENT,
          "plan: step 3 (ffn_up): arg 2 is in a slot for reports, which the step does not wait for",
          p.header().num_report_slots = 1); // slot 4, of h
}

TEST(PlanCheck, steps) {
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 1 (route): kind is 11", p.step(1).kind = 11);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 1 (route): reserved words are 2 and 0", p.step(1).reserved = 2);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): it waits for role 1, which is not an optional output",
          p.step(3).asked = 1u << MOEC_ROLE_X);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): it waits for role 31, which is not an optional output",
          p.step(3).asked = 1u << 31);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): route 2 is not made whenever it runs",
          p.step(2).asked = 1u << MOEC_ROLE_COUNTS);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): route 3 is not an earlier dispatch or slots step",
          p.step(3).route = 3);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 1 (route): args 17 + 3, the plan has 19", p.step(1).first_arg = 17);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 1 (route): arg 1 is buffer 13 of 13", p.arg(4) = 13);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 1 (route): arg 0 is a table of a later dispatch", p.arg(3) = 11);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 2 (dispatch): logits is not i32 [T,2]", p.arg(6) = 3);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 2 (dispatch): ids is not i32 [T,3]", p.step(2).choices = 3);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 2 (dispatch): 0 groups", p.step(2).num_groups = 0);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 2 (dispatch): ids is not i32 [T,4194304]", p.step(2).choices = 1u << 22);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 6 (counts): counts (ids) are not i32 [4]", p.arg(18) = 4);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): 3 groups, its route has 4", p.step(3).num_groups = 3);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): 0 panels", p.step(3).num_panels = 0);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 1 (route): rows_per_task is 0", p.step(1).rows_per_task = 0);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 1 (route): 2 variants for baseline", p.step(1).isa[0].num_variants = 2);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): 0 variants for avx2", p.step(3).isa[1].num_variants = 0);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): functions 9 + 3, the package has 11",
          p.step(3).isa[0].first_fn = 9);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): max_rows is 0", p.step(3).isa[0].max_rows = 0);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): row_multiple is 5", p.step(3).isa[0].row_multiple = 5);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): cover 5 + 4 rows, the plan has 8", p.step(3).isa[0].cover = 5);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 0 (router): cover of 3 rows is variant 3 of 3", p.cover(2) = 3);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): header.items (0 per token + 4) is too small",
          p.header().items.per_token = 0;
          p.header().max_tokens = 8);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: step 3 (ffn_up): header.items (1 per token + 1) is too small",
          p.header().items.fixed = 1);
}

TEST(PlanCheck, weights) {
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: role 0 (router.weight): rank is 4", p.role(0).rank = 4);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: role 0 (router.weight): dim 1 is -8", p.role(0).dims[1] = -8);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: role 0 (router.weight): stack 1 without an expert axis",
          p.role(0).stack = MOEC_STACK_PER_EXPERT);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: role 1 (experts.gate): stack 2, axes 1, part 5", p.role(1).part = 5);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: role 1 (experts.gate): rank 2 with expert_axis 1 and matrix 1",
          p.role(1).rank = 2);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: weight 0: layout is 2", p.weight(0).layout = 2);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: weight 0: type is 3", p.weight(0).dtype = MOEC_I32);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: weight 0: 3 parts", p.weight(0).parts = 3);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: weight 0: 2 panels for 4 columns", p.weight(0).panels = 2);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: weight 0: k_padded 7 for k 8", p.weight(0).k_padded = 7);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: weight 0: 1000 bytes are too few", p.weight(0).bytes = 1000);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: weight 0: role 1 does not have its shape", p.weight(0).role[0] = 1);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: weight 1: role 4 does not have its shape", p.weight(1).role[1] = 4);
  // one role per group: four roles of rank 2 are needed, and there are not four behind the first
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: weight 1: role 1 does not have its shape", p.weight(1).role_per_group = 1);
  REFUSED(MOEC_INVALID_ARGUMENT, "plan: weight 1: role 65000 does not have its shape",
          (p.weight(1).role_per_group = 1, p.weight(1).role[0] = 65000));
  REFUSED(MOEC_INVALID_ARGUMENT,
          "plan: weight 1: offset 4096 and 4096 bytes, expected multiples of 4096 in 5120..16384",
          p.weight(1).offset = 4096);
  REFUSED(MOEC_INVALID_ARGUMENT,
          "plan: weight 2: offset 16384 and 3072 bytes, expected multiples of 4096 in 12288..16384",
          p.weight(2).offset = 16384);
}

// Random damage: most of it is refused; what is accepted keeps the runtime inside every buffer.
TEST(PlanCheck, damaged_blobs_never_crash) {
  std::mt19937 generator(7);
  int accepted = 0, refused = 0;
  for (int repeat = 0; repeat < 10000; ++repeat) {
    EditablePackage edited;
    for (moec_kernel_fn &function : edited.functions)
      function = doNothing;
    size_t plan = static_cast<size_t>(edited.package.plan_bytes);
    for (unsigned flips = 1 + generator() % 3; flips > 0; --flips)
      edited.bytes()[generator() % plan] ^= static_cast<char>(generator() % 4 ? 1u << generator() % 8 : generator());
    moec_layer *layer = nullptr;
    if (moec_layer_create(&edited.package, nullptr, &layer) != MOEC_OK) {
      ++refused;
      continue;
    }
    ++accepted;
    exercise(layer);
    moec_layer_destroy(layer);
    ASSERT_FALSE(HasFatalFailure());
  }
  EXPECT_GT(accepted, 1000);
  EXPECT_GT(refused, 1000);
}

TEST(PlanCheck, cut_blobs_are_refused) {
  for (size_t bytes = 0; bytes < tiny_package()->plan_bytes; ++bytes) {
    EditablePackage edited;
    edited.package.plan_bytes = bytes;
    moec_layer *layer = nullptr;
    ASSERT_NE(moec_layer_create(&edited.package, nullptr, &layer), MOEC_OK) << bytes;
  }
}
