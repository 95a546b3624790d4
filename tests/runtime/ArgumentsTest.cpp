// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every entry point with every bad value: the documented status, the whole text, and nothing written.

#include "TinyLayer.h"

#include <gtest/gtest.h>

#include <functional>

using namespace moec::test;

namespace {

constexpr int64_t numTokens = 6;

// A valid call; tests spoil one thing of it.
class Arguments : public testing::Test {
protected:
  Arguments()
      : tiny(TinyWeights(1)), x(4096), y(4096, 0x55), workspace(tiny.workspaceBytes(numTokens), 0x55),
        extra(4096, 0x55) {
    args.struct_size = sizeof(args);
    args.num_tokens = numTokens;
    args.x = x.data();
    args.y = y.data();
    args.workspace = workspace.data();
    args.workspace_bytes = workspace.size();
    args.out_logits = static_cast<float *>(extra.data());
    args.out_ids = static_cast<int32_t *>(extra.data()) + 64;
    args.out_weights = static_cast<float *>(extra.data()) + 128;
    args.out_counts = static_cast<int32_t *>(extra.data()) + 192;
  }

  void expectForward(moec_status status, const std::string &text) {
    EXPECT_STREQ(moec_status_name(moec_layer_forward(tiny.layer, tiny.weights, &args)), moec_status_name(status));
    EXPECT_EQ(lastError(), text);
    for (const AlignedBytes *buffer : {&y, &workspace, &extra})
      for (size_t i = 0; i < buffer->size(); ++i)
        ASSERT_EQ(static_cast<char *>(buffer->data())[i], 0x55) << "written although refused";
  }

  template <typename T> static T *shift(T *pointer, ptrdiff_t bytes) {
    return reinterpret_cast<T *>(reinterpret_cast<uintptr_t>(pointer) + static_cast<uintptr_t>(bytes));
  }

  TinyLayer tiny;
  AlignedBytes x, y, workspace, extra;
  moec_forward_args args = {};
};

} // namespace

TEST_F(Arguments, forward_valid_call_is_accepted) {
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &args), MOEC_OK) << lastError();
}

TEST_F(Arguments, forward_null_pointers) {
  EXPECT_EQ(moec_layer_forward(nullptr, tiny.weights, &args), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "layer is NULL");
  EXPECT_EQ(moec_layer_forward(tiny.layer, nullptr, &args), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "weights is NULL");
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "args is NULL");
  moec_forward_args valid = args;
  args.x = nullptr;
  expectForward(MOEC_NULL_POINTER, "x is NULL");
  args = valid;
  args.y = nullptr;
  expectForward(MOEC_NULL_POINTER, "y is NULL");
  args = valid;
  args.workspace = nullptr;
  expectForward(MOEC_NULL_POINTER, "workspace is NULL");
}

TEST_F(Arguments, forward_handles_of_another_kind) {
  EXPECT_EQ(moec_layer_forward(reinterpret_cast<moec_layer *>(tiny.weights), tiny.weights, &args), MOEC_INVALID_HANDLE);
  EXPECT_EQ(lastError(), "layer is not a live moec_layer");
  EXPECT_EQ(moec_layer_forward(tiny.layer, reinterpret_cast<moec_weights *>(tiny.layer), &args), MOEC_INVALID_HANDLE);
  EXPECT_EQ(lastError(), "weights is not a live moec_weights");
}

TEST_F(Arguments, forward_weights_of_another_package) {
  EditablePackage edited;
  TinyLayer other(TinyWeights(1), nullptr, &edited.package);
  EXPECT_EQ(moec_layer_forward(tiny.layer, other.weights, &args), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "weights belong to another package");
}

TEST_F(Arguments, forward_struct_size) {
  std::string size = std::to_string(sizeof(args));
  args.struct_size = 0;
  expectForward(MOEC_INVALID_ARGUMENT, "args: struct_size is 0, expected " + size);
  args.struct_size = sizeof(args) + 8;
  expectForward(MOEC_VERSION_MISMATCH,
                "args: struct_size is " + std::to_string(sizeof(args) + 8) + ", this runtime knows " + size);
}

