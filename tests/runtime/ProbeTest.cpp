// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a call's probe is told: every step once and in order, with its name; every unit, by the thread that runs it; the
// launches of a GPU.

#include "TinyCuda.h"
#include "TinyLayer.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <set>

using namespace moec::test;

namespace {

struct Listener {
  std::mutex mutex;
  std::vector<moec_probe_event> events;
  moec_probe probe = {};
  explicit Listener(int32_t units) {
    probe.struct_size = sizeof(probe);
    probe.context = this;
    probe.units = units;
    probe.on_event = [](void *context, const moec_probe_event *event) {
      auto *self = static_cast<Listener *>(context);
      std::lock_guard<std::mutex> lock(self->mutex);
      self->events.push_back(*event);
    };
  }
  // "+router -router +route ...": begins and ends of steps.
  std::string steps() const {
    std::string text;
    for (const moec_probe_event &event : events)
      if (event.event <= MOEC_PROBE_STEP_END)
        text += (text.empty() ? "" : " ") + std::string(event.event == MOEC_PROBE_STEP_BEGIN ? "+" : "-") + event.name;
    return text;
  }
};

struct Call {
  AlignedBytes x, y, workspace;
  int32_t counts[experts] = {};
  moec_forward_args args = {};
  Call(const TinyLayer &tiny, const std::vector<float> &input, const moec_probe *probe)
      : x(input.size() * 4), y(input.size() * 4), workspace(tiny.workspaceBytes(int64_t(input.size()) / hidden)) {
    std::memcpy(x.data(), input.data(), input.size() * 4);
    args.struct_size = sizeof(args);
    args.num_tokens = int64_t(input.size()) / hidden;
    args.x = x.data();
    args.y = y.data();
    args.workspace = workspace.data();
    args.workspace_bytes = workspace.size();
    args.probe = probe;
  }
};

const char allSteps[] = "+router -router +route -route +dispatch -dispatch +ffn_up -ffn_up +ffn_down -ffn_down "
                        "+combine -combine";

} // namespace

TEST(Probe, hears_every_step_once_in_order) {
  TinyWeights source(1);
  for (int32_t threads : {1, 3}) {
    moec_layer_options options = threadOptions(threads);
    TinyLayer tiny(source, &options);
    std::vector<float> x = randomInput(33, 2);
    Listener listener(0);
    Call call(tiny, x, &listener.probe);
    ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
    EXPECT_EQ(listener.steps(), allSteps) << "a step that nobody asks for is left out";
    listener.events.clear();
    call.args.out_counts = call.counts;
    ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
    EXPECT_EQ(listener.steps(), std::string(allSteps) + " +counts -counts");
    EXPECT_EQ(std::memcmp(call.y.data(), runTiny(tiny, x).y.data(), x.size() * 4), 0);
    for (const moec_probe_event &event : listener.events) {
      bool ends = event.event == MOEC_PROBE_STEP_END;
      bool kernel = std::string("matmul rows").find(event.kind) != std::string::npos;
      EXPECT_EQ(event.num_tokens, 33);
      EXPECT_EQ(event.unit, -1);
      EXPECT_EQ(event.worker, -1);
      EXPECT_EQ(event.units > 0, ends && kernel) << event.name;
      EXPECT_EQ(event.rows, !ends ? 0 : std::string(event.name).find("ffn") == 0 ? 33 * choices : 33) << event.name;
    }
  }
}

