// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec.hpp: calls, their optional outputs, probes, and which object may be destroyed before which.

#include "CppLayer.h"

#include <filesystem>

#include <unistd.h>

using namespace moec;
using namespace moec::test;

TEST(Cpp, a_call_is_what_the_c_interface_computes) {
  TinyWeights source(1);
  TinyLayer c(source);
  Layer layer = tinyLayer();
  Weights weights = *layer.pack(tensorsOf(source));
  for (int64_t tokens : {1, 2, 37}) {
    std::vector<float> x = randomInput(tokens, 7);
    TinyResult got = runCpp(layer, weights, x);
    EXPECT_EQ(got, runTiny(c, x));
    expectReference(source, x, got);
  }
}

TEST(Cpp, no_tokens_are_a_call_that_touches_nothing) {
  Layer layer = tinyLayer();
  Weights weights = *layer.pack(tensorsOf(TinyWeights(1)));
  std::vector<float> none, y = {1, 2};
  EXPECT_TRUE(layer.forward(weights).x(none).y(Span<float>(y.data(), 0)).run(nullptr, 0));
  EXPECT_EQ(y, (std::vector<float>{1, 2}));
}

TEST(Cpp, a_call_may_run_again_with_other_rows) {
  TinyWeights source(2);
  Layer layer = tinyLayer();
  Weights weights = *layer.pack(tensorsOf(source));
  Buffer workspace = *layer.workspace(5);
  std::vector<float> x = randomInput(5, 1), y(x.size()), first(hidden);
  Forward call = layer.forward(weights).x(x).y(y);
  ASSERT_TRUE(call.run(workspace));
  ASSERT_TRUE(call.x(Span<const float>(x.data(), hidden)).y(first).run(workspace));
  EXPECT_EQ(first, std::vector<float>(y.begin(), y.begin() + hidden));
}

TEST(Cpp, workspace_that_a_call_asks_for_is_enough) {
  Layer layer = tinyLayer();
  Weights weights = *layer.pack(tensorsOf(TinyWeights(1)));
  std::vector<float> x = randomInput(3, 1), y(x.size());
  Forward call = layer.forward(weights).x(x).y(y);
  size_t bytes = *call.workspace_bytes();
  EXPECT_EQ(bytes, *layer.workspace_bytes(3));
  Buffer workspace = *Buffer::allocate(bytes);
  EXPECT_TRUE(call.run(workspace));
  EXPECT_EQ(messageOf(call.run(workspace.data(), bytes - 1)), "MOEC_WORKSPACE_TOO_SMALL: workspace has " +
                                                                  std::to_string(bytes - 1) + " bytes, 3 tokens need " +
                                                                  std::to_string(bytes));
}

TEST(Cpp, facts_of_the_layer) {
  Layer layer = tinyLayer();
  EXPECT_STREQ(layer.info().name, "tiny");
  EXPECT_EQ(layer.info().hidden, hidden);
  EXPECT_EQ(layer.info().num_experts, experts);
  std::vector<Role> roles = layer.roles();
  ASSERT_EQ(roles.size(), 4u);
  EXPECT_EQ(roles[1].name, "experts.gate");
  EXPECT_EQ(roles[1].dims, (std::vector<int64_t>{experts, inner, hidden}));
}

TEST(Cpp, objects_may_be_destroyed_in_any_order) {
  TinyWeights source(3);
  std::vector<float> x = randomInput(4, 1), y(x.size());
  std::unique_ptr<Forward> call;
  {
    Pool pool = *Pool::create();
    LayerOptions options;
    options.pool = pool;
    Layer layer = tinyLayer(options);
    call = std::make_unique<Forward>(layer.forward(*layer.pack(tensorsOf(source))));
  }
  Buffer workspace = *Buffer::allocate(*call->x(x).y(y).workspace_bytes());
  EXPECT_TRUE(call->run(workspace));
  TinyLayer c(source);
  EXPECT_EQ(y, runTiny(c, x).y);
}

TEST(Cpp, a_loaded_package_lives_as_long_as_its_layers) {
  TinyWeights source(3);
  std::vector<float> x = randomInput(4, 1);
  std::unique_ptr<Layer> layer;
  for (const char *path : {"", "/lib/libtiny.so"}) {
    layer = std::make_unique<Layer>(*Layer::create(*Package::open(std::string(SHARED_PACKAGE) + path)));
    expectReference(source, x, runCpp(*layer, *layer->pack(tensorsOf(source)), x));
  }
}

