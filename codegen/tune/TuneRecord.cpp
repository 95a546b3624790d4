// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Questions, stamps and the words of records.

#include "codegen/tune/TuneRecord.h"

#include "codegen/Machine.h"

#include "runtime/moec_abi.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringRef.h"

namespace moec {

bool TuneStage::sameShape(const TuneStage &other) const {
  return n == other.n && k == other.k && parts == other.parts && a == other.a && b == other.b && out == other.out &&
         gathered == other.gathered;
}

std::string shapeText(const TuneStage &s) {
  return std::to_string(s.n) + " x " + std::to_string(s.k) + " x " + std::to_string(s.parts) + ", " + s.a + " x " +
         s.b + " -> " + s.out + (s.gathered ? ", gathered" : "");
}

std::string classText(TuneClass rows) {
  return std::to_string(rows.first) + ".." + (rows.last < 0 ? "" : std::to_string(rows.last));
}

std::optional<TuneClass> classOfText(std::string_view text) {
  auto [first, last] = llvm::StringRef(text).split("..");
  TuneClass rows;
  auto number = [](llvm::StringRef digits, int64_t &out) {
    return !digits.empty() && digits.size() <= 9 && llvm::all_of(digits, llvm::isDigit) && digits[0] != '0' &&
           !digits.getAsInteger(10, out);
  };
  if (text.find("..") == std::string_view::npos || !number(first, rows.first) ||
      (!last.empty() && (!number(last, rows.last) || rows.last < rows.first)))
    return std::nullopt;
  return rows;
}

TuneStamp currentStamp(std::string moecVersion) {
  TuneStamp stamp;
  stamp.moec = std::move(moecVersion);
  stamp.abi = std::to_string(MOEC_ABI_MAJOR) + "." + std::to_string(MOEC_ABI_MINOR);
  stamp.timing = tuneTimingVersion;
  stamp.date = utcDate();
  return stamp;
}

std::string staleReason(const TuneStamp &stamp, const TuneStamp &now) {
  auto major = [](const TuneStamp &s) { return s.abi.substr(0, s.abi.find('.')); };
  if (major(stamp) != major(now))
    return "package ABI " + stamp.abi + ", this is " + now.abi;
  if (stamp.timing != now.timing)
    return "timing method " + std::to_string(stamp.timing) + ", this is " + std::to_string(now.timing);
  return "";
}

const char *tuneResultName(TuneResult result) {
  static const char *const names[] = {"ok", "wrong", "failed", "timeout"};
  return names[unsigned(result)];
}

std::string questionOf(const TuneRecord &record, bool withVersion) {
  const TuneStage &s = record.stage;
  std::string text;
  auto add = [&](const std::string &word) { text += word + "\n"; };
  auto number = [&](int64_t value) { add(std::to_string(value)); };
  // A choice among kernels that change bits does not answer for packages that may not.
  size_t numeric = record.candidate.rfind(" numeric ");
  add(record.kind == TuneRecord::Measurement ? record.candidate
      : numeric == std::string::npos         ? "choice"
                                             : "choice" + record.candidate.substr(numeric));
  if (record.kind == TuneRecord::Measurement)
    add(record.templateHash);
  add(s.spec);
  add(s.name);
  add(record.predicted ? "predicted" : "measured");
  add(shapeText(s));
  add(record.target);
  add(classText(record.rows));
  number(record.threads);
  add(record.routing);
  add(machineKey(record.machine, record.cuda()));
  add(record.stamp.abi.substr(0, record.stamp.abi.find('.')));
  number(record.stamp.timing);
  if (withVersion)
    add(record.stamp.moec);
  return text;
}

} // namespace moec
