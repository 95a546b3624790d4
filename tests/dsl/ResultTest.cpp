// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Result: a value or a diagnostic, moved through functions that return other Results.

#include "dsl/text/Result.h"

#include <gtest/gtest.h>
#include <memory>

using namespace moec;

namespace {

struct Base {
  virtual ~Base() = default;
  virtual int number() const { return 1; }
};
struct Derived : Base {
  int number() const override { return 2; }
};

Result<std::unique_ptr<Base>> make(bool good) {
  if (!good)
    return Diagnostic::error("E-FILE", "there is none", "make one");
  return std::make_unique<Derived>();
}

Result<int> numberOf(bool good) {
  Result<std::unique_ptr<Base>> made = make(good);
  if (!made)
    return made.takeError();
  return (*made)->number();
}

Result<> check(bool good) {
  if (Result<int> number = numberOf(good); !number)
    return number.takeError();
  return {};
}

} // namespace

TEST(Result, holds_a_value) {
  Result<int> number = numberOf(true);
  ASSERT_TRUE(number);
  EXPECT_EQ(*number, 2);
  EXPECT_TRUE(check(true));
}

TEST(Result, error_passes_through_results_of_other_types) {
  Result<> checked = check(false);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, "E-FILE");
  EXPECT_EQ(checked.error().message, "there is none");
  EXPECT_EQ(checked.takeError().hint, "make one");
}

TEST(Result, value_may_move_only) {
  Result<std::unique_ptr<Base>> made = make(true);
  ASSERT_TRUE(made);
  std::unique_ptr<Base> taken = std::move(*made);
  EXPECT_EQ(taken->number(), 2);
  EXPECT_EQ(*made, nullptr);
}

TEST(Result, empty_optional_is_a_value) {
  Result<std::optional<std::string>> none = std::nullopt;
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
  none = Diagnostic::error("E-FILE", "unreadable");
  EXPECT_FALSE(none);
  none = std::string("text");
  ASSERT_TRUE(none);
  EXPECT_EQ(**none, "text");
}
