// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver's graph functions are looked up here: the runtime itself needs none of them.

#include "GraphCheck.h"

#include "CheckedPackage.h"
#include "DeviceCall.h"
#include "WatchedDriver.h"

#include "codegen/check/OracleCheck.h"

#include <algorithm>
#include <dlfcn.h>
#include <memory>

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
      function =
          library ? reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name)) : nullptr;
      return function != nullptr;
    };
    return find(begin, "cuStreamBeginCapture_v2") && find(end, "cuStreamEndCapture") &&
           find(instantiate, "cuGraphInstantiateWithFlags") && find(launch, "cuGraphLaunch") &&
           find(destroyExecutable, "cuGraphExecDestroy") && find(destroy, "cuGraphDestroy");
  }
};

constexpr int numInputs = 50, numReplays = 1000, numRounds = 200;

class Replays {
public:
  Replays(const GraphFunctions &graphs, const LayerRun &layer, const DeviceContext &device, int64_t tokens)
      : graphs(graphs), layer(layer), tokens(tokens), plain(layer, device, tokens), captured(layer, device, tokens) {}
  ~Replays() {
    if (executable)
      graphs.destroyExecutable(executable);
    if (graph)
      graphs.destroy(graph);
  }

  bool check(std::string &error) { return runPlain(error) && capture(error) && replay(error); }

private:
  bool runPlain(std::string &error) {
    error = "a plain call failed";
    if (!plain.ready() || !captured.ready())
      return false;
    for (int i = 0; i < numInputs; ++i) {
      in.push_back(normalInput(layer, tokens, uint64_t(i) + 5));
      if (!plain.setInput(in.back()) || plain.enqueue() != MOEC_OK)
        return false;
      want.push_back(plain.output());
      if (!isWritten(layer, want.back())) {
        error = "T=" + std::to_string(tokens) + ": a plain call leaves values of y unwritten or not finite";
        return false;
      }
    }
    return true;
  }

  bool capture(std::string &error) {
    UnwatchedLaunches unwatched;
    const int relaxed = 2; // CU_STREAM_CAPTURE_MODE_RELAXED
    if (graphs.begin(captured.ownStream(), relaxed)) {
      error = "the driver does not capture the stream";
      return false;
    }
    moec_status status = captured.enqueue();
    bool good =
        status == MOEC_OK && !graphs.end(captured.ownStream(), &graph) && !graphs.instantiate(&executable, graph, 0);
    if (!good)
      error = "the call cannot be captured: " + lastRuntimeError(status);
    return good;
  }

  bool replay(std::string &error) {
    for (int i = 0; i < numReplays; ++i) {
      size_t which = size_t(i * 7 % numInputs);
      int result = captured.setInput(in[which]) ? graphs.launch(executable, captured.ownStream()) : -1;
      watchGraph();
      if (!result && captured.output() == want[which])
        continue;
      error = "T=" + std::to_string(tokens) + " replay " + std::to_string(i) +
              (result ? ": the graph cannot be launched, CUDA error " + std::to_string(result)
                      : " differs from the plain call");
      return false;
    }
    return true;
  }

  const GraphFunctions &graphs;
  const LayerRun &layer;
  int64_t tokens;
  DeviceCall plain, captured;
  std::vector<std::vector<char>> in, want;
  void *graph = nullptr, *executable = nullptr;
};

bool checkStreams(const LayerRun &layer, const DeviceContext &device, int64_t tokens, std::string &error) {
  DeviceCall one(layer, device, tokens), two(layer, device, tokens);
  std::vector<char> inOne = normalInput(layer, tokens, 1), inTwo = normalInput(layer, tokens, 2);
  bool good = one.ready() && two.ready() && one.setInput(inOne) && two.setInput(inTwo) && one.enqueue() == MOEC_OK;
  std::vector<char> wantOne = one.output();
  good = good && two.enqueue() == MOEC_OK;
  std::vector<char> wantTwo = two.output();
  UnwatchedLaunches unwatched; // launches of both streams shall overlap
  for (int i = 0; good && i < numRounds; ++i) {
    if (i % 10 == 0) // poisons both y
      good = one.setInput(inOne) && two.setInput(inTwo);
    good = good && one.enqueue() == MOEC_OK && two.enqueue() == MOEC_OK;
    if (i % 10 == 9)
      good = good && one.output() == wantOne && two.output() == wantTwo;
  }
  if (!good)
    error = "T=" + std::to_string(tokens) + ": two streams disturb each other";
  return good;
}

// Calls of several T with other inputs, one after the other without a wait, on one workspace and one stream, as
// programs make them: a kernel may begin before those of the call before have ended. Every y must be that of a call
// alone.
bool checkSequence(const LayerRun &layer, const DeviceContext &device, const std::vector<int64_t> &tokens,
                   std::string &error) {
  constexpr size_t numCalls = 48;
  DeviceCall host(layer, device, *std::max_element(tokens.begin(), tokens.end()));
  std::vector<std::unique_ptr<DeviceCall>> calls;
  std::vector<std::vector<char>> in, want;
  error = "a call alone failed";
  for (size_t i = 0; i < numCalls; ++i) {
    int64_t own = tokens[i % tokens.size()];
    calls.push_back(std::make_unique<DeviceCall>(host, own));
    in.push_back(normalInput(layer, own, i + 1000));
    if (!calls.back()->ready() || !calls.back()->setInput(in.back()) || calls.back()->enqueue() != MOEC_OK)
      return false;
    want.push_back(calls.back()->output());
    if (!isWritten(layer, want.back()))
      return false;
  }
  for (size_t i = 0; i < numCalls; ++i) // poisons y
    if (!calls[i]->setInput(in[i]))
      return false;
  {
    UnwatchedLaunches unwatched;
    for (auto &call : calls)
      if (call->enqueue() != MOEC_OK)
        return false;
  }
  for (size_t i = 0; i < numCalls; ++i)
    if (calls[i]->output() != want[i]) {
      error = "call " + std::to_string(i) + " of a sequence, T=" + std::to_string(tokens[i % tokens.size()]) +
              ", differs from the call alone";
      return false;
    }
  return true;
}

} // namespace

int checkGraphs(const std::string &folder, const CaseOptions &options, const DeviceContext &device) {
  Report report("graph", options);
  GraphFunctions graphs;
  bool open = graphs.open();
  for (const std::string &name : report.casesIn(folder, ".json")) {
    report.begin(name);
    std::string error;
    std::optional<LayerSpec> spec;
    const moec_package *package = openCase(folder, name, spec, error);
    bool good = package && open && spec->inputNames().empty();
    if (package && !good)
      error = open ? "the layer takes inputs besides x, which no replay changes" : "the driver has no graph functions";
    RandomLayer weights;
    LayerRun layer(package);
    good = good && weights.make(*spec, 1) && succeeded(layer.prepare(device, weights.tensors), error);
    for (int64_t tokens : {1, 40})
      good = good && Replays(graphs, layer, device, tokens).check(error) && checkStreams(layer, device, tokens, error);
    // around the T where a front ends and where other kernels begin
    for (const std::vector<int64_t> &tokens : {std::vector<int64_t>{1}, {16, 17}, {33, 1, 130}})
      good = good && checkSequence(layer, device, tokens, error);
    if (good)
      report.pass(name,
                  "1000 replays and two streams at 1 and 40 tokens, sequences of 1, 16 and 17, and 33, 1 and 130");
    else
      report.fail(name, error);
  }
  return report.summary();
}

} // namespace moec
