// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The other tests of this folder can fail: wrong buffers and a shared output make the sanitizer stop inside a kernel.

#include "SanitizedLayer.h"

#include <thread>

// The options of tests/sanitize.sh, so that the program stops at the first report when it is run by hand as well.
extern "C" const char *__tsan_default_options() { return "halt_on_error=1"; }
extern "C" const char *__ubsan_default_options() { return "halt_on_error=1"; }

namespace moec {
namespace {

class SanitizerDeath : public testing::TestWithParam<SanitizedPackage> {
protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
  // A report whose frames name a kernel: the checks are those of generated code, not of the runtime.
  std::string insideKernel(const char *report) const {
    return std::string(report) + ".*#[01] .*moec_" + GetParam().name + "__[0-9]";
  }
};
INSTANTIATE_TEST_SUITE_P(Sanitized, SanitizerDeath, testing::ValuesIn(sanitizedPackages()), packageTestName);

#ifdef MOEC_SANITIZER_address

const char *overflow = "AddressSanitizer: heap-buffer-overflow";
const char *poison = "AddressSanitizer: use-after-poison";

TEST_P(SanitizerDeath, y_one_element_short_is_caught) {
  auto layer = SanitizedLayer::make(GetParam(), 1);
  ASSERT_TRUE(layer);
  Shortage shortage;
  shortage.y = layer->spec.dtype.output == DataType::BF16 ? 2 : 4;
  EXPECT_DEATH(layer->run(layer->randomX(5), Place::Heap, shortage), insideKernel(overflow));
}

TEST_P(SanitizerDeath, x_one_element_short_is_caught) {
  auto layer = SanitizedLayer::make(GetParam(), 1);
  ASSERT_TRUE(layer);
  Shortage shortage;
  shortage.x = layer->spec.dtype.activation == DataType::BF16 ? 2 : 4;
  EXPECT_DEATH(layer->run(layer->randomX(5), Place::Heap, shortage), insideKernel(overflow));
}

TEST_P(SanitizerDeath, workspace_bytes_forbidden_are_caught) {
  auto layer = SanitizedLayer::make(GetParam(), 1);
  ASSERT_TRUE(layer);
  Shortage shortage;
  shortage.poisoned = 64;
  EXPECT_DEATH(layer->run(layer->randomX(5), Place::Heap, shortage), insideKernel(poison));
}

#else

// y is written by kernels only, so that the report shows that their writes are seen.
TEST_P(SanitizerDeath, y_shared_by_two_callers_is_a_race) {
  auto layer = SanitizedLayer::make(GetParam(), 1);
  ASSERT_TRUE(layer);
  std::vector<float> x = layer->randomX(33);
  ExactBuffer y(layer->yBytes(33), 16);
  auto twoCallers = [&] {
    std::thread callers[2];
    for (std::thread &caller : callers)
      caller = std::thread([&] { layer->runInto(x, y.data()); });
    for (std::thread &caller : callers)
      caller.join();
    std::_Exit(0);
  };
  EXPECT_EXIT(twoCallers(), testing::ExitedWithCode(66), insideKernel("ThreadSanitizer: data race"));
}

#endif

} // namespace
} // namespace moec