TEST(Probe, hears_every_unit_from_its_thread) {
  TinyWeights source(1);
  moec_layer_options options = threadOptions(3);
  TinyLayer tiny(source, &options);
  Listener listener(1);
  Call call(tiny, randomInput(400, 2), &listener.probe);
  ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
  EXPECT_EQ(listener.steps(), allSteps);
  std::map<int32_t, int> open; // by worker
  std::set<int32_t> done;
  for (const moec_probe_event &event : listener.events) {
    switch (event.event) {
    case MOEC_PROBE_STEP_BEGIN:
      done.clear();
      break;
    case MOEC_PROBE_UNIT_BEGIN:
      EXPECT_GE(event.worker, 0);
      EXPECT_LT(event.worker, 3);
      EXPECT_LT(event.unit, event.units);
      EXPECT_EQ(open[event.worker]++, 0);
      break;
    case MOEC_PROBE_UNIT_END:
      EXPECT_EQ(open[event.worker]--, 1);
      EXPECT_TRUE(done.insert(event.unit).second);
      break;
    case MOEC_PROBE_STEP_END:
      EXPECT_EQ(done.size(), size_t(event.units)) << event.name;
    }
  }
}

// Every chunk of a call walks the plan; its events say which tokens it has.
TEST(Probe, hears_every_chunk) {
  EditablePackage edited;
  edited.header().chunk_tokens = 16;
  TinyWeights source(1);
  TinyLayer tiny(source, nullptr, &edited.package);
  Listener listener(0);
  Call call(tiny, randomInput(40, 2), &listener.probe);
  ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
  std::string steps = allSteps;
  EXPECT_EQ(listener.steps(), steps + " " + steps + " " + steps);
  size_t each = listener.events.size() / 3;
  for (size_t i = 0; i < listener.events.size(); ++i) {
    EXPECT_EQ(listener.events[i].first_token, int64_t(i / each) * 16);
    EXPECT_EQ(listener.events[i].num_tokens, i / each == 2 ? 8 : 16);
  }
}

TEST(Probe, refused_call_says_nothing) {
  TinyWeights source(1);
  TinyLayer tiny(source);
  Listener listener(1);
  Call call(tiny, randomInput(4, 2), &listener.probe);
  call.args.x = nullptr;
  EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_NULL_POINTER);
  EXPECT_TRUE(listener.events.empty());
}

TEST(Probe, arguments) {
  TinyWeights source(1);
  TinyLayer tiny(source);
  auto expectError = [&](moec_probe probe, moec_status status, const std::string &text) {
    Call call(tiny, randomInput(4, 2), &probe);
    EXPECT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), status);
    EXPECT_EQ(lastError(), text);
  };
  const moec_probe good = Listener(0).probe;
  std::string size = std::to_string(sizeof(moec_probe));
  moec_probe probe = good;
  probe.struct_size = 0;
  expectError(probe, MOEC_INVALID_ARGUMENT, "probe: struct_size is 0, expected " + size);
  probe.struct_size = 100;
  expectError(probe, MOEC_VERSION_MISMATCH, "probe: struct_size is 100, expected " + size);
  probe = good;
  probe.on_event = nullptr;
  expectError(probe, MOEC_NULL_POINTER, "probe: on_event is NULL");
  probe = good;
  probe.units = 2;
  expectError(probe, MOEC_INVALID_ARGUMENT, "probe: units is 2 and reserved is 0, expected 0 or 1, and 0");
}

// The events lie around the launches of their steps.
TEST(Probe, hears_the_launches_of_a_gpu) {
  FakeDriver driver;
  addTinyKernels(driver);
  TinyWeights source(1);
  TinyCuda tiny(driver, source);
  TinyCall call(driver, tiny, randomInput(12, 1));
  Listener listener(1);
  call.args.probe = &listener.probe;
  ASSERT_EQ(moec_layer_forward(tiny.layer, tiny.weights, &call.args), MOEC_OK) << lastError();
  std::string steps = listener.steps();
  EXPECT_EQ(listener.events.size() % 2, 0u);
  EXPECT_NE(steps.find("+ffn_up -ffn_up +ffn_down -ffn_down +combine -combine"), std::string::npos) << steps;
  for (const moec_probe_event &event : listener.events)
    EXPECT_TRUE(event.worker == -1 && event.units == 0 && event.num_tokens == 12) << event.name;
}
