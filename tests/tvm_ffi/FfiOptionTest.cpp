// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Options before the first call, one test because a process has one first call.

#include "FfiCall.h"

#include <gtest/gtest.h>

using namespace moec::test;

TEST(FfiOption, options_hold_until_the_first_call) {
  auto set = [](const char *name, moec_ffi_value value) { return refusal(__tvm_ffi_options, {valueOf(name), value}); };
  EXPECT_EQ(set("colour", valueOf(int64_t(1))),
            "ValueError: options: \"colour\" is not an option, expected threads, spin_us, when_busy or cuda_driver");
  EXPECT_EQ(set("threads", valueOf("two")), "TypeError: options: argument 2 is a string, expected an integer");
  EXPECT_EQ(refusal(__tvm_ffi_options, {valueOf(int64_t(2)), valueOf(int64_t(2))}),
            "TypeError: options: argument 1 is the number 2, expected a name");
  EXPECT_EQ(refusal(__tvm_ffi_options, {valueOf("threads")}),
            "ValueError: options: 1 arguments, expected a name before each value");
  EXPECT_EQ(set("threads", valueOf(int64_t(-1))).find("ValueError: options: options: threads is -1, expected 0 to "),
            0u);
  EXPECT_EQ(set("threads", valueOf(int64_t(1) << 40)),
            "ValueError: options: threads is 1099511627776, out of the range of an option");
  EXPECT_EQ(set("when_busy", valueOf(int64_t(7))),
            "ValueError: options: options: when_busy is 7, expected 0 (alone) or 1 (wait)");
  EXPECT_EQ(
      refusal(__tvm_ffi_options, {valueOf("threads"), valueOf(int64_t(3)), valueOf("spin_us"), valueOf(int64_t(-1))}),
      "");
  EXPECT_NE(textOf(callFfi(__tvm_ffi_info, {})).find("\"threads\": 3"), std::string::npos);
  EXPECT_EQ(set("threads", valueOf(int64_t(1))),
            "RuntimeError: options: the layer on cpu exists already; set options before the first call");
  // of CUDA layers, and there is none yet
  EXPECT_EQ(set("cuda_driver", valueOf(int64_t(0))), "");
}
