// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// result.hpp - a status of moec.h in -> a value or an Error with its text.
#ifndef MOEC_RESULT_HPP
#define MOEC_RESULT_HPP

#include <moec.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <utility>
#include <variant>

namespace moec {
inline namespace v0 {

struct Error {
  moec_status status = MOEC_OK;
  std::string text;
  std::string message() const { return std::string(moec_status_name(status)) + ": " + text; }
};

// The calling thread's last error of the C API.
inline Error last_error(moec_status status) {
  std::string text(moec_last_error(nullptr, 0) + 1, '\0');
  moec_last_error(&text[0], text.size());
  text.pop_back();
  return {status, std::move(text)};
}

[[noreturn]] inline void stop_for(const Error &error) {
  std::fprintf(stderr, "moec: %s\n", error.message().c_str());
  std::abort();
}

// A T, or why there is none.
template <class T> class [[nodiscard]] Result {
public:
  Result(T value) : state(std::move(value)) {}
  Result(Error error) : state(std::move(error)) {}
  bool ok() const { return std::holds_alternative<T>(state); }
  explicit operator bool() const { return ok(); }
  // MOEC_OK and no text if the result is ok.
  const Error &error() const {
    static const Error none;
    const Error *found = std::get_if<Error>(&state);
    return found ? *found : none;
  }
  T &value() & { return *checked(); }
  T &&value() && { return std::move(*checked()); }
  T &operator*() & { return *checked(); }
  T &&operator*() && { return std::move(*checked()); }
  T *operator->() { return checked(); }

private:
  T *checked() {
    if (!ok())
      stop_for(error());
    return std::get_if<T>(&state);
  }
  std::variant<T, Error> state;
};

template <> class [[nodiscard]] Result<void> {
public:
  Result() = default;
  Result(Error error) : failure(std::move(error)), failed(true) {}
  bool ok() const { return !failed; }
  explicit operator bool() const { return ok(); }
  const Error &error() const { return failure; }
  void value() const {
    if (failed)
      stop_for(failure);
  }

private:
  Error failure;
  bool failed = false;
};

#if defined(__cpp_exceptions)
class Exception : public std::exception {
public:
  explicit Exception(Error reason) : error(std::move(reason)), text(error.message()) {}
  const char *what() const noexcept override { return text.c_str(); }
  const Error error;

private:
  std::string text;
};

template <class T> T or_throw(Result<T> result) {
  if (!result)
    throw Exception(result.error());
  return std::move(result).value();
}
inline void or_throw(Result<void> result) {
  if (!result)
    throw Exception(result.error());
}
#endif

} // namespace v0
} // namespace moec
#endif
