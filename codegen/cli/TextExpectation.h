// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A layer of the dialect interpreted exactly and with the errors that a kernel may make -> whether a call's outputs
// agree. Limits follow from the layer itself, as they do for specs (check/RowSpread.h).
//
// A token is doubtful if its choices were closer than 1e-5 (behind a rounding to bf16 or f16: 1e-2) or an erring run
// made others; where tokens depend on each
// other, one close choice makes all of them doubtful. A doubtful token that differs is tied, any other is wrong.

#ifndef MOEC_CODEGEN_CLI_TEXTEXPECTATION_H
#define MOEC_CODEGEN_CLI_TEXTEXPECTATION_H

#include "TextLayer.h"

#include "codegen/check/OracleCheck.h"
#include "codegen/check/RowSpread.h"
#include "codegen/interpret/Interpreter.h"

#include "llvm/ADT/STLFunctionalExtras.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

class TextExpectation {
public:
  // Interprets the call with these errors (null: none). False: `reason`.
  using Interpret =
      llvm::function_ref<bool(ReferenceRounding *errors, interpret::CallResults &out, std::string &reason)>;

  // `tokens` of a call, in the order of the interpreter's rows. `tf32`: errors include those of tf32.
  TextExpectation(const TextLayer &text, std::vector<int64_t> tokens) : text(text), tokens(std::move(tokens)) {}
  bool make(bool tf32, Interpret interpret, std::string &reason);

  // The rows of `tokens`, and numbers of the whole call if they are all of it. False: `reason`.
  bool compare(const CallOutputs &out, OracleResult &result, std::string &reason) const;

private:
  using Doubles = std::vector<double>;
  std::map<std::string, Doubles> byRole(const interpret::CallResults &results) const;
  int64_t columnsOf(const Doubles &rows) const { return int64_t(rows.size() / tokens.size()); }
  const Doubles &of(const std::string &role) const;
  const RowSlack &slackOf(const std::string &role) const { return slack.at(role); }
  bool compareRowsOf(const std::vector<int64_t> &rows, const CallOutputs &out, OracleResult &result,
                     std::string &reason) const;
  bool compareTotals(const CallOutputs &out, std::string &reason) const;
  bool hasAll(const CallOutputs &out, std::string &reason) const; // of the outputs that the call asked for

  const TextLayer &text;
  std::vector<int64_t> tokens;
  std::map<std::string, Doubles> want;    // results by role
  std::map<std::string, RowSlack> slack;  // of results with rows
  std::map<std::string, Doubles> changes; // of results of the whole call: twice the largest that a run made
  Doubles counts;                         // rows of the experts
  std::vector<uint8_t> doubtful;          // [tokens]
};

} // namespace moec

#endif
