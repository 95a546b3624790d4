// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Samples are independent, so that all threads of the machine compute some.

#include "LargeGradients.h"

#include "LargeWeights.h"

#include "dsl/spec/SpecPrinter.h"
#include "dsl/spec/SpecReader.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <mutex>

namespace moec {
namespace {

constexpr int64_t numTokens = 6;
using Row = std::vector<double>;

// Whether a spec says nothing but what the formulas hold for.
bool isPlain(const LayerSpec &spec) {
  std::string text = "{\"moec\":1,\"name\":\"" + spec.name + "\",\"hidden\":" + std::to_string(spec.hidden) +
                     ",\"dtype\":\"bf16\",\"router\":{\"top_k\":" + std::to_string(spec.choices()) +
                     ",\"normalize\":{\"kind\":\"sum\"}},\"experts\":{\"count\":" + std::to_string(spec.experts.count) +
                     ",\"intermediate\":" + std::to_string(spec.experts.width(0)) +
                     "},\"passes\":[\"forward\",\"backward\"]}";
  SpecSource source;
  DiagnosticList diagnostics;
  std::optional<LayerSpec> plain = readSpec(text, "plain", {}, source, diagnostics);
  LayerSpec same = spec;
  same.weights.clear();
  same.reports = plain ? plain->reports : 0;
  same.save = Save::All;
  return plain && printSpec(*plain) == printSpec(same);
}

double dot(const Row &a, const Row &b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i)
    sum += a[i] * b[i];
  return sum;
}

void addTo(Row &sum, double factor, const Row &row) {
  for (size_t i = 0; i < row.size(); ++i)
    sum[i] += factor * row[i];
}

double sigmoid(double v) { return 1 / (1 + std::exp(-v)); }
double silu(double v) { return v * sigmoid(v); }
double siluSlope(double v) { return sigmoid(v) * (1 + v * (1 - sigmoid(v))); }

class Reference {
public:
  Reference(const LayerSpec &spec, const RandomLayer &weights, const void *x, const void *dy, const CallOutputs &out)
      : hidden(spec.hidden), inner(spec.experts.width(0)), choices(spec.choices()), activation(spec.dtype.activation),
        output(spec.dtype.output), weights(weights), x(x), dy(dy), out(out) {}

  Row xOf(int64_t t) const { return elements(x, activation, t * hidden, 1, hidden); }
  Row dyOf(int64_t t) const { return elements(dy, output, t * hidden, 1, hidden); }

  // A gradient, and the size that its roundings are measured by: that of its tokens' parts, each as large as it would be
  // if no rounded factor of it were near 0.
  struct Sum {
    Row values;
    double squares = 0;
    void add(double factor, double size, const Row &row) {
      addTo(values, factor, row);
      squares += size * size * dot(row, row);
    }
  };
  // Of row i of gate and up, and of column i of down.
  struct Column {
    Sum gate, up, down;
  };
  Column column(int64_t expert, int64_t i) const {
    Sum empty = {Row(size_t(hidden))};
    Column sum = {empty, empty, empty};
    Row gate = weightRow("experts.gate", expert * inner + i), up = weightRow("experts.up", expert * inner + i);
    Row down =
        elements(tensor("experts.down").data, tensor("experts.down").type, expert * hidden * inner + i, inner, hidden);
    for (int64_t t = 0; t < out.tokens; ++t)
      for (int64_t j = 0; j < choices; ++j) {
        if (out.ids[size_t(t * choices + j)] != expert)
          continue;
        Row xRow = xOf(t), dyRow = dyOf(t);
        double w = double(out.weights[size_t(t * choices + j)]), g = dot(gate, xRow), u = dot(up, xRow);
        double s = w * dot(down, dyRow), ofSilu = std::fabs(silu(g)) + std::fabs(g * siluSlope(g));
        double ofSlope = std::fabs(siluSlope(g)) + std::fabs(g) / 2; // no second derivative of silu is above 1/2
        sum.down.add(w * silu(g) * u, w * std::fabs(u) * ofSilu, dyRow);
        sum.gate.add(s * u * siluSlope(g), std::fabs(s * u) * ofSlope, xRow);
        sum.up.add(s * silu(g), std::fabs(s) * ofSilu, xRow);
      }
    return sum;
  }

