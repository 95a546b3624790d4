// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver's graph functions are looked up here: the runtime itself needs none of them.

#include "GraphCheck.h"

#include "CheckedPackage.h"

#include "codegen/check/OracleCheck.h"

#include <cstring>
#include <dlfcn.h>

namespace moec {
namespace {

struct GraphFunctions {
  int (*begin)(void *stream, int mode) = nullptr;
  int (*end)(void *stream, void **graph) = nullptr;
  int (*instantiate)(void **executable, void *graph, unsigned long long flags) = nullptr;
  int (*launch)(void *executable, void *stream) = nullptr;
  int (*destroyExecutable)(void *executable) = nullptr;
  int (*destroy)(void *graph) = nullptr;

  bool open() {
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    auto find = [&](auto &function, const char *name) {
      function = library ? reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name)) : nullptr;
      return function != nullptr;
    };
    return find(begin, "cuStreamBeginCapture_v2") && find(end, "cuStreamEndCapture") &&
           find(instantiate, "cuGraphInstantiateWithFlags") && find(launch, "cuGraphLaunch") &&
           find(destroyExecutable, "cuGraphExecDestroy") && find(destroy, "cuGraphDestroy");
  }
};

// One layer with its weights packed, and the device memory of one call on one stream.
struct Call {
  Call(const LayerRun &layer, const DeviceContext &device, int64_t tokens)
      : layer(layer), device(device), tokens(tokens) {
    const moec_layer_info &info = layer.info();
    size_t bytes = 0;
    moec_layer_workspace_bytes(layer.handle(), tokens, &bytes);
    auto row = [&](moec_dtype type) { return size_t(tokens * info.hidden * dataTypeBits(DataType(type)) / 8); };
    x = DeviceMemory(device, row(info.x_dtype));
    y = DeviceMemory(device, row(info.y_dtype));
    workspace = DeviceMemory(device, bytes);
    device.driver->stream_create(&stream, 1); // does not wait for the default stream
  }
  ~Call() { device.driver->stream_destroy(stream); }

  moec_status enqueue() {
    moec_forward_args args = LayerRun::noOptional();
    args.num_tokens = tokens;
    args.x = x.data();
    args.y = y.data();
    args.workspace = workspace.data();
    args.workspace_bytes = workspace.size();
    args.stream = stream;
    return moec_layer_forward(layer.handle(), layer.weightsHandle(), &args);
  }
  bool setInput(const std::vector<char> &bytes) { return x.upload(bytes.data()); }
  std::vector<char> output() {
    device.driver->stream_synchronize(stream);
    std::vector<char> bytes(y.size());
    if (!y.download(bytes.data()))
      bytes.clear();
    return bytes;
  }

  const LayerRun &layer;
  const DeviceContext &device;
  int64_t tokens;
  DeviceMemory x, y, workspace;
  void *stream = nullptr;
};

std::vector<char> inputs(const LayerRun &layer, int64_t tokens, uint64_t seed) {
  const moec_layer_info &info = layer.info();
  std::vector<char> bytes(size_t(tokens * info.hidden * dataTypeBits(DataType(info.x_dtype)) / 8));
  fillNormal(bytes.data(), DataType(info.x_dtype), tokens * info.hidden, 0, 1, seed);
  return bytes;
}

constexpr int numInputs = 50, numReplays = 1000;

bool checkReplays(const GraphFunctions &graphs, const LayerRun &layer, const DeviceContext &device, int64_t tokens,
                  std::string &error) {
  Call plain(layer, device, tokens), captured(layer, device, tokens);
  std::vector<std::vector<char>> in, want;
  for (int i = 0; i < numInputs; ++i) {
    in.push_back(inputs(layer, tokens, uint64_t(i) + 5));
    if (!plain.setInput(in.back()) || plain.enqueue() != MOEC_OK) {
      error = "a plain call failed";
      return false;
    }
    want.push_back(plain.output());
  }
  void *graph = nullptr, *executable = nullptr;
  int result = graphs.begin(captured.stream, 2 /* relaxed */);
  moec_status status = captured.enqueue();
  if (result || status != MOEC_OK || graphs.end(captured.stream, &graph) || graphs.instantiate(&executable, graph, 0)) {
    error = "the call cannot be captured: " + lastRuntimeError(status);
    return false;
  }
  bool same = true;
  for (int i = 0; same && i < numReplays; ++i) {
    int which = i * 7 % numInputs;
    same = captured.setInput(in[size_t(which)]) && !graphs.launch(executable, captured.stream) &&
           captured.output() == want[size_t(which)];
    if (!same)
      error = "replay " + std::to_string(i) + " differs from the plain call";
  }
  graphs.destroyExecutable(executable);
  graphs.destroy(graph);
  return same;
}

bool checkStreams(const LayerRun &layer, const DeviceContext &device, int64_t tokens, std::string &error) {
  Call one(layer, device, tokens), two(layer, device, tokens);
  std::vector<char> a = inputs(layer, tokens, 1), b = inputs(layer, tokens, 2);
  one.setInput(a), two.setInput(b);
  bool good = one.enqueue() == MOEC_OK;
  std::vector<char> wantA = one.output();
  good = good && two.enqueue() == MOEC_OK;
  std::vector<char> wantB = two.output();
  for (int i = 0; good && i < 200; ++i) {
    good = one.enqueue() == MOEC_OK && two.enqueue() == MOEC_OK;
    if (i % 10 == 9)
      good = good && one.output() == wantA && two.output() == wantB;
  }
  if (!good)
    error = "two streams disturb each other";
  return good;
}

} // namespace

int checkGraphs(const std::string &folder, const DeviceContext &device) {
  Report report;
  GraphFunctions graphs;
  if (!graphs.open()) {
    report.skip("graph", "all", "the driver has no graph functions");
    return report.summary("graph");
  }
  for (const std::string &name : stemsIn(folder, ".json")) {
    std::string error;
    std::optional<LayerSpec> spec = readSpecFile(folder + "/" + name + ".json", error);
    const moec_package *package = spec ? openPackage(folder, name, error) : nullptr;
    if (spec && !spec->inputNames().empty()) {
      report.skip("graph", name, "it takes inputs besides x");
      continue;
    }
    RandomLayer weights;
    LayerRun layer(package);
    bool good = package && weights.make(*spec, 1) && layer.prepare(device, weights.tensors, error);
    for (int64_t tokens : {1, 40})
      good = good && checkReplays(graphs, layer, device, tokens, error) && checkStreams(layer, device, tokens, error);
    report.add("graph", name, good, good ? "1000 replays and two streams at 1 and 40 tokens" : error);
  }
  return report.summary("graph");
}

} // namespace moec
