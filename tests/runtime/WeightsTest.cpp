// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Weights from tensors, from files in every storage form, and from packed buffers: all give the same packed bytes.

#include "TinyLayer.h"
#include "WeightFile.h"
#include "runtime/weights/float_convert.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <deque>
#include <functional>
#include <unistd.h>

using namespace moec::test;

namespace {

constexpr size_t packedBytes = 16384;

FileWriter wholeFile(const TinyWeights &w, const std::string &prefix = "") {
  FileWriter file;
  file.add(prefix + "router.weight", {experts, hidden}, w.router);
  file.add(prefix + "experts.gate_up", {experts, hidden, 2 * inner}, gateUpEvenOdd(w));
  for (int64_t e = 0; e < experts; ++e)
    file.add(prefix + "experts." + std::to_string(e) + ".down", {hidden, inner},
             slice(w.down, e * hidden * inner, hidden * inner));
  return file;
}

class Weights : public testing::Test {
protected:
  Weights() : source(1), path(testing::TempDir() + "moec_weights_" + std::to_string(getpid())) {
    EXPECT_EQ(moec_layer_create(tiny_package(), nullptr, &layer), MOEC_OK);
    want = pack(layer, source);
  }
  ~Weights() override {
    moec_layer_destroy(layer);
    unlink(path.c_str());
  }

  static std::string pack(const moec_layer *layer, const TinyWeights &source, int fill = 0x5a) {
    AlignedBytes buffer(packedBytes, fill);
    std::vector<moec_tensor> tensors = source.tensors();
    moec_weights *weights = nullptr;
    EXPECT_EQ(moec_weights_pack(layer, tensors.data(), tensors.size(), buffer.data(), packedBytes, &weights), MOEC_OK)
        << lastError();
    moec_weights_destroy(weights);
    return {static_cast<char *>(buffer.data()), packedBytes};
  }

  static std::string load(const moec_layer *layer, const std::string &path, const char *prefix, moec_status *status) {
    AlignedBytes buffer(packedBytes, 0x5a);
    moec_weights *weights = nullptr;
    *status = moec_weights_load(layer, path.c_str(), prefix, buffer.data(), packedBytes, &weights);
    moec_weights_destroy(weights);
    return {static_cast<char *>(buffer.data()), packedBytes};
  }

  // The regions, without the header page: its layout hash differs between packages.
  static std::string regions(const std::string &packed) { return packed.substr(4096); }

  void expectLoaded(const FileWriter &file, const char *prefix = nullptr) {
    file.write(path);
    moec_status status;
    EXPECT_TRUE(load(layer, path, prefix, &status) == want);
    EXPECT_EQ(status, MOEC_OK) << lastError();
  }

  void expectLoadError(const FileWriter &file, moec_status expected, const std::string &text) {
    file.write(path);
    moec_status status;
    load(layer, path, nullptr, &status);
    EXPECT_STREQ(moec_status_name(status), moec_status_name(expected));
    EXPECT_EQ(lastError(), text);
  }

  void expectPackError(const std::function<void(std::vector<moec_tensor> &)> &spoil, moec_status expected,
                       const std::string &text) {
    AlignedBytes buffer(packedBytes, 0x5a);
    std::vector<moec_tensor> tensors = source.tensors();
    spoil(tensors);
    moec_weights *weights = nullptr;
    EXPECT_STREQ(moec_status_name(
                     moec_weights_pack(layer, tensors.data(), tensors.size(), buffer.data(), packedBytes, &weights)),
                 moec_status_name(expected));
    EXPECT_EQ(lastError(), text);
    EXPECT_EQ(weights, nullptr);
    EXPECT_EQ(std::string(static_cast<char *>(buffer.data()), packedBytes), std::string(packedBytes, '\x5a'));
  }

  TinyWeights source;
  std::string path, want;
  moec_layer *layer = nullptr;
};

} // namespace

// ---- packed buffers ---------------------------------------------------------------------------------------------

