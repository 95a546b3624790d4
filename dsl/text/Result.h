// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a function that can fail returns: its value, or the diagnostic that says why there is none.
//
//   Result<Schedule> parseSchedule(...);
//   Result<Schedule> schedule = parseSchedule(text);
//   if (!schedule)
//     return schedule.takeError();   // in a function that returns any Result
//   use(*schedule);
//
// Result<> is for functions that only succeed or fail; `return {};` is success. A function that goes on after an error
// and may find several takes a std::vector<Diagnostic> & and appends to it instead.
//
// It is a class of its own because std::expected needs C++23, and llvm::Expected LLVM, which dsl and codegen/check are
// built without. As with both, ignoring a Result is a warning, and reading the part that is not there is an error of
// the program (an assertion).

#ifndef MOEC_DSL_TEXT_RESULT_H
#define MOEC_DSL_TEXT_RESULT_H

#include "dsl/text/Diagnostic.h"

#include <cassert>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

namespace moec {

template <typename T = void> class [[nodiscard]] Result {
  static_assert(!std::is_same_v<std::decay_t<T>, Diagnostic>, "a diagnostic is the error of a Result");

public:
  Result(Diagnostic error) : state(std::in_place_index<1>, std::move(error)) {}
  // Anything that converts to a T: a pointer to a derived class, nullopt for an optional.
  template <typename U,
            typename = std::enable_if_t<std::is_convertible_v<U &&, T> && !std::is_same_v<std::decay_t<U>, Result> &&
                                        !std::is_same_v<std::decay_t<U>, Diagnostic>>>
  Result(U &&value) : state(std::in_place_index<0>, std::forward<U>(value)) {}

  explicit operator bool() const { return state.index() == 0; }

  T &operator*() & { return value(); }
  const T &operator*() const & { return value(); }
  T &&operator*() && { return std::move(value()); }
  T *operator->() { return &value(); }
  const T *operator->() const { return &value(); }

  const Diagnostic &error() const {
    assert(!*this && "the result has a value");
    return *std::get_if<1>(&state);
  }
  Diagnostic takeError() {
    assert(!*this && "the result has a value");
    return std::move(*std::get_if<1>(&state));
  }

private:
  T &value() {
    assert(*this && "the result has no value");
    return *std::get_if<0>(&state);
  }
  const T &value() const {
    assert(*this && "the result has no value");
    return *std::get_if<0>(&state);
  }
  std::variant<T, Diagnostic> state;
};

template <> class [[nodiscard]] Result<void> {
public:
  Result() = default;
  Result(Diagnostic error) : failure(std::move(error)) {}

  explicit operator bool() const { return !failure; }

  const Diagnostic &error() const {
    assert(failure && "there is no error");
    return *failure;
  }
  Diagnostic takeError() {
    assert(failure && "there is no error");
    return std::move(*failure);
  }

private:
  std::optional<Diagnostic> failure;
};

} // namespace moec

#endif
