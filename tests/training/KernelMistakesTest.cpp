// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Mistakes planted into the kernels and the plan of a backward pass: what `moec verify --grad` compares must see each.

#include "tests/training/TrainedLayer.h"

#include "codegen/check/GradientRun.h"
#include "codegen/gradcheck/SpecGradients.h"
#include "runtime/plan/plan_view.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

using namespace moec;

namespace {

moec_kernel_fn original; // that a wrong one stands for
int64_t callsSoFar;

using Kernel = moec_kernel_fn;

void nothing(const moec_call *, void *const *, void *, int64_t, int64_t) {}
void ignoresAccumulate(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  moec_call other = *call;
  other.accumulate = 0;
  original(&other, args, scratch, first, last);
}
void alwaysAccumulates(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  moec_call other = *call;
  other.accumulate = 1;
  original(&other, args, scratch, first, last);
}
void alwaysF32(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  moec_call other = *call;
  other.gradient_dtype = MOEC_F32;
  original(&other, args, scratch, first, last);
}
void withoutTheLastUnit(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  original(call, args, scratch, first, last - 1);
}
void withoutTheFirstUnit(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  original(call, args, scratch, first + 1, last);
}
void ofTheUnitBefore(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  original(call, args, scratch, first > 0 ? first - 1 : first, first > 0 ? last - 1 : last);
}
void twice(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  original(call, args, scratch, first, last);
  original(call, args, scratch, first, last);
}
void withoutTheLastToken(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  moec_call other = *call;
  other.num_tokens = std::max<int64_t>(0, call->num_tokens - 1);
  other.num_rows = std::max<int64_t>(0, call->num_rows - 1);
  original(&other, args, scratch, first, last);
}
void sometimesNothing(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  if (++callsSoFar % 5)
    original(call, args, scratch, first, last);
}
template <int from>
void withTheNextArgument(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  void *others[MOEC_MAX_STEP_ARGS]; // as many as the runtime has room for
  std::memcpy(others, args, sizeof others);
  others[from] = args[from + 1];
  original(call, others, scratch, first, last);
}

struct KernelMistake {
  const char *name;
  int kind;
  Kernel wrong;
};

const KernelMistake kernelMistakes[] = {
    {"a row program that does nothing", MOEC_STEP_ROWS, nothing},
    {"a row program without its last row", MOEC_STEP_ROWS, withoutTheLastUnit},
    {"a row program without its first row", MOEC_STEP_ROWS, withoutTheFirstUnit},
    {"a row program of the row before", MOEC_STEP_ROWS, ofTheUnitBefore},
    {"a row program that sometimes does nothing", MOEC_STEP_ROWS, sometimesNothing},
    {"a matmul that does nothing", MOEC_STEP_MATMUL, nothing},
    {"a matmul without its last block", MOEC_STEP_MATMUL, withoutTheLastUnit},
    {"a matmul without its first block", MOEC_STEP_MATMUL, withoutTheFirstUnit},
    {"a matmul of the block before", MOEC_STEP_MATMUL, ofTheUnitBefore},
    {"an outer product that does nothing", MOEC_STEP_GROUPS, nothing},
    {"an outer product that forgets to add", MOEC_STEP_GROUPS, ignoresAccumulate},
    {"an outer product that always adds", MOEC_STEP_GROUPS, alwaysAccumulates},
    {"an outer product that always stores f32", MOEC_STEP_GROUPS, alwaysF32},
    {"an outer product without its last block", MOEC_STEP_GROUPS, withoutTheLastUnit},
    {"an outer product without its first block", MOEC_STEP_GROUPS, withoutTheFirstUnit},
    {"an outer product of another group", MOEC_STEP_GROUPS, ofTheUnitBefore},
    {"an outer product that adds twice", MOEC_STEP_GROUPS, twice},
    {"an outer product without the last token", MOEC_STEP_GROUPS, withoutTheLastToken},
    {"an outer product that sometimes does nothing", MOEC_STEP_GROUPS, sometimesNothing},
    {"an outer product of B and B", MOEC_STEP_GROUPS, withTheNextArgument<0>},
};

struct PlanMistake {
  const char *name;
  bool (*plant)(EditablePass &backward, moec_step &step); // false: does not apply
};

// Another buffer of the same size and type that was written before: a stale one.
bool staleBuffer(EditablePass &p, moec_step &step) {
  for (uint32_t i = 0; i < step.num_args; ++i) {
    uint16_t &arg = p.arg(step.first_arg + i);
    const moec_buffer &now = p.buffer(arg);
    if (now.kind != MOEC_BUFFER_WORKSPACE && now.kind != MOEC_BUFFER_INPUT)
      continue;
    for (uint16_t other = 0; other < p.header().buffers.count; ++other) {
      const moec_buffer &its = p.buffer(other);
      if (other != arg && its.kind == MOEC_BUFFER_INPUT && its.dtype == now.dtype && its.role != now.role &&
          its.bytes.per_token == now.bytes.per_token && its.bytes.fixed == now.bytes.fixed) {
        arg = other;
        return true;
      }
    }
  }
  return false;
}

// The gradient of another parameter of the same shape.
bool otherParameter(EditablePass &p, moec_step &step) {
  for (uint32_t i = 0; i < step.num_args; ++i) {
    moec_buffer &buffer = p.buffer(p.arg(step.first_arg + i));
    if (buffer.kind != MOEC_BUFFER_GRADIENT)
      continue;
    for (uint16_t b = 0; b < p.header().buffers.count; ++b) {
      moec_buffer &other = p.buffer(b);
      if (&other == &buffer || other.kind != MOEC_BUFFER_GRADIENT || other.route != buffer.route)
        continue;
      std::swap(other.slot, buffer.slot);
      return true;
    }
  }
  return false;
}

bool otherWeights(EditablePass &p, moec_step &step) {
  if (step.kind != MOEC_STEP_MATMUL)
    return false;
  moec_buffer &buffer = p.buffer(p.arg(step.first_arg + 1));
  for (uint32_t w = 0; w < p.header().weights.count; ++w)
    if (p.weight(w).offset != p.weight(buffer.slot).offset && p.weight(w).bytes == p.weight(buffer.slot).bytes &&
        p.weight(w).layout == p.weight(buffer.slot).layout) {
      buffer.slot = uint16_t(w);
      return true;
    }
  return false;
}

bool exchangedSteps(EditablePass &p, moec_step &step) {
  if (step.kind == MOEC_STEP_DISPATCH || (&step)[1].kind != step.kind || &step == &p.step(p.header().steps.count - 1))
    return false;
  std::swap(step, (&step)[1]);
  return true;
}

bool droppedStore(EditablePass &p, moec_step &step) {
  if (step.kind != MOEC_STEP_GRADIENT || &step == &p.step(p.header().steps.count - 1))
    return false;
  step = (&step)[1]; // the next one twice
  return step.kind == MOEC_STEP_GRADIENT;
}

bool sharedSlot(EditablePass &p, moec_step &step) {
  for (uint32_t i = 0; i < step.num_args; ++i) {
    moec_buffer &buffer = p.buffer(p.arg(step.first_arg + i));
    if (buffer.kind == MOEC_BUFFER_WORKSPACE && buffer.slot > 0) {
      buffer.slot = uint16_t(buffer.slot - 1);
      return true;
    }
  }
  return false;
}

const PlanMistake planMistakes[] = {
    {"a stale buffer", staleBuffer},
    {"the gradient of another parameter", otherParameter},
    {"weights of another role", otherWeights},
    {"two steps in the wrong order", exchangedSteps},
    {"a gradient that is not stored", droppedStore},
    {"a slot that is still in use", sharedSlot},
};

class Mistakes : public testing::Test {
protected:
  void SetUp() override {
    for (const std::string &more : {std::string(), std::string(R"(, "shared": {"intermediate": 12})")}) {
      std::string text = smallTrainedSpec(more, more.empty() ? "f32" : "bf16");
      trained.push_back(TrainedLayer::make(text));
      ASSERT_TRUE(trained.back());
      EditablePass &backward = *trained.back()->backward; // few tokens are several tasks, too
      for (size_t step = 0; step < backward.header().steps.count; ++step)
        if (backward.step(step).kind == MOEC_STEP_ROWS)
          backward.step(step).rows_per_task = 4;
      auto made = SpecGradients::make(trained.back()->spec, "", {});
      ASSERT_TRUE(made) << made.error().message;
      oracles.push_back(std::move(*made));
    }
  }

