// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The elementary functions and conversions of generated code, compiled alone for each instruction set and measured
// against the C library's float64 over samples of all floats. Bounds are those that ExpandMath.cpp documents.

#include "CompiledLayer.h"

#include "codegen/emit/ObjectEmitter.h"
#include "codegen/emulate/LoadedPackage.h"
#include "codegen/lower/KernelFunction.h"
#include "codegen/pipeline/KernelContext.h"
#include "runtime/weights/float_convert.h"

#include <cmath>
#include <functional>
#include <limits>

using namespace mlir;

namespace moec {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

// body(e, x) on f32 values, compiled as out[i] = body(in[i]) in vectors and once more in scalars.
class CompiledFunction {
public:
  using Body = std::function<Value(Emitter &, Value)>;

  CompiledFunction(const IsaFacts &isa, const Body &body) : lanes(isa.lanes) {
    prepareKernelContext(context);
    OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
    build(*module, isa, body, lanes, "moec_math__vector");
    build(*module, isa, body, 0, "moec_math__scalar");
    CompiledPackage package;
    package.name = "math";
    package.objects.resize(2);
    package.objects[0].name = "math.o";
    package.objects[1].name = "plan.o";
    Result<> linked = link(*module, isa, package);
    EXPECT_TRUE(linked) << linked.error().message;
  }

  // in.size() must be a multiple of the lanes. `out` holds one result per value, f32 or bf16.
  void run(bool scalar, const std::vector<float> &in, void *out) {
    void *args[2] = {const_cast<float *>(in.data()), out};
    loaded->get()->functions[scalar](nullptr, args, nullptr, 0, int64_t(in.size()));
  }

private:
  Result<> link(ModuleOp module, const IsaFacts &isa, CompiledPackage &package) {
    if (Result<> lowered = lowerToLlvmDialect(module); !lowered)
      return lowered;
    Result<Bytes> code = emitModule(module, isa, EmitForm::Object, Sanitizer::None);
    if (!code)
      return code.takeError();
    Result<Bytes> plan =
        emitPlanObject({"math", std::vector<char>(64), {"moec_math__vector", "moec_math__scalar"}, {}, {}});
    if (!plan)
      return plan.takeError();
    package.objects[0].bytes = std::move(*code);
    package.objects[1].bytes = std::move(*plan);
    auto linked = LoadedPackage::load(package);
    if (!linked)
      return linked.takeError();
    loaded = std::move(*linked);
    return {};
  }

  static void build(ModuleOp module, const IsaFacts &isa, const Body &body, int64_t lanes, const char *symbol) {
    Emitter e(OpBuilder(module.getContext()), module.getLoc(), isa);
    KernelFunction shell(e, module, symbol);
    ColumnsArgs<Value> buffers = shell.bind(e, ColumnsArgs<Value>());
    Value in = buffers.values, out = buffers.out;
    e.loop(shell.first, shell.last, std::max<int64_t>(lanes, 1), [&](Value i) {
      Value x = e.load(lanes ? Type(e.vecF32()) : e.f32(), e.at(in, e.mul(i, 4)), 4);
      Value y = body(e, x);
      Type element = getElementTypeOrSelf(y.getType());
      e.store(y, e.at(out, e.mul(i, element.isBF16() ? 2 : 4)), element.isBF16() ? 2 : 4);
    });
    shell.finish(e);
  }

