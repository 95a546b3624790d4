// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Right outputs of a call, and each of them wrong in one way: the comparison passes the former, and of the latter says
// that they are wrong and where.

#include "codegen/check/OracleCheck.h"

#include "dsl/reference/ReferenceRounding.h"
#include "dsl/spec/SpecReader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

using namespace moec;

namespace {

constexpr int64_t tokens = 24, hidden = 64, experts = 8;

LayerSpec specOf(const std::string &dtype) {
  SpecSource source;
  DiagnosticList diagnostics;
  auto spec = readSpec(R"({"moec": 1, "name": "m", "hidden": 64, "dtype": ")" + dtype + R"(",
    "router": {"top_k": 2, "normalize": {"kind": "sum"}},
    "experts": {"count": 8, "intermediate": 32, "bias": {"in": true, "out": true}},
    "losses": [{"kind": "z"}, {"kind": "load_balance"}], "reports": "all"})",
                       "m.json", {}, source, diagnostics);
  EXPECT_TRUE(spec);
  return *spec;
}

// A layer, a call of it, and what a kernel that is right may give.
struct Call {
  uint64_t seed; // of the kernel's errors
  LayerSpec spec;
  DataType type;
  RandomLayer weights;
  PageBuffer x;
  ReferenceOutputs want;
  std::unique_ptr<CallOutputs> out;

  explicit Call(const std::string &dtype, uint64_t seed = 4711)
      : seed(seed), spec(specOf(dtype)), type(spec.dtype.output), x(tokens * hidden * 4) {
    EXPECT_TRUE(weights.make(spec, 1));
    fillNormal(x.data(), spec.dtype.activation, tokens * hidden, 0, 1, 5);
    moec_layer_info info = {};
    info.hidden = hidden;
    info.top_k = 2;
    info.num_logits = info.num_experts = info.num_choice_counts = experts;
    info.num_losses = 2;
    info.y_dtype = moec_dtype(type);
    info.reports = reportsOf(spec, true);
    out = std::make_unique<CallOutputs>(info, tokens);
    want = outputsOf(weights, true);
    fill(*out, want);
  }

  // With the errors of a kernel, which has signs of its own; without them.
  ReferenceOutputs outputsOf(const RandomLayer &layer, bool rounded) {
    ReferenceRounding rounding(seed, false);
    ReferenceInputs inputs;
    inputs.numTokens = tokens;
    inputs.x.shape = {tokens, hidden};
    for (int64_t i = 0; i < tokens * hidden; ++i)
      inputs.x.data.push_back(loadElement(x.data(), spec.dtype.activation, i));
    inputs.weights = &layer.view;
    inputs.rounding = rounded ? &rounding : nullptr;
    Result<ReferenceOutputs> outputs = runReference(spec, inputs);
    EXPECT_TRUE(outputs) << outputs.error().message;
    return outputs ? *outputs : ReferenceOutputs();
  }

  void fill(CallOutputs &into, const ReferenceOutputs &from) {
    setY(from.y);
    into.logits.assign(from.logits.begin(), from.logits.end());
    into.weights.assign(from.weights.begin(), from.weights.end());
    into.ids.assign(from.ids.begin(), from.ids.end());
    into.counts.assign(from.counts.begin(), from.counts.end());
    into.choice_counts = into.counts;
    into.probabilities.assign(from.probabilities.begin(), from.probabilities.end());
    into.losses.assign(from.losses.begin(), from.losses.end());
    into.logit_mean = {float(from.logitMean)};
    into.logit_max = {float(from.logitMax)};
    into.diversity = {float(from.diversity)};
    into.dropped_tokens = {int32_t(from.droppedTokens)};
  }

  double y(int64_t token, int64_t col) const { return loadElement(out->y.data(), type, token * hidden + col); }
  void setY(int64_t token, int64_t col, double v) { storeElement(out->y.data(), type, token * hidden + col, v); }
  void setY(const std::vector<double> &values) {
    for (size_t i = 0; i < values.size(); ++i)
      storeElement(out->y.data(), type, int64_t(i), values[i]);
  }
  void eachY(const std::function<double(double)> &change) {
    for (int64_t i = 0; i < tokens * hidden; ++i)
      storeElement(out->y.data(), type, i, change(loadElement(out->y.data(), type, i)));
  }