  Sum token(int64_t t) const {
    Row xRow = xOf(t), dyRow = dyOf(t), sum(static_cast<size_t>(hidden)), part(static_cast<size_t>(choices));
    double mean = 0;
    for (int64_t j = 0; j < choices; ++j) {
      int64_t expert = out.ids[size_t(t * choices + j)];
      double w = double(out.weights[size_t(t * choices + j)]);
      Row fromDown(static_cast<size_t>(inner)); // Wd' dy
      for (int64_t h = 0; h < hidden; ++h)
        addTo(fromDown, dyRow[size_t(h)], weightRow("experts.down", expert * hidden + h));
      for (int64_t i = 0; i < inner; ++i) {
        Row gate = weightRow("experts.gate", expert * inner + i), up = weightRow("experts.up", expert * inner + i);
        double g = dot(gate, xRow), u = dot(up, xRow), s = fromDown[size_t(i)];
        part[size_t(j)] += s * silu(g) * u;
        addTo(sum, w * s * u * siluSlope(g), gate);
        addTo(sum, w * s * silu(g), up);
      }
      mean += w * part[size_t(j)];
    }
    for (int64_t j = 0; j < choices; ++j)
      addTo(sum, double(out.weights[size_t(t * choices + j)]) * (part[size_t(j)] - mean),
            weightRow("router.weight", out.ids[size_t(t * choices + j)]));
    return {sum, dot(sum, sum)};
  }

private:
  static Row elements(const void *data, DataType type, int64_t first, int64_t step, int64_t count) {
    Row row(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i)
      row[size_t(i)] = loadElement(data, type, first + i * step);
    return row;
  }
  const RoleTensor &tensor(const char *role) const { return weights.tensors.at(role); }
  Row weightRow(const char *role, int64_t row) const {
    int64_t columns = tensor(role).shape.back();
    return elements(tensor(role).data, tensor(role).type, row * columns, 1, columns);
  }

  int64_t hidden, inner, choices;
  DataType activation, output;
  const RandomLayer &weights;
  const void *x, *dy;
  const CallOutputs &out;
};

// The experts of most tokens, of fewest and of a number between; of each the first, a middle and the last column.
std::vector<std::pair<int64_t, int64_t>> columnsToCheck(const LayerSpec &spec, const CallOutputs &out) {
  std::vector<int64_t> counts(size_t(spec.experts.count)), order(counts.size());
  for (int64_t id : out.ids)
    ++counts[size_t(id)];
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = int64_t(i);
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return std::pair(counts[size_t(a)], a) < std::pair(counts[size_t(b)], b); });
  int64_t inner = spec.experts.width(0);
  std::vector<std::pair<int64_t, int64_t>> columns;
  for (int64_t expert : {order.front(), order[order.size() / 2], order.back()})
    for (int64_t i : {int64_t(0), inner * 5 / 9, inner - 1})
      columns.emplace_back(expert, i);
  return columns;
}

class Samples {
public:
  Samples(const LayerSpec &spec, const Reference &reference, const CallOutputs &out, const CallGradients &got)
      : hidden(spec.hidden), inner(spec.experts.width(0)), reference(reference), got(got),
        columns(columnsToCheck(spec, out)), tokens(std::min(out.tokens, numTokens)), allTokens(out.tokens) {}

  bool check(LargeGradientResult &result, std::string &error) {
    onAllThreads(int64_t(columns.size()) + tokens, [&](int64_t i) {
      if (i < int64_t(columns.size()))
        checkColumn(columns[size_t(i)].first, columns[size_t(i)].second);
      else
        checkToken(tokens == 1 ? 0 : (i - int64_t(columns.size())) * (allTokens - 1) / (tokens - 1));
    });
    result.rows += rows;
    result.worst = std::max(result.worst, worst);
    error = wrong;
    return wrong.empty();
  }

private:
  void checkColumn(int64_t expert, int64_t i) {
    Reference::Column want = reference.column(expert, i);
    std::string place = " of expert " + std::to_string(expert) + ", inner column " + std::to_string(i);
    compare("experts.gate", place, (expert * inner + i) * hidden, 1, want.gate);
    compare("experts.up", place, (expert * inner + i) * hidden, 1, want.up);
    compare("experts.down", place, expert * hidden * inner + i, inner, want.down);
  }
  void checkToken(int64_t t) { compare("x", " of token " + std::to_string(t), t * hidden, 1, reference.token(t)); }