  int64_t lanes;
  MLIRContext context{MLIRContext::Threading::DISABLED};
  std::unique_ptr<LoadedPackage> loaded;
};

// Error allowed where lo <= x <= hi: ulp of the result, or absolute.
struct Function {
  const char *name;
  CompiledFunction::Body body;
  double (*exact)(double);
  float lo, hi;          // useful range, inclusive
  double maxUlp, maxAbs; // either suffices
};

template <class Op> Value unary(Emitter &e, Value x) { return Op::create(e.b, e.loc, x); }

const Function functions[] = {
    {"exp", unary<math::ExpOp>, std::exp, -87.3f, 88.7f, 1.5, 0},
    {"expm1", unary<math::ExpM1Op>, std::expm1, -inf, 88.7f, 4, 0},
    {"tanh", unary<math::TanhOp>, std::tanh, -inf, inf, 6, 0},
    {"erf", unary<math::ErfOp>, std::erf, -inf, inf, 0, 7e-7},
    {"log", unary<math::LogOp>, std::log, 0, std::numeric_limits<float>::max(), 2, 0},
    {"log1p", unary<math::Log1pOp>, std::log1p, -0.99999994f, std::numeric_limits<float>::max(), 4, 0},
};

double ulpOf(double value) {
  float v = std::abs(float(value));
  if (v < std::numeric_limits<float>::min())
    return std::ldexp(1.0, -149);
  return std::ldexp(1.0, std::ilogb(v) - 23);
}

struct Error {
  double ulp = 0, abs = 0;
  float ulpAt = 0, absAt = 0;
};

// Largest error over every `stride`-th float of the range.
Error measure(const Function &function, CompiledFunction &compiled, bool scalar, uint32_t stride) {
  Error worst;
  std::vector<float> in, out;
  auto flush = [&] {
    in.resize((in.size() + 15) / 16 * 16, 1.0f);
    out.assign(in.size(), 0);
    compiled.run(scalar, in, out.data());
    for (size_t i = 0; i < in.size(); ++i) {
      double exact = function.exact(in[i]), off = std::abs(out[i] - exact), ulp = off / ulpOf(exact);
      if (std::isinf(exact) && double(out[i]) == exact)
        continue;
      if (!(off <= worst.abs))
        worst.abs = off, worst.absAt = in[i];
      if (!(ulp <= worst.ulp))
        worst.ulp = ulp, worst.ulpAt = in[i];
    }
    in.clear();
  };
  for (uint64_t bits = 0; bits < (uint64_t(1) << 32); bits += stride) {
    float x = moec_f32_of_bits(uint32_t(bits));
    if (x >= function.lo && x <= function.hi)
      in.push_back(x);
    if (in.size() == 4096)
      flush();
  }
  flush();
  return worst;
}

class MathFunctions : public testing::TestWithParam<CpuTarget> {
protected:
  void SetUp() override {
    if (!machineRuns(GetParam()))
      GTEST_SKIP() << "this machine has no " << GetParam().name;
  }
};
// AMX uses the functions of avx512
INSTANTIATE_TEST_SUITE_P(Cpu, MathFunctions, testing::ValuesIn(cpuTargets().begin(), cpuTargets().end() - 1),
                         targetTestName);

TEST_P(MathFunctions, error_bounds_hold_over_all_floats) {
  for (const Function &function : functions) {
    CompiledFunction compiled(isaFacts(GetParam().isa), function.body);
    for (bool scalar : {false, true}) {
      Error error = measure(function, compiled, scalar, scalar ? 6007 : 601);
      RecordProperty(std::string(function.name) + (scalar ? "_scalar" : "_vector"), std::to_string(error.ulp));
      EXPECT_TRUE(error.ulp <= function.maxUlp || error.abs <= function.maxAbs)
          << function.name << (scalar ? " scalar: " : " vector: ") << error.ulp << " ulp at " << error.ulpAt << ", "
          << error.abs << " absolute at " << error.absAt;
    }
  }
}

// in -> exact result bits; NaN stands for any NaN
struct Special {
  const char *name;
  std::vector<std::pair<float, float>> values;
};

TEST_P(MathFunctions, special_values_are_exact) {
  const float denormal = 1e-40f;
  const Special specials[] = {
      {"exp",
       {{nan, nan},
        {inf, inf},
        {-inf, 0.0f},
        {0.0f, 1.0f},
        {-0.0f, 1.0f},
        {89.5f, inf},
        {1e30f, inf},
        {-110.0f, 0.0f},
        {-1e30f, 0.0f},
        {denormal, 1.0f}}},
      {"expm1",
       {{nan, nan}, {inf, inf}, {-inf, -1.0f}, {0.0f, 0.0f}, {-0.0f, -0.0f}, {denormal, denormal}, {100.0f, inf}}},
      {"tanh",
       {{nan, nan}, {inf, 1.0f}, {-inf, -1.0f}, {0.0f, 0.0f}, {-0.0f, -0.0f}, {denormal, denormal}, {50.0f, 1.0f}}},
      {"erf", {{nan, nan}, {inf, 1.0f}, {-inf, -1.0f}, {10.0f, 1.0f}, {-10.0f, -1.0f}}},
      {"log",
       {{nan, nan},
        {inf, inf},
        {0.0f, -inf},
        {-0.0f, -inf},
        {-1.0f, nan},
        {-inf, nan},
        {-denormal, nan},
        {1.0f, 0.0f}}},
      {"log1p",
       {{nan, nan}, {inf, inf}, {0.0f, 0.0f}, {-0.0f, -0.0f}, {-1.0f, -inf}, {-2.0f, nan}, {denormal, denormal}}},
  };
  for (size_t f = 0; f < std::size(functions); ++f) {
    ASSERT_STREQ(functions[f].name, specials[f].name);
    CompiledFunction compiled(isaFacts(GetParam().isa), functions[f].body);
    std::vector<float> in(16, 1.0f), out(16);
    for (size_t i = 0; i < specials[f].values.size(); ++i)
      in[i] = specials[f].values[i].first;
    for (bool scalar : {false, true}) {
      compiled.run(scalar, in, out.data());
      for (size_t i = 0; i < specials[f].values.size(); ++i) {
        float wanted = specials[f].values[i].second;
        bool same = std::isnan(wanted) ? std::isnan(out[i]) : moec_bits_of_f32(wanted) == moec_bits_of_f32(out[i]);
        EXPECT_TRUE(same) << specials[f].name << "(" << in[i] << ") = " << out[i] << ", expected " << wanted;
      }
    }
  }
}

// Every stride-th of all floats, and the edges; `flushes`: the instruction takes denormals as zero.
void checkToBf16(const IsaFacts &isa, bool scalar, bool flushes) {
  CompiledFunction compiled(isa, [](Emitter &e, Value x) { return e.toBf16(x); });
  std::vector<float> in;
  std::vector<uint16_t> out;
  uint64_t bits = 0;
  auto next = [&] { return moec_f32_of_bits(uint32_t((bits += scalar ? 10007 : 251))); };
  while (bits < (uint64_t(1) << 32) - 65536 * 251) {
    in.clear();
    for (uint32_t edge :
         {0u, 0x80000000u, 0x7f800000u, 0xff800000u, 0x7f800001u, 0xffffffffu, 0x7f7fffffu, 0x00008000u, 0x3f808000u,
          0x3f818000u, 0x3f807fffu, 0x3f808001u, 1u, 0x807fffffu, 0x7fc00000u, 0x7f808000u})
      in.push_back(moec_f32_of_bits(edge));
    while (in.size() < 65536)
      in.push_back(next());
    out.assign(in.size(), 0);
    compiled.run(scalar, in, out.data());
    for (size_t i = 0; i < in.size(); ++i) {
      uint32_t raw = moec_bits_of_f32(in[i]);
      uint16_t wanted = moec_bf16_of_f32(in[i]);
      if (flushes && (raw & 0x7f800000u) == 0)
        wanted &= 0x8000u;
      ASSERT_EQ(out[i], wanted) << "of bits " << std::hex << raw;
    }
  }
}

TEST_P(MathFunctions, bf16_rounds_to_nearest_even) {
  // vcvtneps2bf16 takes denormals as zero; nothing else differs.
  checkToBf16(isaFacts(GetParam().isa), false, isaFacts(GetParam().isa).bf16Dot);
  checkToBf16(isaFacts(GetParam().isa), true, false);
}

TEST_P(MathFunctions, bf16_widening_is_exact) {
  CompiledFunction compiled(isaFacts(GetParam().isa), [](Emitter &e, Value x) { return e.fromBf16(e.toBf16(x)); });
  std::vector<float> in, out(65536);
  for (uint32_t half = 0; half < 65536; ++half)
    in.push_back(moec_f32_of_bf16(uint16_t(half)));
  for (bool scalar : {false, true}) {
    compiled.run(scalar, in, out.data());
    for (uint32_t half = 0; half < 65536; ++half) {
      bool isNan = (half & 0x7fff) > 0x7f80;
      if (!scalar && isaFacts(GetParam().isa).bf16Dot && !(half & 0x7f80)) { // vcvtneps2bf16 flushes
        ASSERT_EQ(moec_bits_of_f32(out[half]), half << 16 & 0x80000000u) << half;
        continue;
      }
      ASSERT_EQ(moec_bits_of_f32(out[half]), half << 16 | (isNan ? 0x400000u : 0u)) << half;
    }
  }
}

} // namespace
} // namespace moec