  // y of a layer in which every value of a tensor, or of one expert's part of it, is scaled.
  std::vector<double> yWith(const char *role, double factor, int64_t expert = -1) {
    RandomLayer other;
    EXPECT_TRUE(other.make(spec, 1));
    const RoleTensor &tensor = other.tensors.at(role);
    int64_t count = 1;
    for (int64_t extent : tensor.shape)
      count *= extent;
    int64_t part = count / experts, first = expert < 0 ? 0 : expert * part, last = expert < 0 ? count : first + part;
    for (int64_t i = first; i < last; ++i)
      storeElement(const_cast<void *>(tensor.data), tensor.type, i, factor * loadElement(tensor.data, tensor.type, i));
    return outputsOf(other, true).y;
  }
  // What an expert adds to y with `factor` times its weight instead of the right one.
  void reweigh(int64_t expert, double factor, int64_t token = -1) {
    std::vector<double> some = yWith("experts.down", 0, expert), without = some, none = outputsOf(weights, true).y;
    std::vector<double> noBias = yWith("experts.down_bias", 0, expert);
    for (size_t i = 0; i < none.size(); ++i)
      if (token < 0 || int64_t(i) / hidden == token) {
        double added = none[i] - some[i] + (none[i] - noBias[i]);
        storeElement(out->y.data(), type, int64_t(i), none[i] + (factor - 1) * added);
      }
  }

  std::string verdict() {
    OracleResult result;
    std::string reason;
    bool passed = compareToOracle(spec, weights, x.data(), ReferenceInputs(), *out, result, reason);
    EXPECT_EQ(passed, reason.empty()) << reason;
    rows = result.compared.rows;
    ofLimit = result.worst.ofLimit;
    return reason;
  }
  size_t rows = 0;
  double ofLimit = 0;
};

struct Mutation {
  const char *name;
  std::function<void(Call &)> change;
  const char *place; // what the reason must name
};

const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();

// Wrong in every type.
const Mutation mutations[] = {
    {"two rows change places",
     [](Call &c) {
       for (int64_t i = 0; i < hidden; ++i) {
         double v = c.y(3, i);
         c.setY(3, i, c.y(4, i));
         c.setY(4, i, v);
       }
     },
     "y: FAIL row "},
    {"one row times 1.02",
     [](Call &c) {
       for (int64_t i = 0; i < hidden; ++i)
         c.setY(7, i, 1.02 * c.y(7, i));
     },
     "y: FAIL row 7 "},
    {"columns shifted by one",
     [](Call &c) {
       char *y = static_cast<char *>(c.out->y.data());
       size_t element = dataTypeBits(c.type) / 8;
       std::memmove(y, y + element, size_t(tokens * hidden - 1) * element);
     },
     "y: FAIL row "},
    {"one element is NaN", [](Call &c) { c.setY(5, 9, nan); }, "y: FAIL row 5 column 9 is "},
    {"one element is infinite", [](Call &c) { c.setY(5, 10, inf); }, "y: FAIL row 5 column 10 is "},
    {"all is NaN", [](Call &c) { c.eachY([](double) { return nan; }); }, "y: FAIL row 0 column 0 is "},
    {"all is zero", [](Call &c) { c.eachY([](double) { return 0.0; }); }, "y: FAIL row "},
    {"the sign of a column",
     [](Call &c) {
       for (int64_t t = 0; t < tokens; ++t)
         c.setY(t, 11, -c.y(t, 11));
     },
     " column 11 is "},
    {"y of the last token is not written",
     [](Call &c) {
       size_t row = size_t(hidden) * dataTypeBits(c.type) / 8;
       std::memset(static_cast<char *>(c.out->y.data()) + (tokens - 1) * row, 0xff, row);
     },
     "y: FAIL row 23 column 0 is nan; expected "},
    {"the last token has the row before it",
     [](Call &c) {
       for (int64_t i = 0; i < hidden; ++i)
         c.setY(23, i, c.y(22, i));
     },
     "y: FAIL row 23 "},
    {"another expert",
     [](Call &c) {
       int32_t *ids = &c.out->ids[8];
       for (int32_t e = 0; e < experts; ++e)
         if (e != ids[0] && e != ids[1]) {
           ids[1] = e;
           return;
         }
     },
     "ids and weights: FAIL token 4 has experts {"},
    {"two ids change places, their weights do not", [](Call &c) { std::swap(c.out->ids[8], c.out->ids[9]); },
     "ids and weights: FAIL row 4 expert "},
    {"one expert twice", [](Call &c) { c.out->ids[9] = c.out->ids[8]; }, "token 4 has one expert twice"},
    {"an id that was not written", [](Call &c) { c.out->ids[9] = INT32_MIN; }, "FAIL token 4 has experts {"},
    {"one weight times 1.001", [](Call &c) { c.out->weights[10] *= 1.001f; }, "ids and weights: FAIL row 5 expert "},
    {"weights not normalised",
     [](Call &c) {
       for (float &w : c.out->weights)
         w *= 0.99f;
     },
     "ids and weights: FAIL "},
    {"a weight that is NaN", [](Call &c) { c.out->weights[10] = nan; }, "the weight at row 5 expert "},
    {"one logit times 1.001", [](Call &c) { c.out->logits[17] *= 1.001f; }, "logits: FAIL row 2 column 1 is "},
    {"counts off by one", [](Call &c) { ++c.out->counts[3]; }, " counts[3]: got "},
    {"choices counted wrong", [](Call &c) { --c.out->choice_counts[2]; }, "choice_counts[2]: got "},
    {"a loss off by 1 %", [](Call &c) { c.out->losses[0] *= 1.01f; }, "losses[0] z: got "},
    {"a loss off by -1 %", [](Call &c) { c.out->losses[1] *= 0.99f; }, "losses[1] load_balance: got "},
    {"a loss that is NaN", [](Call &c) { c.out->losses[1] = nan; }, "losses[1] load_balance: got nan"},
    {"a probability", [](Call &c) { c.out->probabilities[42] += 1e-3f; }, "probabilities: FAIL row 5 column 2 is "},
    {"a bias dropped", [](Call &c) { c.setY(c.yWith("experts.down_bias", 0)); }, "y: FAIL row "},
    {"a bias of the gate dropped", [](Call &c) { c.setY(c.yWith("experts.gate_bias", 0)); }, "y: FAIL row "},
    {"one expert adds nothing", [](Call &c) { c.reweigh(3, 0); }, "y: FAIL row "},
    {"the smaller weight of one token times 1.1",
     [](Call &c) {
       bool first = c.out->weights[12] < c.out->weights[13];
       c.reweigh(c.out->ids[first ? 12 : 13], 1.1, 6);
     },
     "y: FAIL row 6 "},
    {"one expert times 1.01", [](Call &c) { c.reweigh(c.out->ids[0], 1.01); }, "y: FAIL row "},
    {"y times 1.004", [](Call &c) { c.eachY([](double v) { return 1.004 * v; }); }, "y: FAIL "},
};

