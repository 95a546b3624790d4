// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Inputs the oracle cannot use -> one sentence that names the key or tensor.

#include "TinyLayer.h"

using namespace moec;

namespace {

const std::string experts = "\"experts\": {\"count\": 2, \"form\": \"linear\"}";

std::string errorOf(TinyLayer &layer) {
  EXPECT_FALSE(layer.tryRun());
  return layer.error;
}

std::string errorOf(const std::string &router, const std::string &more = experts) {
  TinyLayer layer("{\"moec\": 1, \"hidden\": 2, \"router\": {" + router + "}, " + more + "}");
  layer.randomX(3);
  layer.inputs.training = true;
  return errorOf(layer);
}

} // namespace

TEST(ReferenceError, kinds_without_a_reference_are_named) {
  EXPECT_EQ(errorOf("\"kind\": \"depth\", \"select\": {\"tokens\": 1}"), "router.kind depth has no reference");
  EXPECT_EQ(
      errorOf("\"top_k\": 1", "\"experts\": {\"count\": 2, \"intermediate\": 32, \"quant\": {\"kind\": \"int8\"}}"),
      "experts.quant has no reference: give the experts in floating point");
}

TEST(ReferenceError, missing_inputs_name_the_key_that_needs_them) {
  EXPECT_EQ(errorOf("\"top_k\": 1, \"input\": {\"from\": \"residual\"}"),
            "input 'residual' is missing; router.input.from needs it");
  EXPECT_EQ(errorOf("\"top_k\": 1, \"input\": {\"jitter\": 0.1}"),
            "input 'jitter' is missing; router.input.jitter needs it");
  EXPECT_EQ(errorOf("\"top_k\": 1, \"noise\": {\"kind\": \"normal\"}"),
            "input 'noise' is missing; router.noise needs it");
  EXPECT_EQ(errorOf("\"kind\": \"random\", \"top_k\": 1, \"weight_mode\": \"one\""),
            "input 'expert_ids' is missing; router.kind needs it");
  EXPECT_EQ(errorOf("\"top_k\": 1", experts + ", \"capacity\": {\"mode\": \"dynamic\", \"max\": 4}"),
            "capacity.mode dynamic needs the input 'capacity' with one value");
}

TEST(ReferenceError, shapes_of_inputs_and_weights_are_checked) {
  TinyLayer layer("{\"moec\": 1, \"hidden\": 2, \"router\": {\"top_k\": 1}, " + experts + "}");
  layer.randomX(3);
  layer.inputs.x.data.pop_back();
  EXPECT_EQ(errorOf(layer), "input 'x' has 5 values; expected [3,2]");
  layer.randomX(3);
  layer.inputs.batch = 2;
  layer.inputs.tokensPerSequence = 2;
  EXPECT_EQ(errorOf(layer), "numTokens (3) is not batch * tokensPerSequence (2 * 2)");
  layer.inputs.batch = 0;
  layer.roles["experts.up"].shape = {2, 2, 1};
  layer.fill("router.weight", 0);
  EXPECT_EQ(errorOf(layer), "weight 'experts.up' is [2,1]; expected [2,2]");
  layer.roles.erase("router.weight");
  EXPECT_EQ(errorOf(layer), "weight 'router.weight' is missing; expected [2,2]");
  layer.spec.router.select.k = 9;
  EXPECT_EQ(errorOf(layer), "the spec is not valid: E-K: select.k (9) is larger than experts.count (2)");
}

TEST(ReferenceError, token_ids_outside_the_table_are_refused) {
  TinyLayer layer(
      "{\"moec\": 1, \"hidden\": 2, \"router\": {\"kind\": \"table\", \"top_k\": 1, \"weight_mode\": \"one\"}, "
      "\"inputs\": {\"token_ids\": true}, " +
      experts + "}");
  layer.randomX(2);
  layer.set("router.table", {0, 1, 0, 1, 7});
  layer.setExtra("token_ids", {1, 3});
  EXPECT_EQ(layer.run().ids, (Ids{1, 1}));
  layer.setExtra("token_ids", {1, 5});
  EXPECT_EQ(errorOf(layer), "input 'token_ids' holds a value outside 0..4");
  layer.setExtra("token_ids", {1, -1});
  EXPECT_EQ(errorOf(layer), "input 'token_ids' holds a value outside 0..4");
  layer.setExtra("token_ids", {1, 4});
  EXPECT_EQ(errorOf(layer), "weight 'router.table' holds an id outside 0..1");
}

TEST(ReferenceError, hierarchical_group_ids_outside_are_refused) {
  TinyLayer layer(
      "{\"moec\": 1, \"hidden\": 2, \"router\": {\"kind\": \"hierarchical\", \"levels\": [{\"count\": 2, "
      "\"kind\": \"table\", \"top_k\": 1}, {\"count\": 2, \"top_k\": 2}]}, \"inputs\": {\"group_ids\": true}, "
      "\"experts\": {\"count\": 4, \"form\": \"linear\"}}");
  layer.fill("router.level1.weight", 0);
  layer.randomX(2);
  layer.setExtra("group_ids", {1, 0});
  EXPECT_EQ(layer.run().ids, (Ids{2, 3, 0, 1}));
  layer.setExtra("group_ids", {1, 2});
  EXPECT_EQ(errorOf(layer), "input 'group_ids' holds a value outside 0..1");
}

// Groups of tokens: images (1) choose by scores where text (0) reads the table, whatever their token id is.
TEST(ReferenceError, groups_of_tokens_outside_are_refused) {
  TinyLayer layer("{\"moec\": 1, \"hidden\": 2, \"router\": {\"kind\": \"table\", \"top_k\": 1, "
                  "\"choice_bias\": true, \"token_groups\": {\"count\": 2}}, "
                  "\"experts\": {\"count\": 3, \"form\": \"linear\"}}");
  layer.fill("router.weight", 0);
  layer.set("router.table", {1, 2, 0, 0, 0});
  layer.set("router.group1.choice_bias", {0.5, 0, 0});
  layer.randomX(2);
  layer.setExtra("token_ids", {1, -9});
  layer.setExtra("group_ids", {0, 1});
  EXPECT_EQ(layer.run().ids, (Ids{2, 0}));
  layer.setExtra("group_ids", {0, 0});
  EXPECT_EQ(errorOf(layer), "input 'token_ids' holds a value outside 0..4");
  layer.setExtra("group_ids", {0, 2});
  EXPECT_EQ(errorOf(layer), "input 'group_ids' holds a value outside 0..1");
}
