// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A measured number -> text. NaN is a number that was not measured.

#ifndef MOEC_CODEGEN_BENCH_FIGURETEXT_H
#define MOEC_CODEGEN_BENCH_FIGURETEXT_H

#include "dsl/text/JsonWriter.h"

#include <string>
#include <string_view>

namespace moec {

// "key": value with six digits, as many as a measurement has; null for NaN.
void writeNumber(JsonWriter &os, std::string_view key, double value);

// `value` with `digits` digits behind the point and `unit` behind it; "-" for NaN.
std::string fixedText(double value, int digits, const char *unit = "");

// What printf writes.
[[gnu::format(printf, 1, 2)]] std::string formatted(const char *form, ...);

// Six digits, as %.6g writes them; empty for NaN.
std::string csvText(double value);

} // namespace moec

#endif