TEST_F(Weights, pack_writes_every_byte) {
  EXPECT_EQ(pack(layer, source, 0xa5), want); // gaps between regions too: equal weights give equal files
}

TEST_F(Weights, packed_buffer_is_saved_and_mapped_again) {
  AlignedBytes buffer(packedBytes);
  std::memcpy(buffer.data(), want.data(), packedBytes);
  moec_weights *weights = nullptr;
  ASSERT_EQ(moec_weights_map(layer, buffer.data(), packedBytes, 0, &weights), MOEC_OK) << lastError();
  TinyLayer tiny(source);
  std::vector<float> x = randomInput(20, 1);
  TinyResult direct = runTiny(tiny, x);
  std::swap(tiny.weights, weights);
  moec_layer *own = tiny.layer;
  tiny.layer = layer;
  EXPECT_TRUE(runTiny(tiny, x) == direct);
  tiny.layer = own;
  std::swap(tiny.weights, weights);
  moec_weights_destroy(weights);
}

TEST_F(Weights, map_refuses_other_buffers) {
  auto expectMap = [&](const std::function<void(char *)> &spoil, moec_status status, const std::string &text) {
    AlignedBytes buffer(packedBytes);
    std::memcpy(buffer.data(), want.data(), packedBytes);
    spoil(static_cast<char *>(buffer.data()));
    moec_weights *weights = nullptr;
    EXPECT_EQ(moec_weights_map(layer, buffer.data(), packedBytes, 0, &weights), status);
    EXPECT_EQ(lastError(), text);
    EXPECT_EQ(weights, nullptr);
  };
  expectMap([](char *b) { b[0] = 'x'; }, MOEC_VERSION_MISMATCH, "buffer does not hold packed weights");
  expectMap([](char *b) { std::swap(b[8], b[11]), std::swap(b[9], b[10]); }, MOEC_VERSION_MISMATCH,
            "packed weights have the other byte order");
  expectMap([](char *b) { b[12] = 2; }, MOEC_VERSION_MISMATCH,
            "packed weights were made for ABI 2, this package has 1");
  expectMap([](char *b) { b[63] ^= 1; }, MOEC_VERSION_MISMATCH,
            "packed weights belong to another spec than package tiny");
  expectMap([](char *b) { b[24] ^= 1; }, MOEC_VERSION_MISMATCH,
            "packed weights have another layout than package tiny; pack them again");
  expectMap([](char *b) { b[16] ^= 1; }, MOEC_VERSION_MISMATCH,
            "packed weights have another layout than package tiny; pack them again");
}

// ---- checksums --------------------------------------------------------------------------------------------------

namespace {
// The status of moec_weights_map with MOEC_MAP_VERIFY after `spoil`.
moec_status verified(const moec_layer *layer, const std::string &packed, const std::function<void(char *)> &spoil) {
  AlignedBytes buffer(packedBytes);
  std::memcpy(buffer.data(), packed.data(), packedBytes);
  spoil(static_cast<char *>(buffer.data()));
  moec_weights *weights = nullptr;
  moec_status status = moec_weights_map(layer, buffer.data(), packedBytes, MOEC_MAP_VERIFY, &weights);
  EXPECT_EQ(status == MOEC_OK, weights != nullptr);
  moec_weights_destroy(weights);
  return status;
}
} // namespace

TEST_F(Weights, checksum_of_what_was_packed_agrees) {
  EXPECT_EQ(verified(layer, want, [](char *) {}), MOEC_OK) << lastError();
  moec_layer_options options = threadOptions(3);
  moec_layer *parallel = nullptr;
  ASSERT_EQ(moec_layer_create(tiny_package(), &options, &parallel), MOEC_OK);
  EXPECT_EQ(verified(parallel, want, [](char *) {}), MOEC_OK) << lastError();
  moec_layer_destroy(parallel);
}

