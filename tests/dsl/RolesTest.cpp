// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// rolesOf(): names and shapes, checked by hand and against the tensors of the golden cases stored under role names.

#include "SpecTexts.h"

#include <gtest/gtest.h>
#include <numeric>

using namespace moec;

namespace {

// "router.weight 4x8, experts.gate 4x6x8, ..."
std::string rolesText(const std::string &text) {
  ReadResult result = readText(text);
  EXPECT_TRUE(result.spec) << result.rendered();
  std::string out;
  if (result.spec)
    for (const Role &role : rolesOf(*result.spec)) {
      out += (out.empty() ? "" : ", ") + role.name;
      for (size_t i = 0; i < role.shape.size(); ++i)
        out += (i ? "x" : " ") + std::to_string(role.shape[i]);
    }
  return out;
}

std::string spec(const std::string &router, const std::string &experts, const std::string &rest = "") {
  return "{\"moec\": 1, \"hidden\": 8, \"router\": {" + router + "}, \"experts\": {\"count\": 4, " + experts + "}" +
         rest + "}";
}

// Names and shapes of a safetensors file.
nlohmann::json tensorsOf(const std::string &name) {
  std::string bytes = fileText("tests/golden/" + name + ".safetensors").substr(0, 1 << 20);
  if (bytes.size() < 8)
    return nullptr;
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i)
    length = length << 8 | (unsigned char)bytes[i];
  return nlohmann::json::parse(bytes.substr(8, length), nullptr, false);
}

} // namespace

TEST(roles, forms) {
  EXPECT_EQ(rolesText(fileText("examples/tiny.json")),
            "router.weight 4x8, experts.gate 4x6x8, experts.up 4x6x8, experts.down 4x8x6");
  EXPECT_EQ(rolesText(spec("\"top_k\": 1", "\"form\": \"mlp\", \"layers\": 3, \"intermediate\": 6, "
                                           "\"bias\": {\"in\": true, \"out\": true}")),
            "router.weight 4x8, experts.up 4x6x8, experts.hidden1 4x6x6, experts.hidden2 4x6x6, experts.down 4x8x6, "
            "experts.up_bias 4x6, experts.hidden1_bias 4x6, experts.hidden2_bias 4x6, experts.down_bias 4x8");
  EXPECT_EQ(rolesText(spec("\"top_k\": 1", "\"form\": \"linear\"")), "router.weight 4x8, experts.up 4x8x8");
}

TEST(roles, experts_of_different_width_are_one_tensor_each) {
  const std::string text =
      spec("\"top_k\": 1", "\"form\": \"mlp\", \"intermediate\": [6, 3, 6, 9], \"bias\": {\"out\": true}");
  EXPECT_EQ(rolesText(text), "router.weight 4x8, experts.up 4x-1x8, experts.down 4x8x-1, experts.down_bias 4x8");
  ReadResult result = readText(text);
  ASSERT_TRUE(result.spec) << result.rendered();
  std::vector<Role> tensors = tensorsOf(*result.spec);
  ASSERT_EQ(tensors.size(), 1u + 3 * 4);
  EXPECT_EQ(tensors[4].name, "experts.up.3");
  EXPECT_EQ(tensors[4].stackedName, "experts.up");
  EXPECT_EQ(tensors[4].expert, 3);
  EXPECT_EQ(tensors[4].shape, (std::vector<int64_t>{9, 8}));
  EXPECT_EQ(tensors[6].shape, (std::vector<int64_t>{8, 3}));
  EXPECT_EQ(tensors[12].name, "experts.down_bias.3");
  EXPECT_EQ(tensors[12].shape, (std::vector<int64_t>{8}));
}

TEST(roles, product_keys_and_constants) {
  EXPECT_EQ(
      rolesText(spec("\"kind\": \"product_key\", \"top_k\": 2, \"bias\": true, \"noise\": {\"kind\": \"learned\"}",
                     "\"form\": \"linear\"")),
      "router.weight 4x8, router.bias 4, router.noise_weight 4x8, experts.up 4x8x8");
  EXPECT_EQ(rolesText(spec("\"top_k\": 2", "\"form\": \"linear\", \"zero\": {\"count\": 3, \"kind\": \"constant\"}")),
            "router.weight 7x8, experts.up 4x8x8, experts.zero_constant 8x3");
}