TEST_F(Arguments, forward_tokens_out_of_range) {
  args.num_tokens = -1;
  expectForward(MOEC_TOKENS_OUT_OF_RANGE, "num_tokens is -1, expected 0 to 512");
  args.num_tokens = 513;
  expectForward(MOEC_TOKENS_OUT_OF_RANGE, "num_tokens is 513, expected 0 to 512");
  args.num_tokens = INT64_MAX;
  expectForward(MOEC_TOKENS_OUT_OF_RANGE, "num_tokens is 9223372036854775807, expected 0 to 512");
}

TEST_F(Arguments, forward_alignment) {
  moec_forward_args valid = args;
  for (ptrdiff_t bytes : {1, 4, 8}) {
    args = valid;
    args.x = shift(args.x, bytes);
    expectForward(MOEC_ALIGNMENT, "x is not 16-byte aligned");
    args = valid;
    args.y = shift(args.y, bytes);
    expectForward(MOEC_ALIGNMENT, "y is not 16-byte aligned");
  }
  args = valid;
  args.workspace = shift(args.workspace, 128);
  expectForward(MOEC_ALIGNMENT, "workspace is not 256-byte aligned");
  args = valid;
  args.out_logits = shift(args.out_logits, 2);
  expectForward(MOEC_ALIGNMENT, "out_logits is not 4-byte aligned");
  args = valid;
  args.out_counts = shift(args.out_counts, 1);
  expectForward(MOEC_ALIGNMENT, "out_counts is not 4-byte aligned");
}

TEST_F(Arguments, forward_workspace_too_small) {
  args.workspace_bytes -= 1;
  expectForward(MOEC_WORKSPACE_TOO_SMALL, "workspace has " + std::to_string(workspace.size() - 1) +
                                              " bytes, 6 tokens need " + std::to_string(workspace.size()));
}

TEST_F(Arguments, forward_every_pair_that_overlaps) {
  struct Named {
    const char *name;
    std::function<uintptr_t()> get;
    std::function<void(uintptr_t)> set;
    size_t bytes;
  };
  moec_forward_args valid = args;
  auto slot = [&](const char *name, auto member, size_t bytes) {
    using Pointer = std::remove_reference_t<decltype(args.*member)>;
    return Named{name, [this, member] { return reinterpret_cast<uintptr_t>(args.*member); },
                 [this, member](uintptr_t value) { args.*member = reinterpret_cast<Pointer>(value); }, bytes};
  };
  AlignedBytes arena(65536, 0x55); // room to move a buffer over another one's last or first bytes
  Named named[] = {slot("x", &moec_forward_args::x, 192),
                   slot("y", &moec_forward_args::y, 192),
                   slot("out_logits", &moec_forward_args::out_logits, 96),
                   slot("out_ids", &moec_forward_args::out_ids, 48),
                   slot("out_weights", &moec_forward_args::out_weights, 48),
                   slot("out_counts", &moec_forward_args::out_counts, 16),
                   slot("workspace", &moec_forward_args::workspace, tiny.workspaceBytes(numTokens))};
  uintptr_t base = reinterpret_cast<uintptr_t>(arena.data()) + 32768;
  for (size_t i = 0; i < 7; ++i)
    for (size_t j = i + 1; j < 7; ++j) {
      args = valid;
      named[i].set(base);
      named[j].set(base);
      expectForward(MOEC_OVERLAP, std::string(named[i].name) + " and " + named[j].name + " share bytes");
      if (j == 6)
        continue;
      size_t least = j == 1 ? 16 : 4; // by the alignment of the later one
      named[j].set(base + named[i].bytes - least);
      expectForward(MOEC_OVERLAP, std::string(named[i].name) + " and " + named[j].name + " share bytes");
    }
  args = valid;
  args.y = static_cast<char *>(arena.data()) + 192; // touching is not sharing
  args.x = arena.data();
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &args), MOEC_OK) << lastError();
}

TEST_F(Arguments, forward_output_inside_the_weights) {
  AlignedBytes packed(16384);
  TinyWeights source(1);
  std::vector<moec_tensor> tensors = source.tensors();
  moec_weights *weights = nullptr;
  ASSERT_EQ(moec_weights_pack(tiny.layer, tensors.data(), tensors.size(), packed.data(), packed.size(), &weights),
            MOEC_OK);
  args.y = static_cast<char *>(packed.data()) + 8192;
  EXPECT_EQ(moec_layer_forward(tiny.layer, weights, &args), MOEC_OVERLAP);
  EXPECT_EQ(lastError(), "y and weights share bytes");
  moec_weights_destroy(weights);
}

