// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A sampled token is a call of its own to the reference, so that all threads of the machine compute some.

#include "LargeCheck.h"

#include "CheckedPackage.h"
#include "LargeGradients.h"
#include "LargeWeights.h"

#include "dsl/spec/SpecPrinter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>

namespace moec {
namespace {

constexpr int64_t numSamples = 12, mostOfSequence = 256;

// Weights of the last spec: variants of a layer follow each other and share them.
struct Weights {
  std::string spec;
  std::unique_ptr<RandomLayer> random;
  bool make(const LayerSpec &layer, std::string &error) {
    std::string text = printSpec(layer);
    if (random && text == spec)
      return true;
    random.reset(); // before the next ones take memory
    random = std::make_unique<RandomLayer>();
    spec = text;
    bool made = makeLargeWeights(layer, 1, *random, error);
    if (!made)
      random.reset();
    return made;
  }
};

// What of a call the reference looks at: `count` tokens from `first` on, a whole sequence or a single token.
struct Sample {
  int64_t first, count;
};

bool looksAtOtherTokens(const LayerSpec &spec) {
  return spec.capacity || spec.router.kind == RouterKind::ExpertChoice || spec.router.kind == RouterKind::Soft ||
         spec.layer.wrap == LayerWrap::Depth;
}

// The largest divisor of `tokens` that the reference has the patience for.
int64_t sequenceOf(int64_t tokens) {
  int64_t length = std::min(tokens, mostOfSequence);
  while (tokens % length)
    --length;
  return length;
}

std::vector<Sample> samplesOf(int64_t tokens, int64_t unit) {
  int64_t units = tokens / unit, wanted = std::min(units, unit == 1 ? numSamples : 2);
  std::set<int64_t> chosen;
  for (int64_t i = 0; i < wanted; ++i)
    chosen.insert(wanted == 1 ? 0 : i * (units - 1) / (wanted - 1));
  std::vector<Sample> samples;
  for (int64_t i : chosen)
    samples.push_back({i * unit, unit});
  return samples;
}

// The rows of `from` that a sample is made of, as the outputs of a call of its own without reports.
CallOutputs rowsOf(const CallOutputs &from, const Sample &sample, const moec_layer_info &info) {
  CallOutputs part(info, sample.count, 0);
  part.counts.clear(); // of the whole call
  auto take = [&](const auto &all, auto &some, int64_t columns) {
    std::copy(all.begin() + sample.first * columns, all.begin() + (sample.first + sample.count) * columns,
              some.begin());
  };
  take(from.logits, part.logits, from.numLogits);
  take(from.weights, part.weights, from.choices);
  take(from.ids, part.ids, from.choices);
  size_t row = size_t(from.hidden) * dataTypeBits(from.type) / 8;
  std::memcpy(part.y.data(), static_cast<const char *>(from.y.data()) + size_t(sample.first) * row,
              size_t(sample.count) * row);
  return part;
}

// The first token with a value that is not finite, which y was full of before the call; -1: none.
int64_t firstUnwritten(const CallOutputs &out) {
  std::mutex lock;
  int64_t first = -1;
  onAllThreads(out.tokens, [&](int64_t token) {
    bool finite = true;
    for (int64_t i = 0; finite && i < out.hidden; ++i)
      finite = std::isfinite(loadElement(out.y.data(), out.type, token * out.hidden + i));
    std::lock_guard<std::mutex> guard(lock);
    if (!finite && (first < 0 || token < first))
      first = token;
  });
  return first;
}

class LargeLayer {
public:
  LargeLayer(const LayerSpec &spec, const RandomLayer &weights, LayerRun &layer)
      : spec(spec), weights(weights), layer(layer) {}
  OracleResult result; // the worst of all calls
  LargeGradientResult gradients;

  bool check(int64_t tokens, std::string &error) {
    PageBuffer x(size_t(tokens * spec.hidden) * 4);
    CallOutputs first(layer.info(), tokens), again(layer.info(), tokens);
    if (!x.data() || !first.ready() || !again.ready()) {
      error = "no memory";
      return false;
    }
    fillNormal(x.data(), spec.dtype.activation, tokens * spec.hidden, 0, 1, 77 + uint64_t(tokens));
    int64_t unit = looksAtOtherTokens(spec) ? sequenceOf(tokens) : 1;
    CallInputs inputs;
    inputs.tokensPerSequence = unit > 1 ? unit : 0;
    layer.setInputs(&inputs);
    bool ran = succeeded(first.run(layer, x.data()), error);
    layer.poisonWorkspace(true);
    ran = ran && succeeded(again.run(layer, x.data()), error);
    layer.poisonWorkspace(false);
    layer.setInputs(nullptr);
    return ran && checkWhole(first, error) && checkWhole(again, error) && checkRepeats(first, again, error) &&
           checkSamples(first, x.data(), samplesOf(tokens, unit), error) &&
           (!layer.info().trains || checkLargeGradients(spec, weights, layer, x.data(), first, gradients, error));
  }

private:
  bool checkWhole(const CallOutputs &out, std::string &error) const {
    int64_t token = firstUnwritten(out);
    if (token >= 0)
      error = "y of token " + std::to_string(token) + " is not written or not finite";
    return token < 0;
  }

