// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The driver's event functions are looked up here: the runtime itself needs none of them.

#include "ProfileCheck.h"

#include "CheckedPackage.h"
#include "DeviceCall.h"
#include "LargeWeights.h"
#include "TrainingCall.h"
#include "WatchedDriver.h"

#include <algorithm>
#include <dlfcn.h>
#include <functional>
#include <memory>

namespace moec {
namespace {

struct EventFunctions {
  int (*create)(void **event, unsigned flags) = nullptr;
  int (*record)(void *event, void *stream) = nullptr;
  int (*elapsed)(float *milliseconds, void *from, void *to) = nullptr;
  int (*destroy)(void *event) = nullptr;
  int (*resident)(int *blocks, void *function, int threads, size_t shared) = nullptr; // may be missing

  bool open() {
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    auto find = [&](auto &function, const char *name) {
      function =
          library ? reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name)) : nullptr;
      return function != nullptr;
    };
    find(resident, "cuOccupancyMaxActiveBlocksPerMultiprocessor");
    return find(create, "cuEventCreate") && find(record, "cuEventRecord") && find(elapsed, "cuEventElapsedTime") &&
           find(destroy, "cuEventDestroy_v2");
  }
};

// Two events on a stream.
class Interval {
public:
  explicit Interval(const EventFunctions &events) : events(events) {
    good = !events.create(&from, 0) && !events.create(&to, 0);
  }
  ~Interval() {
    events.destroy(from);
    events.destroy(to);
  }
  Interval(const Interval &) = delete;
  Interval &operator=(const Interval &) = delete;

  void begin(void *stream) { good = good && !events.record(from, stream); }
  void end(void *stream) { good = good && !events.record(to, stream); }
  double microseconds() const { // of a stream that was waited for; -1: not known
    float milliseconds = 0;
    return good && !events.elapsed(&milliseconds, from, to) ? double(milliseconds) * 1e3 : -1;
  }

private:
  const EventFunctions &events;
  void *from = nullptr, *to = nullptr;
  bool good;
};

struct Stage {
  LaunchedKernel kernel;
  double microseconds = -1;
  int resident = -1;
};

constexpr int numCalls = 7;

// Work of some 0.2 ms on the stream: the host enqueues a call's launches behind it, so that events do not measure the
// host, and the device's second-level cache holds nothing of the layer, as bench.py has it.
class Backlog {
public:
  explicit Backlog(const DeviceContext &device) : device(device), memory(device, size_t(512) << 20) {}
  bool enqueue(void *stream) const {
    return memory.data() && !device.driver->memset_d8_async(reinterpret_cast<moec_cuda_pointer>(memory.data()), 0,
                                                            memory.size(), stream);
  }

private:
  const DeviceContext &device;
  DeviceMemory memory;
};

// What is timed: `enqueue` gives a moec_status, `finish` waits and is false where results cannot be read.
struct TimedCall {
  void *stream;
  std::function<moec_status()> enqueue;
  std::function<bool()> finish;
};

bool timeCalls(const EventFunctions &events, const Backlog &backlog, const TimedCall &call, double &least,
               std::string &error) {
  UnwatchedLaunches unwatched;
  least = -1;
  for (int i = 0; i < numCalls; ++i) {
    Interval interval(events);
    if (!backlog.enqueue(call.stream)) {
      error = "no device memory for work ahead of a call";
      return false;
    }
    interval.begin(call.stream);
    moec_status status = call.enqueue();
    interval.end(call.stream);
    if (status != MOEC_OK || !call.finish()) {
      error = status != MOEC_OK ? lastRuntimeError(status) : "results cannot be read";
      return false;
    }
    double took = interval.microseconds();
    least = least < 0 ? took : std::min(least, took);
  }
  return true;
}

bool timeStages(const EventFunctions &events, const Backlog &backlog, const TimedCall &call, std::vector<Stage> &stages,
                std::string &error) {
  UnwatchedLaunches unwatched;
  std::vector<std::unique_ptr<Interval>> intervals;
  backlog.enqueue(call.stream);
  aroundLaunches([&](const LaunchedKernel &kernel, void *stream, const std::function<int()> &launch) {
    intervals.push_back(std::make_unique<Interval>(events));
    stages.push_back({kernel});
    intervals.back()->begin(stream);
    int result = launch();
    intervals.back()->end(stream);
    return result;
  });
  moec_status status = call.enqueue();
  aroundLaunches(nullptr);
  if (status != MOEC_OK || !call.finish()) {
    error = status != MOEC_OK ? lastRuntimeError(status) : "results cannot be read";
    return false;
  }
  for (size_t i = 0; i < stages.size(); ++i) {
    Stage &stage = stages[i];
    stage.microseconds = intervals[i]->microseconds();
    if (!events.resident ||
        events.resident(&stage.resident, stage.kernel.function, int(stage.kernel.block), stage.kernel.shared))
      stage.resident = -1;
  }
  return true;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", value);
  return text;
}