TEST_F(Arguments, forward_output_at_the_end_of_the_address_space) {
  args.y = reinterpret_cast<void *>(UINTPTR_MAX - 15);
  expectForward(MOEC_INVALID_ARGUMENT, "y: 192 bytes pass the end of the address space");
}

TEST_F(Arguments, forward_optional_output_the_package_lacks) {
  EditablePackage edited;
  edited.buffer(6).role = MOEC_ROLE_NONE; // counts become a private buffer
  edited.buffer(6).kind = MOEC_BUFFER_WORKSPACE;
  edited.step(6).asked = 0;
  TinyLayer other(TinyWeights(1), nullptr, &edited.package);
  EXPECT_EQ(moec_layer_forward(other.layer, other.weights, &args), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "out_counts: package tiny does not have this output, expected NULL");
}

TEST_F(Arguments, forward_reports_the_package_lacks) {
  float value = 7;
  moec_forward_args valid = args;
  args.out_losses = &value;
  expectForward(MOEC_INVALID_ARGUMENT,
                "out_losses: package tiny does not have this output, expected NULL; the spec lists no \"losses\"");
  args = valid;
  args.out_diversity = &value;
  expectForward(MOEC_INVALID_ARGUMENT, "out_diversity: package tiny does not have this output, expected NULL; compile "
                                       "its spec with --reports diversity or add it to the spec's \"reports\"");
  args = valid;
  args.struct_size = offsetof(moec_forward_args, out_probabilities); // a caller that knows no reports
  args.out_losses = &value;
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &args), MOEC_OK) << lastError();
  EXPECT_EQ(value, 7);
}

TEST_F(Arguments, caller_that_knows_no_probe) {
  moec_probe broken = {};
  args.probe = &broken;
  expectForward(MOEC_INVALID_ARGUMENT, "probe: struct_size is 0, expected " + std::to_string(sizeof(moec_probe)));
  EXPECT_EQ(offsetof(moec_forward_args, probe), 232u);
  args.struct_size = 232;
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &args), MOEC_OK) << lastError();
}

TEST_F(Arguments, workspace_of_the_very_call) {
  size_t plain = 0, call = 0;
  ASSERT_EQ(moec_layer_workspace_bytes(tiny.layer, args.num_tokens, &plain), MOEC_OK);
  ASSERT_EQ(moec_layer_workspace_bytes_call(tiny.layer, &args, &call), MOEC_OK);
  EXPECT_EQ(call, plain);
  EXPECT_EQ(moec_layer_workspace_bytes_call(tiny.layer, nullptr, &call), MOEC_NULL_POINTER);
  args.struct_size = 84;
  EXPECT_EQ(moec_layer_workspace_bytes_call(tiny.layer, &args, &call), MOEC_INVALID_ARGUMENT);
}

// Reports live in slots that a call without them does not have.
TEST_F(Arguments, workspace_of_reports) {
  EditablePackage edited;
  edited.buffer(6).role = MOEC_ROLE_LOSSES; // the counts step writes a report
  edited.buffer(6).dtype = MOEC_F32;
  edited.step(6).kind = MOEC_STEP_ROWS;
  edited.step(6).rows_per_task = 1;
  edited.step(6).asked = 1u << MOEC_ROLE_LOSSES;
  edited.buffer(6).slot = uint16_t(edited.header().num_slots++);
  edited.header().num_report_slots = 1;
  for (int isa = 0; isa < MOEC_NUM_ISAS; ++isa)
    edited.step(6).isa[isa] = edited.step(1).isa[isa];
  TinyLayer other(TinyWeights(1), nullptr, &edited.package);
  ASSERT_TRUE(other.layer);
  float losses[4] = {};
  size_t plain = 0, call = 0;
  args.out_counts = nullptr;
  ASSERT_EQ(moec_layer_workspace_bytes_call(other.layer, &args, &plain), MOEC_OK);
  args.out_losses = losses;
  ASSERT_EQ(moec_layer_workspace_bytes_call(other.layer, &args, &call), MOEC_OK);
  EXPECT_EQ(call, plain + MOEC_WORKSPACE_ALIGN);
  moec_layer_info info = {};
  info.struct_size = sizeof info;
  ASSERT_EQ(moec_layer_get_info(other.layer, &info), MOEC_OK);
  EXPECT_EQ(info.num_losses, 4);
  EXPECT_EQ(info.reports, uint32_t(MOEC_REPORT_LOSSES));
  args.workspace_bytes = plain;
  EXPECT_EQ(moec_layer_forward(other.layer, other.weights, &args), MOEC_WORKSPACE_TOO_SMALL);
  EXPECT_NE(lastError().find("tokens with reports need"), std::string::npos) << lastError();
}