TEST_F(Weights, flipped_byte_is_named) {
  for (size_t byte = 88; byte < packedBytes; byte += byte < 4200 ? 1 : 97)
    for (unsigned char flip : {1, 0x80}) {
      ASSERT_EQ(verified(layer, want, [&](char *b) { b[byte] = static_cast<char>(b[byte] ^ flip); }), MOEC_FILE_FORMAT);
      std::string begin = "packed weights are damaged, probably at byte " + std::to_string(byte);
      ASSERT_EQ(lastError().rfind(begin, 0), 0u) << lastError();
    }
  auto expectDamage = [&](size_t byte, const std::string &where) {
    EXPECT_EQ(verified(layer, want, [&](char *b) { b[byte] ^= 4; }), MOEC_FILE_FORMAT);
    EXPECT_EQ(lastError(), "packed weights are damaged, probably at byte " + std::to_string(byte) + where);
  };
  expectDamage(4000, ", in the header page");
  expectDamage(4096, ", in router.weight");
  expectDamage(8192 + 2048 + 5, ", in experts.gate + experts.up, group 2");
  EXPECT_EQ(verified(layer, want,
                     [](char *b) {
                       b[5000] ^= 1;
                       b[9000] ^= 0x40;
                     }),
            MOEC_FILE_FORMAT);
  EXPECT_EQ(lastError().rfind("packed weights are damaged, in more than one place: their checksum is ", 0), 0u)
      << lastError();
  EXPECT_EQ(verified(layer, want, [](char *b) { b[72] ^= 1; }), MOEC_FILE_FORMAT) << "the checksum itself";
}

TEST_F(Weights, formats_of_other_versions) {
  auto older = [](char *b) { std::memset(b + 64, 0, 24); }; // as moec wrote it before checksums
  AlignedBytes buffer(packedBytes);
  std::memcpy(buffer.data(), want.data(), packedBytes);
  older(static_cast<char *>(buffer.data()));
  moec_weights *weights = nullptr;
  EXPECT_EQ(moec_weights_map(layer, buffer.data(), packedBytes, 0, &weights), MOEC_OK) << lastError();
  moec_weights_destroy(weights);
  EXPECT_EQ(verified(layer, want, older), MOEC_VERSION_MISMATCH);
  EXPECT_EQ(lastError(), "packed weights hold no checksum: an older moec packed them; pack them again");
  EXPECT_EQ(verified(layer, want, [](char *b) { b[64] = 2; }), MOEC_VERSION_MISMATCH);
  EXPECT_EQ(lastError(),
            "packed weights have format 2 with checksum 1, this runtime knows formats up to 1 and checksums "
            "up to 1");
  EXPECT_EQ(verified(layer, want, [](char *b) { b[68] = 2; }), MOEC_VERSION_MISMATCH);
  EXPECT_EQ(moec_weights_map(layer, buffer.data(), packedBytes, 2, &weights), MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "flags is 2, expected 0 or MOEC_MAP_VERIFY (1)");
}