// Wrong in f32 alone.
const Mutation onlyF32[] = {
    {"y rounded to bf16",
     [](Call &c) {
       uint16_t half;
       c.eachY([&](double v) {
         storeElement(&half, DataType::BF16, 0, v);
         return loadElement(&half, DataType::BF16, 0);
       });
     },
     "y: FAIL row "},
    {"weights rounded to bf16",
     [](Call &c) {
       uint16_t half;
       for (float &w : c.out->weights) {
         storeElement(&half, DataType::BF16, 0, double(w));
         w = float(loadElement(&half, DataType::BF16, 0));
       }
     },
     "ids and weights: FAIL row "},
    {"one expert times 1.0001", [](Call &c) { c.reweigh(c.out->ids[0], 1.0001); }, "y: FAIL row "},
};

// Wrong in bf16: the row's last bits cut instead of rounded.
const Mutation onlyBf16[] = {
    {"y truncated instead of rounded",
     [](Call &c) {
       std::vector<double> exact = c.outputsOf(c.weights, false).y;
       for (size_t i = 0; i < exact.size(); ++i) {
         float value = float(exact[i]);
         uint32_t bits;
         std::memcpy(&bits, &value, 4);
         static_cast<uint16_t *>(c.out->y.data())[i] = uint16_t(bits >> 16);
       }
     },
     "y: FAIL all rows together are "},
};

void expectCaught(const std::string &dtype, const Mutation &mutation) {
  SCOPED_TRACE(dtype + ": " + mutation.name);
  Call call(dtype);
  mutation.change(call);
  std::string reason = call.verdict();
  EXPECT_NE(reason.find("T=24 "), std::string::npos) << reason;
  EXPECT_NE(reason.find(mutation.place), std::string::npos) << reason;
}

} // namespace

TEST(Mutation, right_outputs_pass_with_every_row_compared) {
  // Errors are as large as roundings can make them, in every draw of their signs; those of a kernel are smaller.
  for (const char *dtype : {"f32", "bf16", "f16"}) {
    double sum = 0;
    constexpr uint64_t draws = 12;
    for (uint64_t seed = 4711; seed < 4711 + draws; ++seed) {
      Call call(dtype, seed);
      EXPECT_EQ(call.verdict(), "") << dtype << " seed " << seed;
      EXPECT_EQ(call.rows, size_t(tokens)) << dtype;
      EXPECT_LT(call.ofLimit, 1) << dtype << " seed " << seed;
      sum += call.ofLimit;
    }
    EXPECT_LT(sum / draws, 0.9) << dtype;
  }
}

TEST(Mutation, wrong_outputs_are_caught_in_every_type) {
  static_assert(std::size(mutations) >= 20);
  for (const char *dtype : {"f32", "bf16", "f16"})
    for (const Mutation &mutation : mutations)
      expectCaught(dtype, mutation);
}

TEST(Mutation, wrong_types_are_caught) {
  for (const Mutation &mutation : onlyF32)
    expectCaught("f32", mutation);
  for (const Mutation &mutation : onlyBf16)
    expectCaught("bf16", mutation);
}

TEST(Mutation, no_tokens_are_counted_apart) {
  Call call("f32");
  moec_layer_info info = {};
  info.hidden = hidden;
  CallOutputs none(info, 0);
  OracleResult result;
  std::string reason;
  EXPECT_TRUE(compareToOracle(call.spec, call.weights, call.x.data(), ReferenceInputs(), none, result, reason));
  EXPECT_EQ(result.compared.rows, 0u);
  EXPECT_EQ(result.compared.empty, 1u);
}