TEST_F(Arguments, layer_info_of_older_callers) {
  moec_layer_info info = {};
  for (size_t size : {size_t(96), size_t(104), sizeof info}) {
    info.struct_size = size;
    EXPECT_EQ(moec_layer_get_info(tiny.layer, &info), MOEC_OK) << size << lastError();
  }
  info.struct_size = 100;
  EXPECT_EQ(moec_layer_get_info(tiny.layer, &info), MOEC_INVALID_ARGUMENT);
}

TEST_F(Arguments, optional_outputs_may_each_be_left_out) {
  TinyResult want = runTiny(tiny, std::vector<float>(numTokens * hidden, 0.25f));
  for (size_t i = 0; i < numTokens * hidden; ++i)
    static_cast<float *>(x.data())[i] = 0.25f;
  moec_forward_args valid = args;
  for (int mask = 0; mask < 16; ++mask) {
    args = valid;
    args.out_logits = mask & 1 ? args.out_logits : nullptr;
    args.out_ids = mask & 2 ? args.out_ids : nullptr;
    args.out_weights = mask & 4 ? args.out_weights : nullptr;
    args.out_counts = mask & 8 ? args.out_counts : nullptr;
    ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &args), MOEC_OK) << lastError();
    EXPECT_EQ(std::memcmp(y.data(), want.y.data(), want.y.size() * sizeof(float)), 0) << mask;
    if (args.out_counts) {
      EXPECT_EQ(std::memcmp(args.out_counts, want.counts.data(), 16), 0);
    }
  }
}

// ---- the other entry points -------------------------------------------------------------------------------------

static void expectCreate(const moec_layer_options &options, moec_status status, const std::string &text) {
  moec_layer *layer = reinterpret_cast<moec_layer *>(8);
  EXPECT_STREQ(moec_status_name(moec_layer_create(tiny_package(), &options, &layer)), moec_status_name(status));
  EXPECT_EQ(lastError(), text);
  EXPECT_EQ(layer, reinterpret_cast<moec_layer *>(8)) << "written although refused";
}

TEST(CreateArguments, options) {
  std::string size = std::to_string(sizeof(moec_layer_options));
  moec_layer_options options = threadOptions(1);
  options.struct_size = 8;
  expectCreate(options, MOEC_INVALID_ARGUMENT, "options: struct_size is 8, expected " + size);
  options.struct_size = 4096;
  expectCreate(options, MOEC_VERSION_MISMATCH, "options: struct_size is 4096, this runtime knows " + size);
  expectCreate(threadOptions(-1), MOEC_INVALID_ARGUMENT, "options: max_threads is -1, expected 0 to 1024");
  expectCreate(threadOptions(1025), MOEC_INVALID_ARGUMENT, "options: max_threads is 1025, expected 0 to 1024");
  options = threadOptions(1);
  options.max_isa = 6;
  expectCreate(options, MOEC_INVALID_ARGUMENT, "options: max_isa is 6, expected 0 to 5");
  options = threadOptions(1);
  options.spin_us = -2;
  expectCreate(options, MOEC_INVALID_ARGUMENT, "options: spin_us is -2, expected -1 or more");
  options = threadOptions(1);
  options.reserved = 1;
  expectCreate(options, MOEC_INVALID_ARGUMENT, "options: reserved is 1, expected 0");
}