// Lines of one call; `name` is what they call it.
bool profileCall(const EventFunctions &events, const DeviceContext &device, const TimedCall &call,
                 const std::string &name, int64_t tokens, Report &report, std::string &error) {
  Backlog backlog(device);
  double least;
  if (!timeCalls(events, backlog, call, least, error))
    return false;
  std::string head = name + " " + std::to_string(tokens) + " ";
  report.say("call " + head + number(least));
  std::vector<Stage> stages;
  if (!timeStages(events, backlog, call, stages, error))
    return false;
  for (const Stage &stage : stages)
    report.say("stage " + head + stage.kernel.name + " " + std::to_string(stage.kernel.grid) + " " +
               std::to_string(stage.kernel.block) + " " + std::to_string(stage.kernel.shared) + " " +
               std::to_string(stage.resident) + " " + number(stage.microseconds));
  return true;
}

bool profile(const EventFunctions &events, const LayerRun &layer, const DeviceContext &device, const std::string &name,
             int64_t tokens, Report &report, std::string &error) {
  DeviceCall call(layer, device, tokens);
  if (!call.ready() || !call.setInput(normalInput(layer, tokens, 3))) {
    error = "no device memory";
    return false;
  }
  std::vector<char> y;
  TimedCall timed = {call.ownStream(), [&] { return call.enqueue(); },
                     [&] {
                       y = call.output();
                       return !y.empty();
                     }};
  if (!profileCall(events, device, timed, name, tokens, report, error))
    return false;
  if (!isWritten(layer, y))
    error = "values of y are not written or not finite";
  return error.empty();
}

// A forward call that saves, and backward calls with gradients of either type.
bool profileTraining(const EventFunctions &events, const LayerSpec &spec, const LayerRun &layer,
                     const DeviceContext &device, const std::string &name, int64_t tokens, Report &report,
                     std::string &error) {
  for (DataType type : {spec.dtype.weight, DataType::F32}) {
    TrainingCall call(layer, device, tokens, type);
    if (!call.ready() || !call.setInput(normalInput(layer, tokens, 3), normalGradient(layer, tokens, 5))) {
      error = "no device memory for gradients";
      return false;
    }
    auto wait = [&] { return device.driver->stream_synchronize(call.ownStream()) == MOEC_CUDA_SUCCESS; };
    TimedCall forward = {call.ownStream(), [&] { return call.forward(); }, wait};
    TimedCall backward = {call.ownStream(), [&] { return call.backward(); }, wait};
    bool first = type == spec.dtype.weight;
    if (first && !profileCall(events, device, forward, name + "/saving", tokens, report, error))
      return false;
    if (!profileCall(events, device, backward, name + (first ? "/backward" : "/backward-f32"), tokens, report, error))
      return false;
    if (!call.isWritten()) {
      error = "values of gradients are not written or not finite";
      return false;
    }
    if (spec.dtype.weight == DataType::F32)
      break;
  }
  return true;
}

} // namespace

int profileCalls(const std::string &folder, const std::vector<int64_t> &tokens, const CaseOptions &options,
                 const DeviceContext &device) {
  Report report("profile", options);
  EventFunctions events;
  bool open = events.open();
  for (const std::string &name : report.casesIn(folder, ".json")) {
    report.begin(name);
    std::string error;
    std::optional<LayerSpec> spec;
    const moec_package *package = openCase(folder, name, spec, error);
    if (!open) {
      report.skip(name, "the driver has no events");
      continue;
    }
    RandomLayer weights;
    LayerRun layer(package);
    bool good = package && makeLargeWeights(*spec, 1, weights, error) &&
                succeeded(layer.prepare(device, weights.tensors), error);
    weights = RandomLayer(); // the device has them
    for (size_t i = 0; good && i < tokens.size(); ++i) {
      std::string ofTraining; // which is timed where y is wrong, too
      good = profile(events, layer, device, name, tokens[i], report, error);
      bool trained =
          !layer.info().trains || profileTraining(events, *spec, layer, device, name, tokens[i], report, ofTraining);
      if (!good || !trained)
        error = "T=" + std::to_string(tokens[i]) + ": " + error + (good || trained ? "" : "; ") + ofTraining;
      good = good && trained;
    }
    if (good)
      report.pass(name, std::to_string(tokens.size()) + " calls");
    else
      report.fail(name, error);
  }
  return report.summary();
}

} // namespace moec
