// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver's graph functions are looked up here: the runtime itself needs none of them.

#include "GraphCheck.h"

#include "CheckedPackage.h"
#include "DeviceCall.h"
#include "TrainingCall.h"
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

// A captured call.
class Captured {
public:
  explicit Captured(const GraphFunctions &graphs) : graphs(graphs) {}
  ~Captured() {
    if (executable)
      graphs.destroyExecutable(executable);
    if (graph)
      graphs.destroy(graph);
  }
  Captured(const Captured &) = delete;
  Captured &operator=(const Captured &) = delete;

  // `enqueue` gives a moec_status.
  template <typename Enqueue> bool capture(void *stream, Enqueue enqueue, std::string &error) {
    UnwatchedLaunches unwatched;
    const int relaxed = 2; // CU_STREAM_CAPTURE_MODE_RELAXED
    if (graphs.begin(stream, relaxed)) {
      error = "the driver does not capture the stream";
      return false;
    }
    moec_status status = enqueue();
    bool good = status == MOEC_OK && !graphs.end(stream, &graph) && !graphs.instantiate(&executable, graph, 0);
    if (!good)
      error = "the call cannot be captured: " + lastRuntimeError(status);
    return good;
  }
  int launch(void *stream) const {
    int result = graphs.launch(executable, stream);
    watchGraph();
    return result;
  }

private:
  const GraphFunctions &graphs;
  void *graph = nullptr, *executable = nullptr;
};

// False: `error` says what of replay i.
bool isReplayed(int64_t tokens, int i, int result, bool same, std::string &error) {
  if (result || !same)
    error = "T=" + std::to_string(tokens) + " replay " + std::to_string(i) +
            (result ? ": the graph cannot be launched, CUDA error " + std::to_string(result)
                    : " differs from the plain call");
  return !result && same;
}

class Replays {
public:
  Replays(const GraphFunctions &graphs, const LayerRun &layer, const DeviceContext &device, int64_t tokens)
      : layer(layer), tokens(tokens), plain(layer, device, tokens), captured(layer, device, tokens), graph(graphs) {}

  bool check(std::string &error) {
    return runPlain(error) &&
           graph.capture(captured.ownStream(), [&] { return captured.enqueue(); }, error) && replay(error);
  }

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

  bool replay(std::string &error) {
    for (int i = 0; i < numReplays; ++i) {
      size_t which = size_t(i * 7 % numInputs);
      int result = captured.setInput(in[which]) ? graph.launch(captured.ownStream()) : -1;
      if (!isReplayed(tokens, i, result, !result && captured.output() == want[which], error))
        return false;
    }
    return true;
  }

  const LayerRun &layer;
  int64_t tokens;
  DeviceCall plain, captured;
  Captured graph;
  std::vector<std::vector<char>> in, want;
};

// A step of training, forward and backward in one graph, replayed with other x and dy.
bool checkTraining(const GraphFunctions &graphs, const LayerRun &layer, const DeviceContext &device, int64_t tokens,
                   std::string &error) {
  constexpr int steps = 10, replays = 50;
  TrainingCall call(layer, device, tokens, DataType::F32);
  std::vector<std::vector<char>> want;
  Captured graph(graphs);
  error = "T=" + std::to_string(tokens) + ": a plain backward call failed, or leaves gradients unwritten";
  auto step = [&] {
    moec_status status = call.forward();
    return status == MOEC_OK ? call.backward() : status;
  };
  auto give = [&](int i) {
    return call.setInput(normalInput(layer, tokens, uint64_t(i) + 5), normalGradient(layer, tokens, uint64_t(i) + 105));
  };
  for (int i = 0; i < steps; ++i) {
    if (!call.ready() || !give(i) || step() != MOEC_OK || !call.isWritten())
      return false;
    want.push_back(call.gradients());
  }
  if (!graph.capture(call.ownStream(), step, error))
    return false;
  for (int i = 0; i < replays; ++i) {
    int which = i * 7 % steps, result = give(which) ? graph.launch(call.ownStream()) : -1;
    if (!isReplayed(tokens, i, result, !result && call.gradients() == want[size_t(which)], error))
      return false;
  }
  return true;
}

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
    bool trains = good && layer.info().trains;
    for (int64_t tokens : {1, 150})
      good = good && (!trains || checkTraining(graphs, layer, device, tokens, error));
    if (good)
      report.pass(name,
                  std::string("1000 replays and two streams at 1 and 40 tokens, sequences of 1, 16 and 17, and 33, 1 "
                              "and 130") +
                      (trains ? ", 50 replayed steps of training at 1 and 150" : ""));
    else
      report.fail(name, error);
  }
  return report.summary();
}

} // namespace moec
