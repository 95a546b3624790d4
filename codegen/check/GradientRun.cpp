// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Forward and backward calls with poisoned memory, compared with each other and with the oracle.

#include "codegen/check/GradientRun.h"

#include <cstring>
#include <memory>

namespace moec {

namespace {

constexpr unsigned char tailByte = 0x5a;
constexpr size_t tailBytes = 64;

// One oracle's call on one layer.
class GradientRun {
public:
  GradientRun(GradientOracle &oracle, LayerRun &layer, CheckResult &result, std::string &reason)
      : oracle(oracle), layer(layer), call(oracle.call()), result(result), reason(reason) {}

  Result<bool> run(int threads, const PrepareThreads &prepare) {
    for (int n = 1; n <= threads; ++n) {
      if (Result<> prepared = prepare(n); !prepared)
        return prepared.takeError();
      for (int repeat = 0; repeat < 2; ++repeat) {
        where = "run " + std::to_string(repeat + 1) + " on " + std::to_string(n) + " threads";
        layer.poisonWorkspace(repeat == 0);
        if (Result<bool> same = repeatCalls(); !same || !*same)
          return same;
      }
    }
    where = "a later call";
    if (!oracle.compare(*first, nullptr, result, reason))
      return false;
    return variants();
  }

  std::unique_ptr<CallGradients> takeFirst() { return std::move(first); }

private:
  // Sums in any order (--det off) have other bits in every call.
  bool repeats() const { return layer.info().determinism != 0; }

  Result<bool> no(std::string why) {
    reason = std::move(why);
    return false;
  }

  // Forward and backward; the first time everything is kept, later it must come out again.
  Result<bool> repeatCalls() {
    Result<size_t> bytes = layer.savedBytes(call.tokens);
    if (!bytes)
      return bytes.takeError();
    PageBuffer own(*bytes + tailBytes), y = yBuffer(), plain = yBuffer();
    if (!own.data() || !y.data() || !plain.data())
      return Diagnostic::error("E-MEMORY", "not enough memory for what a forward call saves");
    std::memset(own.data(), 0xff, *bytes);
    std::memset(static_cast<char *>(own.data()) + *bytes, tailByte, tailBytes);
    moec_forward_args args = LayerRun::noOptional();
    if (Result<> ran = layer.forward(call.tokens, call.x.data(), plain.data(), args); !ran)
      return ran.takeError();
    args.saved = own.data();
    args.saved_bytes = *bytes;
    if (Result<> ran = layer.forward(call.tokens, call.x.data(), y.data(), args); !ran)
      return ran.takeError();
    if (repeats() && std::memcmp(y.data(), plain.data(), y.size()) != 0)
      return no("y of a call that saves has other bits than that of one that does not, in " + where);
    const auto *end = static_cast<const unsigned char *>(own.data()) + *bytes;
    for (size_t i = 0; i < tailBytes; ++i)
      if (end[i] != tailByte)
        return no("forward wrote behind the end of saved");
    if (first && std::memcmp(own.data(), saved.data(), *bytes) != 0)
      return no("what forward saves has other bits in " + where);
    if (!first) {
      saved = std::move(own);
      savedBytes = *bytes;
    }
    Result<CallGradients> made = backward(DataType::F32, nullptr, 0, nullptr);
    if (!made)
      return made.takeError();
    if (std::string name = made->overrun(); !name.empty())
      return no("backward wrote behind the end of the gradient of " + name);
    if (!first)
      first = std::make_unique<CallGradients>(std::move(*made));
    else if (std::string name = first->differing(*made); repeats() && !name.empty())
      return no("the gradient of " + name + " has other bits in " + where);
    return true;
  }

  PageBuffer yBuffer() const {
    PageBuffer y(size_t(call.tokens) * size_t(layer.info().hidden) * 4 + 64);
    if (y.data())
      std::memset(y.data(), 0xff, y.size());
    return y;
  }

  // One backward call of the values that the first forward call saved. `before`, if given, is added to.
  Result<CallGradients> backward(DataType type, CallGradients::Wanted wanted, int accumulate,
                                 const CallGradients *before) {
    Result<CallGradients> out = CallGradients::make(layer, call.tokens, oracle.inputs(), type);
    if (!out)
      return out;
    if (before)
      out->copyParameters(*before);
    moec_backward_args args = {};
    args.grad_y = call.dy.data();
    args.grad_losses = call.coefficients.empty() ? nullptr : call.coefficients.data();
    args.saved = saved.data();
    args.saved_bytes = savedBytes;
    args.accumulate = accumulate;
    out->ask(args, wanted);
    if (Result<> ran = layer.backward(call.tokens, call.x.data(), args); !ran)
      return ran.takeError();
    return out;
  }

  // Calls that ask for less, for another type, or add.
  Result<bool> variants() {
    const CallGradients::Wanted parts[] = {
        [](const Gradient &g) { return g.role < 0; },
        [](const Gradient &g) { return g.role >= 0; },
        [](const Gradient &g) { return g.role % 2 == 0; },
        [](const Gradient &g) { return g.role % 2 == 1; },
    };
    for (CallGradients::Wanted part : parts) {
      Result<CallGradients> some = backward(DataType::F32, part, 0, nullptr);
      if (!some)
        return some.takeError();
      if (std::string name = first->differing(*some, part); repeats() && !name.empty())
        return no("the gradient of " + name + " has other bits where a call asks for some gradients only");
    }
    std::vector<DataType> types = {DataType::F32};
    if (DataType own = oracle.weightType(); own != DataType::F32)
      types.push_back(own);
    for (DataType type : types)
      if (Result<bool> good = ofType(type); !good || !*good)
        return good;
    return true;
  }

  Result<bool> ofType(DataType type) {
    if (type != DataType::F32) {
      Result<CallGradients> stored = backward(type, nullptr, 0, nullptr);
      if (!stored)
        return stored.takeError();
      Result<CallGradients> want = CallGradients::make(layer, call.tokens, oracle.inputs(), type);
      if (!want)
        return want.takeError();
      want->convert(*first);
      if (std::string name = want->differing(*stored); repeats() && !name.empty())
        return no("the gradient of " + name + " in the weights' type is not that in f32, rounded");
    }
    Result<CallGradients> before = CallGradients::make(layer, call.tokens, oracle.inputs(), type);
    if (!before)
      return before.takeError();
    before->fillParameters(*first, uint64_t(call.tokens) + 1);
    Result<CallGradients> sum = backward(type, nullptr, 1, &*before);
    if (!sum)
      return sum.takeError();
    CheckResult ofSum; // its errors are those of the sum, not of the gradient
    if (oracle.compare(*sum, &*before, ofSum, reason)) {
      result.compared.add(ofSum.compared);
      return true;
    }
    reason = "added to a buffer: " + reason;
    return false;
  }

  GradientOracle &oracle;
  LayerRun &layer;
  const GradientCall &call;
  CheckResult &result;
  std::string &reason;
  std::string where; // the run at hand, for messages
  PageBuffer saved;
  size_t savedBytes = 0;
  std::unique_ptr<CallGradients> first;
};

} // namespace

Result<bool> verifyGradients(GradientOracle &oracle, LayerRun &layer, int threads, const PrepareThreads &prepare,
                             CheckResult &result, std::string &reason, std::unique_ptr<CallGradients> *first) {
  layer.setInputs(&oracle.call().inputs);
  GradientRun run(oracle, layer, result, reason);
  Result<bool> good = run.run(threads, prepare);
  if (first)
    *first = run.takeFirst();
  layer.setInputs(nullptr);
  return good;
}

} // namespace moec