  bool checkRepeats(const CallOutputs &first, const CallOutputs &again, std::string &error) const {
    bool same = layer.info().determinism == 0 || first.sameBits(again);
    if (!same)
      error = "bits differ between two runs";
    return same;
  }

  bool checkSamples(const CallOutputs &out, const void *x, const std::vector<Sample> &samples, std::string &error) {
    std::mutex lock;
    bool good = true;
    size_t rowBytes = size_t(spec.hidden) * dataTypeBits(spec.dtype.activation) / 8;
    onAllThreads(int64_t(samples.size()), [&](int64_t i) {
      const Sample &sample = samples[size_t(i)];
      CallOutputs part = rowsOf(out, sample, layer.info());
      OracleResult own;
      std::string reason;
      const char *rows = static_cast<const char *>(x) + size_t(sample.first) * rowBytes;
      bool passed = compareToOracle(spec, weights, rows, ReferenceInputs(), part, own, reason);
      std::lock_guard<std::mutex> guard(lock);
      result.tied += own.tied;
      result.compared.add(own.compared);
      result.worst.ofLimit = std::max(result.worst.ofLimit, own.worst.ofLimit);
      result.worst.nmse = std::max(result.worst.nmse, own.worst.nmse);
      if (!passed && good)
        error = "from token " + std::to_string(sample.first) + " on: " + reason;
      good = good && passed;
    });
    return good;
  }

  const LayerSpec &spec;
  const RandomLayer &weights;
  LayerRun &layer;
};

// "1 8 64" of FOLDER/NAME.tokens.
std::vector<int64_t> tokensOf(const std::string &folder, const std::string &name) {
  std::ifstream file(folder + "/" + name + ".tokens");
  std::vector<int64_t> tokens;
  for (int64_t t; file >> t;)
    tokens.push_back(t);
  return tokens;
}

std::string resultText(const OracleResult &result, const LargeGradientResult &gradients, size_t calls) {
  char text[160], ofGradients[80] = "";
  std::snprintf(text, sizeof text,
                "%zu calls, %zu rows, |y - want| / |want| at most %.1e, %.0f%% of its limit, %zu ties of the router",
                calls, result.compared.rows, std::sqrt(result.worst.nmse), 100 * result.worst.ofLimit, result.tied);
  if (gradients.rows)
    std::snprintf(ofGradients, sizeof ofGradients, "; %zu rows of gradients, at most %.1e", gradients.rows,
                  gradients.worst);
  return std::string(text) + ofGradients;
}

// One package at every T; `text` is what to say of it.
bool checkPackage(const LayerSpec &spec, const RandomLayer &weights, LayerRun &layer,
                  const std::vector<int64_t> &tokens, std::string &text) {
  LargeLayer large(spec, weights, layer);
  std::string error;
  for (int64_t t : tokens)
    if (!large.check(t, error)) {
      text = "T=" + std::to_string(t) + ": " + error;
      return false;
    }
  bool compared = large.result.compared.rows > 0;
  text = tokens.empty() ? "no number of tokens is given for it"
         : compared     ? resultText(large.result, large.gradients, tokens.size())
                        : "no row was compared: rounding decides about all sampled tokens";
  return compared;
}

} // namespace

int checkLarge(const std::string &kind, const std::string &folder, const std::vector<int64_t> &given,
               const CaseOptions &options, const DeviceContext *device) {
  Report report(kind, options);
  Weights weights;
  for (const std::string &name : report.casesIn(folder, ".json")) {
    report.begin(name);
    std::string text;
    std::optional<LayerSpec> spec;
    const moec_package *package = openCase(folder, name, spec, text);
    bool good = package && weights.make(*spec, text);
    LayerRun layer(package);
    auto began = std::chrono::steady_clock::now();
    good = good && prepareOn(device, weights.random->tensors, layer, text);
    std::chrono::duration<double> packing = std::chrono::steady_clock::now() - began;
    good = good && checkPackage(*spec, *weights.random, layer, given.empty() ? tokensOf(folder, name) : given, text);
    char packed[32];
    std::snprintf(packed, sizeof packed, "; packed in %.1f s", packing.count());
    if (good)
      report.pass(name, text + packed);
    else
      report.fail(name, text);
  }
  return report.summary();
}

} // namespace moec
