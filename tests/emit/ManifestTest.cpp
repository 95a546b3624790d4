// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The hand-written package's plan -> the manifest's workspace formula, which must be the runtime's.

#include "codegen/emit/Manifest.h"

#include "runtime/moec.h"

#include "llvm/Support/JSON.h"

#include <gtest/gtest.h>

using namespace moec;

extern "C" const moec_package *tiny_package(void);

template <typename T> static std::vector<T> part(const char *blob, moec_span span) {
  const T *first = reinterpret_cast<const T *>(blob + span.offset);
  return {first, first + span.count};
}

static LaunchPlan tinyPlan() {
  const char *blob = static_cast<const char *>(tiny_package()->plan);
  LaunchPlan plan;
  plan.header = *reinterpret_cast<const moec_plan_header *>(blob);
  plan.buffers = part<moec_buffer>(blob, plan.header.buffers);
  plan.steps = part<moec_step>(blob, plan.header.steps);
  plan.args = part<uint16_t>(blob, plan.header.args);
  plan.covers = part<uint8_t>(blob, plan.header.covers);
  plan.roles = part<moec_role>(blob, plan.header.roles);
  plan.weights = part<moec_weight>(blob, plan.header.weights);
  plan.strings.assign(blob + plan.header.strings.offset, plan.header.strings.count);
  return plan;
}

TEST(Manifest, workspace_formula_is_the_runtimes) {
  LaunchPlan plan = tinyPlan();
  for (int threads = 1; threads <= 4; ++threads) {
    moec_layer_options options = {};
    options.struct_size = sizeof options;
    options.max_threads = threads;
    moec_layer *layer = nullptr;
    ASSERT_EQ(moec_layer_create(tiny_package(), &options, &layer), MOEC_OK);
    for (int64_t tokens = 0; tokens <= plan.header.max_tokens; tokens += tokens < 70 ? 1 : 13) {
      size_t bytes = 0;
      ASSERT_EQ(moec_layer_workspace_bytes(layer, tokens, &bytes), MOEC_OK);
      EXPECT_EQ(workspaceBytes(plan, tokens, threads), int64_t(bytes))
          << tokens << " tokens, " << threads << " threads";
    }
    moec_layer_destroy(layer);
  }
}

TEST(Manifest, text_is_json_with_every_part) {
  CompiledPackage package;
  package.name = "tiny";
  package.plan = tinyPlan();
  for (uint64_t i = 0; i < tiny_package()->num_functions; ++i)
    package.functionNames.push_back("f" + std::to_string(i));
  std::string text = manifestText(package, "static", {}, {{"include/tiny.h", sha256("")}});
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(text);
  ASSERT_TRUE(bool(value)) << llvm::toString(value.takeError());
  const llvm::json::Object *object = value->getAsObject();
  ASSERT_NE(object, nullptr);
  EXPECT_EQ(object->getString("entry"), llvm::StringRef("tiny_package"));
  EXPECT_EQ(object->get("calls"), nullptr);
  EXPECT_EQ(object->getArray("arguments")->size(), 6u);
  EXPECT_EQ(object->getArray("steps")->size(), package.plan.steps.size());
  EXPECT_EQ(object->getArray("roles")->size(), 4u);
  EXPECT_EQ(object->getObject("files")->getString("include/tiny.h"),
            llvm::StringRef("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
}