TEST(Cpp, a_handle_that_was_moved_from_is_as_before) {
  TinyWeights source(3);
  std::vector<float> x = randomInput(4, 1);
  PoolOptions two;
  two.threads = 2;
  Pool pool = *Pool::create(two), movedPool = std::move(pool);
  EXPECT_EQ(pool.get(), movedPool.get());
  Package package = tiny_package(), movedPackage = std::move(package);
  EXPECT_EQ(package.get(), movedPackage.get());
  Layer layer = tinyLayer(), movedLayer = std::move(layer);
  Weights weights = *layer.pack(tensorsOf(source)), movedWeights = std::move(weights);
  EXPECT_EQ(layer.info().hidden, hidden);
  expectReference(source, x, runCpp(layer, weights, x));
}

TEST(Cpp, a_package_that_was_replaced_is_opened_as_it_is_now) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(testing::TempDir()) / ("replaced" + std::to_string(::getpid()));
  const fs::path library = folder / "lib/libtiny.so", copy = folder / "copy";
  fs::create_directories(folder / "lib");
  fs::copy_file(SHARED_PACKAGE "/lib/libtiny.so", library);
  std::vector<Package> opened;
  for (int version = 0; version < 3; ++version) {
    opened.push_back(*Package::open(folder.string()));
    EXPECT_EQ(Package::open(library.string())->get(), opened.back().get());
    for (int earlier = 0; earlier < version; ++earlier)
      EXPECT_NE(opened[size_t(earlier)].get(), opened.back().get());
    fs::copy_file(library, copy);
    fs::rename(copy, library);
  }
  TinyWeights source(3);
  std::vector<float> x = randomInput(4, 1);
  for (const Package &package : opened) {
    Layer layer = *Layer::create(package);
    expectReference(source, x, runCpp(layer, *layer.pack(tensorsOf(source)), x));
  }
  fs::remove_all(folder);
}

TEST(Cpp, a_probe_is_told_of_steps_and_units) {
  Layer layer = tinyLayer();
  Weights weights = *layer.pack(tensorsOf(TinyWeights(1)));
  Buffer workspace = *layer.workspace(3);
  std::vector<float> x = randomInput(3, 1), y(x.size());
  std::vector<std::string> ended;
  int units = 0;
  auto listen = [&](const moec_probe_event &event) {
    if (event.event == MOEC_PROBE_STEP_END)
      ended.push_back(event.name);
    units += event.event == MOEC_PROBE_UNIT_END;
  };
  Forward call = layer.forward(weights).x(x).y(y);
  ASSERT_TRUE(call.probe(listen).run(workspace));
  EXPECT_EQ(ended, (std::vector<std::string>{"router", "route", "dispatch", "ffn_up", "ffn_down", "combine"}));
  EXPECT_EQ(units, 0);
  ASSERT_TRUE(call.probe(listen, true).run(workspace));
  EXPECT_GT(units, 0);
  ended.clear();
  ASSERT_TRUE(call.probe(nullptr).run(workspace));
  EXPECT_TRUE(ended.empty());
}

TEST(Cpp, rules_between_training_steps) {
  std::vector<int32_t> counts = {4, 0, 2, 2};
  std::vector<float> bias(4);
  EXPECT_EQ(load_of_counts(counts)->dead_experts, 1);
  EXPECT_TRUE(update_choice_bias(bias, counts, 0.5f));
  EXPECT_EQ(bias, (std::vector<float>{-0.5f, 0.5f, 0, 0}));
  EXPECT_DOUBLE_EQ(*next_capacity_factor(counts, 1.5), 1.6);
  EXPECT_EQ(messageOf(update_choice_bias(bias, Span<const int32_t>(counts.data(), 3), 1)),
            "MOEC_SHAPE: bias has 4 elements, counts 3");
}

TEST(Cpp, bf16_rounds_to_the_nearest_even) {
  EXPECT_EQ(bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(bf16(1.00390625f).bits, 0x3f80);
  EXPECT_EQ(bf16(1.01171875f).bits, 0x3f82);
  EXPECT_EQ(bf16(-3.0e38f).bits, 0xff62);
  EXPECT_EQ(bf16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(float(bf16(-2.5f)), -2.5f);
  float nan = float(bf16(std::numeric_limits<float>::signaling_NaN()));
  EXPECT_NE(nan, nan);
}
