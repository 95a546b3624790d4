// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A template's parameter block and a binding in -> the value every parameter will have, or what is wrong with it.

#ifndef MOEC_CODEGEN_SCHEDULE_TEMPLATEVALUES_H
#define MOEC_CODEGEN_SCHEDULE_TEMPLATEVALUES_H

#include "codegen/tile/Instantiate.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <map>
#include <string>

namespace moec {

constexpr int64_t maxScheduleInteger = 1000000;

// Where a parameter gets its value: only Integer and Word parameters can be set by a schedule.
enum class ParameterKind { Integer, Word, Derived, Stage };
ParameterKind parameterKind(const TemplateParameter &parameter);
// The default of an Integer parameter (false: the template's text holds no 64-bit integer) and of a Word parameter.
bool defaultInteger(const TemplateParameter &parameter, int64_t &out);
std::string defaultWord(const TemplateParameter &parameter);

// {none, t0, t1, nta}
bool isHintWord(llvm::StringRef word);

// What formulas of a template may name of the stage.
struct StageShape {
  int64_t n = 0, k = 0, parts = 1;
};

// Integers and derived parameters by name, and n, k, parts. False when the template does not exist, lacks one of the
// integers `required`, when something is set that cannot be, or a value is outside 1..1,000,000 or the allowed set of
// its comment: `{a, b}`, `{a .. b}` or `multiple of name`; `error` is a sentence without a place then.
bool bindTemplateValues(const TemplateBinding &kernel, const StageShape &shape,
                        llvm::ArrayRef<llvm::StringRef> required, llvm::StringRef templatesDir,
                        std::map<std::string, int64_t> &out, std::string &error);

} // namespace moec

#endif