// Options of zeros, and those of older structs, make the layer that no options make.
TEST(CreateArguments, zeros_are_the_defaults) {
  for (size_t size : {sizeof(moec_layer_options), size_t(56), size_t(40)}) {
    moec_layer_options options = {};
    options.struct_size = size;
    moec_layer *layer = nullptr, *plain = nullptr;
    ASSERT_EQ(moec_layer_create(tiny_package(), &options, &layer), MOEC_OK) << lastError();
    ASSERT_EQ(moec_layer_create(tiny_package(), nullptr, &plain), MOEC_OK) << lastError();
    moec_layer_info have = {}, want = {};
    have.struct_size = want.struct_size = sizeof(have);
    EXPECT_EQ(moec_layer_get_info(layer, &have), MOEC_OK);
    EXPECT_EQ(moec_layer_get_info(plain, &want), MOEC_OK);
    EXPECT_EQ(std::memcmp(&have, &want, sizeof(have)), 0);
    EXPECT_EQ(have.max_threads, 1);
    moec_layer_destroy(layer);
    moec_layer_destroy(plain);
  }
}

TEST(CreateArguments, null_pointers) {
  moec_layer *layer = nullptr;
  EXPECT_EQ(moec_layer_create(nullptr, nullptr, &layer), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "package is NULL");
  EXPECT_EQ(moec_layer_create(tiny_package(), nullptr, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "out_layer is NULL");
}

TEST(CreateArguments, destroying_null_is_fine) {
  moec_layer_destroy(nullptr);
  moec_weights_destroy(nullptr);
}

TEST_F(Arguments, info_and_roles) {
  moec_layer_info info = {};
  EXPECT_EQ(moec_layer_get_info(tiny.layer, &info), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "out_info: struct_size is 0, expected " + std::to_string(sizeof(info)));
  EXPECT_EQ(moec_layer_get_info(tiny.layer, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_layer_get_info(nullptr, &info), MOEC_NULL_POINTER);
  info.struct_size = sizeof(info);
  ASSERT_EQ(moec_layer_get_info(tiny.layer, &info), MOEC_OK);
  EXPECT_STREQ(info.name, "tiny");
  EXPECT_EQ(info.hidden, 8);
  EXPECT_EQ(info.num_experts, 4);
  EXPECT_EQ(info.top_k, 2);
  EXPECT_EQ(info.max_tokens, 512);
  EXPECT_EQ(info.num_logits, 4);
  EXPECT_EQ(info.x_dtype, MOEC_F32);
  EXPECT_EQ(info.determinism, 2);
  EXPECT_EQ(info.max_threads, 1);
  EXPECT_EQ(info.num_roles, 4);
  const char *name = nullptr;
  int32_t rank = 0;
  int64_t dims[4];
  ASSERT_EQ(moec_layer_role(tiny.layer, 1, &name, &rank, dims), MOEC_OK);
  EXPECT_STREQ(name, "experts.gate");
  EXPECT_EQ(rank, 3);
  EXPECT_EQ(dims[0], 4);
  EXPECT_EQ(dims[1], 6);
  EXPECT_EQ(dims[2], 8);
  EXPECT_EQ(dims[3], 0);
  EXPECT_EQ(moec_layer_role(tiny.layer, 4, &name, &rank, dims), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "role 4, the layer has 4");
  EXPECT_EQ(moec_layer_role(tiny.layer, -1, &name, &rank, dims), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(moec_layer_role(tiny.layer, 0, nullptr, &rank, dims), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "out_name is NULL");
  EXPECT_EQ(moec_layer_role(tiny.layer, 0, &name, nullptr, dims), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "out_rank is NULL");
  EXPECT_EQ(moec_layer_role(tiny.layer, 0, &name, &rank, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "out_dims is NULL");
}

TEST_F(Arguments, sizes) {
  size_t bytes = 0;
  EXPECT_EQ(moec_layer_workspace_bytes(nullptr, 1, &bytes), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_layer_workspace_bytes(tiny.layer, 1, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "out_bytes is NULL");
  EXPECT_EQ(moec_layer_workspace_bytes(tiny.layer, -1, &bytes), MOEC_TOKENS_OUT_OF_RANGE);
  EXPECT_EQ(lastError(), "num_tokens is -1, expected 0 to 512");
  EXPECT_EQ(moec_layer_workspace_bytes(tiny.layer, 513, &bytes), MOEC_TOKENS_OUT_OF_RANGE);
  EXPECT_EQ(moec_layer_weights_bytes(tiny.layer, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_layer_weights_bytes(nullptr, &bytes), MOEC_NULL_POINTER);
  EXPECT_EQ(bytes, 0u);
  EXPECT_EQ(moec_layer_weights_bytes(tiny.layer, &bytes), MOEC_OK);
  EXPECT_EQ(bytes, 16384u);
}