TEST_F(Weights, buffer_arguments) {
  AlignedBytes buffer(packedBytes + 64);
  char *memory = static_cast<char *>(buffer.data());
  std::vector<moec_tensor> tensors = source.tensors();
  moec_weights *weights = nullptr;
  auto packInto = [&](const moec_layer *l, void *data, size_t bytes, moec_weights **out) {
    return moec_weights_pack(l, tensors.data(), tensors.size(), data, bytes, out);
  };
  EXPECT_EQ(packInto(nullptr, memory, packedBytes, &weights), MOEC_NULL_POINTER);
  EXPECT_EQ(packInto(layer, nullptr, packedBytes, &weights), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "buffer is NULL");
  EXPECT_EQ(packInto(layer, memory, packedBytes, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "out_weights is NULL");
  EXPECT_EQ(packInto(layer, memory + 32, packedBytes, &weights), MOEC_ALIGNMENT);
  EXPECT_EQ(lastError(), "buffer is not 64-byte aligned");
  EXPECT_EQ(packInto(layer, memory, packedBytes - 1, &weights), MOEC_WORKSPACE_TOO_SMALL);
  EXPECT_EQ(lastError(), "buffer has 16383 bytes, packed weights need 16384");
  EXPECT_EQ(moec_weights_pack(layer, nullptr, 1, memory, packedBytes, &weights), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "tensors is NULL");
  EXPECT_EQ(moec_weights_map(layer, nullptr, packedBytes, 0, &weights), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_weights_map(nullptr, memory, packedBytes, 0, &weights), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_weights_map(layer, memory + 1, packedBytes, 0, &weights), MOEC_ALIGNMENT);
  std::memcpy(memory, want.data(), packedBytes);
  EXPECT_EQ(moec_weights_map(layer, memory, 5000, 0, &weights), MOEC_WORKSPACE_TOO_SMALL);
  EXPECT_EQ(lastError(), "buffer has 5000 bytes, packed weights need 16384");
  EXPECT_EQ(moec_weights_map(layer, memory, 3, 0, &weights), MOEC_WORKSPACE_TOO_SMALL);
  EXPECT_EQ(moec_weights_map(layer, memory, packedBytes, 0, nullptr), MOEC_NULL_POINTER);
  EXPECT_EQ(moec_weights_load(layer, nullptr, nullptr, memory, packedBytes, &weights), MOEC_NULL_POINTER);
  EXPECT_EQ(lastError(), "path is NULL");
  EXPECT_EQ(weights, nullptr);
}

TEST_F(Weights, threads_pack_the_same_bytes) {
  moec_layer_options options = threadOptions(3);
  moec_layer *parallel = nullptr;
  ASSERT_EQ(moec_layer_create(tiny_package(), &options, &parallel), MOEC_OK);
  EXPECT_TRUE(pack(parallel, source) == want);
  moec_layer_destroy(parallel);
}

// ---- tensors ----------------------------------------------------------------------------------------------------

TEST_F(Weights, tensor_errors) {
  using Tensors = std::vector<moec_tensor>;
  expectPackError([](Tensors &t) { t.pop_back(); }, MOEC_MISSING_WEIGHT, "no tensor for role experts.down");
  expectPackError([](Tensors &t) { t.clear(); }, MOEC_MISSING_WEIGHT, "no tensor for role router.weight");
  expectPackError([](Tensors &t) { t[1].role = "experts.gates"; }, MOEC_INVALID_ARGUMENT,
                  "tensors[1]: package tiny has no role \"experts.gates\"");
  expectPackError([](Tensors &t) { t[2].role = "experts.gate"; }, MOEC_INVALID_ARGUMENT,
                  "tensors[2]: role experts.gate is given twice");
  expectPackError([](Tensors &t) { t[0].role = nullptr; }, MOEC_NULL_POINTER, "tensors[0]: role is NULL");
  expectPackError([](Tensors &t) { t[3].data = nullptr; }, MOEC_NULL_POINTER, "tensors[3]: data is NULL");
  expectPackError([](Tensors &t) { t[0].dtype = MOEC_I8; }, MOEC_DTYPE,
                  "router.weight: dtype is i8, expected f32, bf16 or f16");
  expectPackError([](Tensors &t) { t[1].dims[2] = 9; }, MOEC_SHAPE,
                  "experts.gate: shape is [4, 6, 9], expected [4, 6, 8]");
  expectPackError([](Tensors &t) { t[0].rank = 3; }, MOEC_SHAPE, "router.weight: shape is [4, 8, 0], expected [4, 8]");
  expectPackError([](Tensors &t) { t[0].rank = 5; }, MOEC_SHAPE, "router.weight: rank is 5, expected 2");
}

// experts.gate and experts.down as a tensor per expert, last expert first; experts.up as one.
static std::vector<moec_tensor> tensorsPerExpert(const TinyWeights &source, std::deque<std::string> &names) {
  std::vector<moec_tensor> whole = source.tensors(), tensors = {whole[0], whole[2]};
  for (int64_t e = experts; e-- > 0;)
    for (const moec_tensor &all : {whole[1], whole[3]}) {
      names.push_back(std::string(all.role) + "." + std::to_string(e));
      moec_tensor one = {names.back().c_str(), nullptr, all.dtype, 2, {all.dims[1], all.dims[2]}};
      one.data = static_cast<const float *>(all.data) + e * hidden * inner;
      tensors.push_back(one);
    }
  return tensors;
}

TEST_F(Weights, tensor_per_expert) {
  std::deque<std::string> names;
  std::vector<moec_tensor> tensors = tensorsPerExpert(source, names);
  AlignedBytes buffer(packedBytes, 0x5a);
  moec_weights *weights = nullptr;
  ASSERT_EQ(moec_weights_pack(layer, tensors.data(), tensors.size(), buffer.data(), packedBytes, &weights), MOEC_OK)
      << lastError();
  moec_weights_destroy(weights);
  EXPECT_TRUE(std::string(static_cast<char *>(buffer.data()), packedBytes) == want);
}

TEST_F(Weights, tensor_per_expert_errors) {
  using Tensors = std::vector<moec_tensor>;
  std::deque<std::string> names;
  Tensors perExpert = tensorsPerExpert(source, names);
  auto expectError = [&](const std::function<void(Tensors &)> &spoil, moec_status status, const std::string &text) {
    expectPackError([&](Tensors &t) { spoil(t = perExpert); }, status, text);
  };
  ASSERT_STREQ(perExpert[2].role, "experts.gate.3");
  expectError([](Tensors &t) { t.pop_back(); }, MOEC_MISSING_WEIGHT, "no tensor for role experts.down.0");
  expectError([](Tensors &t) { t[4].role = "experts.gate.3"; }, MOEC_INVALID_ARGUMENT,
              "tensors[4]: role experts.gate.3 is given twice");
  expectError([](Tensors &t) { t[4].role = "experts.up.3"; }, MOEC_INVALID_ARGUMENT,
              "tensors[4]: role experts.up.3 is given twice");
  expectError([](Tensors &t) { std::swap(t[1], t[9]), t[9].role = "experts.gate"; }, MOEC_INVALID_ARGUMENT,
              "tensors[9]: role experts.gate is given twice");
  expectError([](Tensors &t) { t[2].role = "experts.gate.4"; }, MOEC_INVALID_ARGUMENT,
              "tensors[2]: role \"experts.gate.4\", but package tiny has 4 of them");
  for (const char *name : {"experts.gate.03", "experts.gate.", "experts.gate.-1", "experts.gate.3.1", "experts.3",
                           "router.weight.0", "experts.gate.99999999999999999999", "3"})
    expectError([&](Tensors &t) { t[2].role = name; }, MOEC_INVALID_ARGUMENT,
                "tensors[2]: package tiny has no role \"" + std::string(name) + "\"");
  expectError([](Tensors &t) { t[4].dtype = MOEC_BF16; }, MOEC_DTYPE,
              "experts.gate.2: dtype is bf16, experts before it have f32");
  expectError([](Tensors &t) { t[2].rank = 3; }, MOEC_SHAPE, "experts.gate.3: shape is [6, 8, 0], expected [6, 8]");
  expectError([](Tensors &t) { t[2].dims[0] = 5; }, MOEC_SHAPE, "experts.gate.3: shape is [5, 8], expected [6, 8]");
  AlignedBytes buffer(packedBytes);
  Tensors inside = perExpert;
  inside[2].data = static_cast<char *>(buffer.data()) + packedBytes - 16;
  moec_weights *weights = nullptr;
  EXPECT_EQ(moec_weights_pack(layer, inside.data(), inside.size(), buffer.data(), packedBytes, &weights), MOEC_OVERLAP);
  EXPECT_EQ(lastError(), "experts.gate.3 and buffer share bytes");
}

TEST_F(Weights, tensor_inside_the_buffer) {
  AlignedBytes buffer(packedBytes);
  std::vector<moec_tensor> tensors = source.tensors();
  tensors[0].data = static_cast<char *>(buffer.data()) + packedBytes - 16;
  moec_weights *weights = nullptr;
  EXPECT_EQ(moec_weights_pack(layer, tensors.data(), tensors.size(), buffer.data(), packedBytes, &weights),
            MOEC_OVERLAP);
  EXPECT_EQ(lastError(), "router.weight and buffer share bytes");
}

// ---- files ------------------------------------------------------------------------------------------------------

TEST_F(Weights, file_as_the_package_names_it) { expectLoaded(wholeFile(source)); }

TEST_F(Weights, file_with_a_prefix) { expectLoaded(wholeFile(source, "model.layers.3."), "model.layers.3."); }

// Every storage form of experts.down: the same regions come out.
TEST_F(Weights, file_in_every_storage_form) {
  for (int stack : {MOEC_STACK_PER_EXPERT, MOEC_STACK_STACKED, MOEC_STACK_FLAT_ROWS, MOEC_STACK_INTERLEAVED_COLUMNS})
    for (int axes : {MOEC_AXES_OUT_IN, MOEC_AXES_IN_OUT})
      for (int part : {MOEC_PART_ALL, MOEC_PART_FIRST_HALF, MOEC_PART_SECOND_HALF, MOEC_PART_EVEN, MOEC_PART_ODD}) {
        EditablePackage edited;
        moec_role &role = edited.role(3);
        role.stack = static_cast<uint16_t>(stack);
        role.axes = static_cast<uint16_t>(axes);
        role.part = static_cast<uint16_t>(part);
        fileWithDown(source, stack, axes, part, MOEC_F32).write(path);
        moec_layer *other = nullptr;
        ASSERT_EQ(moec_layer_create(&edited.package, nullptr, &other), MOEC_OK) << lastError();
        moec_status status;
        EXPECT_TRUE(regions(load(other, path, nullptr, &status)) == regions(want))
            << stack << " " << axes << " " << part;
        EXPECT_EQ(status, MOEC_OK) << lastError();
        moec_layer_destroy(other);
      }
}

TEST_F(Weights, file_of_two_byte_types) {
  for (float &value : source.router)
    value = moec_f32_of_bf16(moec_bf16_of_f32(value));
  for (float &value : source.down)
    value = moec_f32_of_f16(moec_f16_of_f32(value));
  want = pack(layer, source);
  FileWriter file;
  file.add("router.weight", {experts, hidden}, source.router, MOEC_BF16);
  file.add("experts.gate_up", {experts, hidden, 2 * inner}, gateUpEvenOdd(source));
  for (int64_t e = 0; e < experts; ++e)
    file.add("experts." + std::to_string(e) + ".down", {hidden, inner},
             slice(source.down, e * hidden * inner, hidden * inner), MOEC_F16);
  expectLoaded(file);
}

TEST_F(Weights, file_errors) {
  FileWriter file;
  file.add("router.weight", {hidden, experts}, source.router);
  expectLoadError(file, MOEC_SHAPE, "router.weight: tensor \"router.weight\" has shape [8, 4], expected [4, 8]");
  file = FileWriter();
  file.add("router.weight", {experts, hidden}, source.router);
  expectLoadError(file, MOEC_MISSING_WEIGHT, "experts.gate: tensor \"experts.gate_up\" is not in " + path);
  file.add("experts.gate_up", {experts, hidden, 2 * inner}, gateUpEvenOdd(source));
  file.add("experts.0.down", {hidden, inner}, slice(source.down, 0, hidden * inner));
  file.add("experts.1.down", {hidden, inner}, slice(source.down, 0, hidden * inner), MOEC_BF16);
  expectLoadError(file, MOEC_DTYPE,
                  "experts.down: tensor \"experts.1.down\" is BF16, its experts before are of another type");
  file = FileWriter();
  file.header = R"({"router.weight":{"dtype":"I32","shape":[4,8],"data_offsets":[0,128]})";
  file.data = std::string(128, 'x');
  expectLoadError(file, MOEC_DTYPE, "router.weight: tensor \"router.weight\" is I32, expected F32, BF16 or F16");
}

TEST_F(Weights, file_with_more_experts_than_the_layer) {
  FileWriter file = wholeFile(source);
  for (const char *name : {"experts.4.down", "experts.5.down", "experts.7.down"})
    file.add(name, {hidden, inner}, slice(source.down, 0, hidden * inner));
  expectLoadError(file, MOEC_SHAPE,
                  "experts.down: " + path + " has 6 experts, the last is \"experts.5.down\"; the layer has 4");
  file = FileWriter();
  file.add("router.weight", {experts, hidden}, source.router);
  file.add("experts.gate_up", {2 * experts, hidden, inner}, gateUpEvenOdd(source));
  expectLoadError(file, MOEC_SHAPE,
                  "experts.gate: tensor \"experts.gate_up\" has shape [8, 8, 6], expected [4, 8, 12]");
  file = FileWriter();
  file.add("router.weight", {experts, hidden}, source.router);
  file.add("experts.gate_up", {5, hidden, 2 * inner}, std::vector<float>(5 * hidden * 2 * inner));
  expectLoadError(file, MOEC_SHAPE, "experts.gate: tensor \"experts.gate_up\" has 5 experts, the layer has 4");
}

// Tensors that the layer does not take may have any type and rank; one that it takes is named with them.
TEST_F(Weights, file_with_other_tensors) {
  FileWriter file = wholeFile(source);
  auto addOther = [&](FileWriter &to, const std::string &name, const std::string &type, const std::string &shape) {
    std::string at = std::to_string(to.data.size()), end = std::to_string(to.data.size() + 4);
    to.header += (to.header.empty() ? "{" : ",") + ("\"" + name + "\":{\"dtype\":\"") + type + "\",\"shape\":" + shape +
                 ",\"data_offsets\":[" + at + "," + end + "]}";
    to.data += "1234";
  };
  addOther(file, "scales", "F8_E8M0", "[2,2]");
  addOther(file, "packed", "I4", "[8]");
  addOther(file, "cache", "F32", "[1,1,1,1,1,1,1,1,1]");
  expectLoaded(file);
  FileWriter wrong;
  addOther(wrong, "router.weight", "I4", "[8]");
  expectLoadError(wrong, MOEC_DTYPE, "router.weight: tensor \"router.weight\" is I4, expected F32, BF16 or F16");
  wrong = FileWriter();
  addOther(wrong, "router.weight", "F32", "[1,1,1,1,1,1,1,1,1]");
  expectLoadError(wrong, MOEC_SHAPE,
                  "router.weight: tensor \"router.weight\" has shape [1, 1, 1, 1, 1, 1, 1, 1, ...], expected [4, 8]");
}

TEST_F(Weights, file_with_a_prefix_that_is_too_long) {
  wholeFile(source).write(path);
  moec_status status;
  load(layer, path, std::string(2000, 'p').c_str(), &status);
  EXPECT_EQ(status, MOEC_INVALID_ARGUMENT);
  EXPECT_EQ(lastError(), "router.weight: its tensor name with prefix has more than 1023 bytes");
}

TEST_F(Weights, file_cut_anywhere_is_refused) {
  wholeFile(source).write(path);
  FILE *stream = std::fopen(path.c_str(), "rb");
  std::string whole(65536, '\0');
  whole.resize(std::fread(&whole[0], 1, whole.size(), stream));
  std::fclose(stream);
  for (size_t bytes = 0; bytes < whole.size(); bytes += bytes < 1000 ? 1 : 37) {
    ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(bytes)), 0);
    moec_status status;
    load(layer, path, nullptr, &status);
    ASSERT_EQ(status, MOEC_FILE_FORMAT) << bytes;
    wholeFile(source).write(path);
  }
}