  // Whether the comparison finds the layer wrong, or the runtime refuses its plan.
  bool isSeen(size_t i, std::string &why) {
    LayerRun run(trained[i]->package());
    if (Result<> prepared = run.prepare(1, -1, &trained[i]->weights.tensors); !prepared) {
      why = prepared.error().message;
      return true;
    }
    Result<> drawn = oracles[i]->draw(trained[i]->weights.tensors, 1, 17);
    EXPECT_TRUE(drawn) << drawn.error().message;
    CheckResult result;
    callsSoFar = 0;
    Result<bool> good =
        verifyGradients(*oracles[i], run, 2, [&](int n) { return run.prepare(n, -1, nullptr); }, result, why);
    return !good || !*good;
  }

  std::vector<std::unique_ptr<TrainedLayer>> trained;
  std::vector<std::unique_ptr<SpecGradients>> oracles;
};

TEST_F(Mistakes, layers_without_one_pass) {
  std::string why;
  for (size_t i = 0; i < trained.size(); ++i)
    EXPECT_FALSE(isSeen(i, why)) << why;
}

TEST_F(Mistakes, each_in_a_kernel_is_seen) {
  for (const KernelMistake &mistake : kernelMistakes) {
    int planted = 0, seen = 0;
    for (size_t layer = 0; layer < trained.size() && !seen; ++layer) {
      EditablePass &pass = *trained[layer]->backward;
      std::vector<moec_kernel_fn> right = pass.functions;
      for (size_t s = 0; s < pass.header().steps.count && !seen; ++s) {
        const moec_step &step = pass.step(s);
        const moec_isa_variants &isa =
            step.isa[moec_cpu_isa() > int(Isa::Avx512Bf16) ? int(Isa::Avx512Bf16) : moec_cpu_isa()];
        if (step.kind != mistake.kind)
          continue;
        for (uint32_t variant = 0; variant < isa.num_variants && !seen;
             ++variant) { // some are for other numbers of rows
          original = right[isa.first_fn + variant];
          pass.functions[isa.first_fn + variant] = mistake.wrong;
          std::string why;
          ++planted;
          seen += isSeen(layer, why);
          pass.functions = right;
          pass.package.functions = pass.functions.data();
        }
      }
    }
    EXPECT_GT(planted, 0) << mistake.name;
    EXPECT_GT(seen, 0) << mistake.name << ", planted " << planted << " times";
  }
}

TEST_F(Mistakes, each_in_the_plan_is_seen) {
  for (const PlanMistake &mistake : planMistakes) {
    int planted = 0, seen = 0;
    for (size_t layer = 0; layer < trained.size() && !seen; ++layer) {
      size_t steps = trained[layer]->backward->header().steps.count;
      for (size_t s = 0; s < steps && !seen; ++s) {
        auto right = std::move(trained[layer]->backward);
        trained[layer]->backward = std::make_unique<EditablePass>(right->package);
        EditablePass &pass = *trained[layer]->backward;
        trained[layer]->forward->package.backward = &pass.package;
        if (mistake.plant(pass, pass.step(s))) {
          std::string why;
          ++planted;
          seen += isSeen(layer, why);
        }
        trained[layer]->backward = std::move(right);
        trained[layer]->forward->package.backward = &trained[layer]->backward->package;
      }
    }
    EXPECT_GT(planted, 0) << mistake.name;
    EXPECT_GT(seen, 0) << mistake.name << ", planted " << planted << " times";
  }
}

} // namespace
