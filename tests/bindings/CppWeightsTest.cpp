// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec.hpp: weights from tensors, checkpoints, buffers and files.

#include "CppLayer.h"
#include "WeightFile.h"

#include <fstream>
#include <unistd.h>

using namespace moec;
using namespace moec::test;

namespace {

// Files that are removed with the test.
class CppWeights : public testing::Test {
protected:
  CppWeights() : layer(tinyLayer()) {}
  ~CppWeights() override {
    for (const std::string &file : files)
      unlink(file.c_str());
  }
  std::string path(const std::string &name) {
    files.push_back(testing::TempDir() + "moec-cpp-" + std::to_string(getpid()) + "-" + name);
    return files.back();
  }
  std::string write(const std::string &name, const void *bytes, size_t count) {
    std::string file = path(name);
    std::ofstream(file, std::ios::binary).write(static_cast<const char *>(bytes), static_cast<std::streamsize>(count));
    return file;
  }
  void expectWorks(const Weights &weights) { expectReference(source, x, runCpp(layer, weights, x)); }

  Layer layer;
  TinyWeights source{8};
  std::vector<float> x = randomInput(5, 3);
  std::vector<std::string> files;
};

} // namespace

TEST_F(CppWeights, one_tensor_per_expert) {
  std::vector<Tensor> tensors = {
      {"router.weight", source.router}, {"experts.up", source.up}, {"experts.down", source.down}};
  for (int64_t e = 0; e < experts; ++e)
    tensors.push_back({"experts.gate." + std::to_string(e),
                       Span<const float>(source.gate.data() + e * inner * hidden, inner * hidden)});
  expectWorks(*layer.pack(tensors));
}

TEST_F(CppWeights, a_checkpoint_with_a_prefix) {
  std::string file = path("checkpoint.safetensors");
  fileWithDown(source, 0, 0, 0, MOEC_F32).write(file);
  expectWorks(*layer.load(file));
  expectWorks(*layer.load_sources({{file, ""}}));
  EXPECT_EQ(layer.load(file, "layers.0.").error().status, MOEC_MISSING_WEIGHT);
  EXPECT_EQ(messageOf(layer.load_sources({})), "MOEC_INVALID_ARGUMENT: sources is empty, expected 1 to 16");
}

TEST_F(CppWeights, a_buffer_of_the_caller) {
  Buffer buffer = *Buffer::allocate(layer.weights_bytes());
  Weights weights = *layer.pack_into(buffer.data(), buffer.size(), tensorsOf(source));
  EXPECT_EQ(static_cast<const void *>(weights.packed().data()), buffer.data());
  expectWorks(weights);
  EXPECT_EQ(layer.pack_into(buffer.data(), 100, tensorsOf(source)).error().status, MOEC_WORKSPACE_TOO_SMALL);
}

TEST_F(CppWeights, packed_weights_in_memory_and_in_a_file) {
  Weights packed = *layer.pack(tensorsOf(source));
  expectWorks(*layer.map(packed.packed().data(), packed.packed().size()));
  std::string file = write("packed", packed.packed().data(), packed.packed().size());
  expectWorks(*layer.map_file(file));
  expectWorks(*layer.map_file(file, true));
}

TEST_F(CppWeights, files_that_are_not_packed_weights) {
  Weights packed = *layer.pack(tensorsOf(source));
  std::vector<char> bytes(packed.packed().data(), packed.packed().data() + packed.packed().size());
  bytes[9000] = static_cast<char>(bytes[9000] + 1);
  std::string damaged = write("damaged", bytes.data(), bytes.size()), empty = write("empty", "", 0);
  EXPECT_TRUE(layer.map_file(damaged));
  std::string text = messageOf(layer.map_file(damaged, true));
  EXPECT_EQ(text.find("MOEC_FILE_FORMAT: " + damaged + ": packed weights are damaged"), 0u) << text;
  EXPECT_EQ(messageOf(layer.map_file(empty)), "MOEC_FILE: " + empty + ": cannot map it: it is empty");
  EXPECT_EQ(messageOf(layer.map_file("/nowhere")), "MOEC_FILE: /nowhere: cannot map it: No such file or directory");
}
