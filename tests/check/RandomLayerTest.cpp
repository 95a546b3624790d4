// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Specs -> random weights of the types that their layers store.

#include "codegen/check/OracleCheck.h"
#include "dsl/spec/SpecReader.h"

#include <gtest/gtest.h>

using namespace moec;

TEST(RandomLayer, a_buffer_holds_all_elements_of_its_type) {
  for (const char *types : {R"({"weight": "bf16", "router": "f32"})", R"({"weight": "f32", "router": "bf16"})"}) {
    SpecSource source;
    DiagnosticList said;
    std::optional<LayerSpec> spec = readSpec(
        R"({"moec": 1, "name": "a", "hidden": 64, "router": {"top_k": 2}, "experts": {"count": 64, "intermediate": 8},
            "dtype": )" +
            std::string(types) + "}",
        "layer.json", {}, source, said);
    ASSERT_TRUE(spec) << types;
    RandomLayer layer;
    ASSERT_TRUE(layer.make(*spec, 1));
    size_t bytes = 0, held = 0;
    for (const auto &[name, tensor] : layer.tensors) {
      size_t count = 1;
      for (int64_t extent : tensor.shape)
        count *= size_t(extent);
      bytes += count * size_t(dataTypeBits(tensor.type)) / 8;
    }
    for (const PageBuffer &buffer : layer.memory)
      held += buffer.size();
    EXPECT_EQ(held, bytes) << types;
  }
}