TEST(roles, router_kinds) {
  const std::string mlp = "\"form\": \"mlp\", \"intermediate\": 6";
  const std::string experts = "experts.up 4x6x8, experts.down 4x8x6";
  EXPECT_EQ(rolesText(spec("\"kind\": \"soft\", \"slots\": 3", mlp)), "router.slots 12x8, " + experts);
  EXPECT_EQ(rolesText(spec("\"kind\": \"external\", \"top_k\": 2", mlp)), experts);
  EXPECT_EQ(rolesText(spec("\"kind\": \"table\", \"top_k\": 2, \"weight_mode\": \"one\"", mlp)),
            "router.table -1x2, " + experts);
  EXPECT_EQ(rolesText(spec("\"top_k\": 2, \"bias\": true, \"choice_bias\": true, \"expert_scale\": true, "
                           "\"noise\": {\"kind\": \"learned\"}, \"input\": {\"norm\": {\"weight\": true}}",
                           mlp + ", \"zero\": {\"count\": 2}")),
            "router.weight 6x8, router.bias 6, router.choice_bias 6, router.expert_scale 6, router.input_scale 8, "
            "router.noise_weight 6x8, " +
                experts);
}

TEST(roles, shared_blocks) {
  EXPECT_EQ(rolesText(spec("\"top_k\": 1", "\"form\": \"mlp\", \"intermediate\": 6",
                           ", \"shared\": {\"intermediate\": 5, \"count\": 2, \"gate\": \"softmax2\", "
                           "\"bias\": {\"in\": true, \"out\": true}}, \"combine\": {\"bias\": true}")),
            "router.weight 4x8, experts.up 4x6x8, experts.down 4x8x6, shared.gate 2x5x8, shared.up 2x5x8, "
            "shared.down 2x8x5, shared.gate_in_bias 2x5, shared.up_bias 2x5, shared.down_bias 2x8, "
            "shared.gate_weight 2x8, shared.gate_bias 2, output.bias 8");
}

TEST(roles, norms) {
  const std::string linear = "\"form\": \"linear\", ";
  EXPECT_EQ(rolesText(spec("\"top_k\": 1", linear + "\"norm_out\": \"layernorm\"",
                           ", \"combine\": {\"norm_out\": \"layernorm\"}")),
            "router.weight 4x8, experts.up 4x8x8, experts.norm_weight 4x8, experts.norm_bias 4x8, "
            "output.norm_weight 8, output.norm_bias 8");
  EXPECT_EQ(rolesText(spec("\"top_k\": 1",
                           linear + "\"norm_out\": {\"kind\": \"rms\", \"per_expert\": false}, "
                                    "\"latent\": {\"dim\": 3, \"norm_in\": \"rms\", "
                                    "\"norm_out\": \"layernorm\"}",
                           ", \"combine\": {\"norm_out\": {\"kind\": \"rms\", \"weight\": false}}")),
            "router.weight 4x8, latent.in 3x8, latent.norm_in_weight 3, experts.up 4x3x3, experts.norm_weight 3, "
            "latent.norm_out_weight 3, latent.norm_out_bias 3, latent.out 8x3");
}

// Cases without a weights map store their parameters under role names.
TEST(roles, golden_tensors_have_the_role_shapes) {
  int compared = 0;
  for (const GoldenSpec &golden : goldenSpecs()) {
    ReadResult result = readText(golden.text);
    ASSERT_TRUE(result.spec) << golden.name;
    if (!result.spec->weights.empty())
      continue;
    nlohmann::json tensors = tensorsOf(golden.name);
    ASSERT_TRUE(tensors.is_object()) << golden.name;
    std::vector<Role> roles = rolesOf(*result.spec);
    for (const auto &[key, tensor] : tensors.items()) {
      if (key.rfind("w.", 0) != 0)
        continue;
      const Role *found = nullptr;
      for (const Role &role : roles)
        if (role.name == key.substr(2))
          found = &role;
      ASSERT_TRUE(found) << golden.name << " has " << key;
      auto shape = tensor["shape"].get<std::vector<int64_t>>();
      while (shape.size() > found->shape.size() && shape[0] == 1) // a single shared block may be stacked
        shape.erase(shape.begin());
      EXPECT_EQ(shape, found->shape) << golden.name << " " << key;
      ++compared;
    }
  }
  EXPECT_GE(compared, 60);
}