  void compare(const char *name, const std::string &place, int64_t first, int64_t step, const Reference::Sum &want) {
    const Gradient *gradient = got.find(name);
    double off = 0;
    for (size_t i = 0; gradient && i < want.values.size(); ++i) {
      double d = loadElement(gradient->data(), gradient->type, first + int64_t(i) * step) - want.values[i];
      off += d * d;
    }
    double share = off == 0 ? 0 : std::sqrt(off / want.squares); // infinite where a row of zeros has another value
    std::lock_guard<std::mutex> guard(lock);
    ++rows;
    worst = std::max(worst, share);
    if ((!gradient || !(share <= mostOfGradientRow)) && wrong.empty()) {
      char text[64];
      std::snprintf(text, sizeof text, ": off by %.2e of its size, at most %.0e", share, mostOfGradientRow);
      wrong = "gradient of " + std::string(name) + place + (gradient ? text : " is missing");
    }
  }

  int64_t hidden, inner;
  const Reference &reference;
  const CallGradients &got;
  std::vector<std::pair<int64_t, int64_t>> columns;
  int64_t tokens, allTokens;
  std::mutex lock;
  size_t rows = 0;
  double worst = 0;
  std::string wrong;
};

// The name of a gradient with a value that is not finite, as all are before a call; empty: none.
std::string unwritten(const CallGradients &gradients) {
  for (const Gradient &gradient : gradients.all) {
    int64_t count = gradient.numElements(), part = int64_t(1) << 20;
    std::atomic<bool> bad{false};
    onAllThreads((count + part - 1) / part, [&](int64_t p) {
      for (int64_t i = p * part; i < std::min(count, (p + 1) * part); ++i)
        if (!std::isfinite(loadElement(gradient.data(), gradient.type, i)))
          bad = true;
    });
    if (bad)
      return gradient.name;
  }
  return {};
}

bool runBackward(LayerRun &layer, int64_t tokens, const void *x, moec_backward_args args, CallGradients &to,
                 std::string &error) {
  to.ask(args);
  Result<> ran = layer.backward(tokens, x, args);
  if (!ran)
    error = ran.error().message;
  std::string name = ran ? unwritten(to) : "";
  if (!name.empty())
    error = "the gradient of " + name + " is not written or not finite";
  return ran && name.empty();
}

} // namespace

bool checkLargeGradients(const LayerSpec &spec, const RandomLayer &weights, LayerRun &layer, const void *x,
                         const CallOutputs &out, LargeGradientResult &result, std::string &error) {
  error = "gradients of such a layer are not known here";
  if (!isPlain(spec))
    return false;
  int64_t tokens = out.tokens;
  Result<size_t> bytes = layer.savedBytes(tokens);
  PageBuffer saved(bytes ? *bytes + 64 : 0), y(size_t(tokens * spec.hidden) * 4), dy(size_t(tokens * spec.hidden) * 4);
  error = "no memory";
  if (!bytes || !saved.data() || !y.data() || !dy.data())
    return false;
  fillNormal(dy.data(), spec.dtype.output, tokens * spec.hidden, 0, 1, 177 + uint64_t(tokens));
  moec_forward_args forward = LayerRun::noOptional();
  forward.saved = saved.data();
  forward.saved_bytes = *bytes;
  if (Result<> ran = layer.forward(tokens, x, y.data(), forward); !ran) {
    error = ran.error().message;
    return false;
  }
  moec_backward_args args = {};
  args.grad_y = dy.data();
  args.saved = saved.data();
  args.saved_bytes = *bytes;
  Result<CallGradients> first = CallGradients::make(layer, tokens, {"x"}, spec.dtype.weight),
                        again = CallGradients::make(layer, tokens, {"x"}, spec.dtype.weight);
  if (!first || !again)
    return false;
  bool ran = runBackward(layer, tokens, x, args, *first, error);
  layer.poisonWorkspace(true);
  ran = ran && runBackward(layer, tokens, x, args, *again, error);
  layer.poisonWorkspace(false);
  std::string name = ran && layer.info().determinism ? first->differing(*again) : "";
  if (!name.empty())
    error = "the gradient of " + name + " has other bits in a second call";
  if (!ran || !name.empty())
    return false;
  Reference reference(spec, weights, x, dy.data(), out);
  return Samples(spec, reference, out, *first).check(result, error);
}

} // namespace moec
