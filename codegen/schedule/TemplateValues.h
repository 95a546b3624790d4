// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A template's parameter block and a binding in -> the value of every parameter, or an error.

#ifndef MOEC_CODEGEN_SCHEDULE_TEMPLATEVALUES_H
#define MOEC_CODEGEN_SCHEDULE_TEMPLATEVALUES_H

#include "codegen/tile/Instantiate.h"
#include "codegen/tile/MatmulStage.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <map>
#include <string>

namespace moec {

constexpr int64_t maxScheduleInteger = 1000000;

// The source of a parameter's value. A schedule can set only Integer and Word parameters.
enum class ParameterKind { Integer, Word, Derived, Stage };
ParameterKind parameterKind(const TemplateParameter &parameter);
// The default of an Integer parameter (false: the template's text holds no 64-bit integer) and of a Word parameter.
bool defaultInteger(const TemplateParameter &parameter, int64_t &out);
std::string defaultWord(const TemplateParameter &parameter);

// {none, t0, t1, nta}
bool isHintWord(llvm::StringRef word);

// Integers and derived parameters by name, and n, k, parts of the stage, which formulas may use. An error: the template
// does not exist or lacks one of the integers `required`, the binding sets a parameter that cannot be set, or a value
// is outside 1..1,000,000 or the allowed set of its comment (`{a, b}`, `{a .. b}` or `multiple of name`).
Result<std::map<std::string, int64_t>> bindTemplateValues(const TemplateBinding &kernel, const MatmulStage &stage,
                                                          llvm::ArrayRef<llvm::StringRef> required,
                                                          llvm::StringRef templatesDir);

} // namespace moec

#endif
