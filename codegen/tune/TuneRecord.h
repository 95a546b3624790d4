// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// TuneRecord: what one measurement of a kernel found, or what was chosen after all of them, as one line of JSON.
//
//   {"schema": "moec.tune/1", "kind": "measurement",
//    "stage": {"spec": 64 hex digits, "layer": "tiny", "name": "experts_down",
//              "n": 2048, "k": 768, "parts": 1, "a": "bf16", "b": "bf16", "out": "bf16", "gathered": false},
//    "target": "cpu:avx512", "class": "9..12", "threads": 1, "routing": "uniform",
//    "machine": {"cpu": {"vendor", "family", "model", "stepping", "name", "isas": ["baseline", "avx2", "avx512"]},
//                "gpu": {"name", "capability", "multiprocessors", "driver"}},
//    "default": "panel { block_m = 12, ... } numeric fma", "candidate": "panel { block_m = 6, ... } numeric fma",
//    "result": "ok" | "wrong" | "failed" | "timeout", "detail": where it is wrong or why it failed,
//    "times": {"default_us": [median, low, high], "candidate_us": [median, low, high], "pairs": 11, "wins": 11,
//              "gain": [0.061, 0.054, 0.068], "flops": 37748736, "bytes": 3145728},
//    "stamp": {"moec": "0.1.0", "abi": "1.0", "timing": 1, "date": "2026-11-27T10:00:00Z"}}
//
// "template": 64 hex digits is the SHA-256 of the kernel's template if that is a file of --templates. Without it the
// template is the built-in one of the version that measured, stamp.moec. "share": 0.31 is the class's share of the
// stage's work in the calls that were tuned for, "unfinished": true a choice among the candidates that the budget
// reached. "predicted": true marks times of a model of the machine, which is then
// not necessarily there. A choice has "kind": "choice" and, instead of candidate and result, "choice": "default" or the
// text of a kernel; its times are the proof: of the chosen kernel, or of the best rival if the default stayed. It may
// have
//
//   "duels": [{"first": kernel, "second": kernel, "pairs", "wins", "gain": [of the second over the first, low, high]}]
//
// in the order in which they were decided; the winner of the last is the choice. Kernels are entries of a schedule
// without their rows (TuneCandidate.h). Reading is strict about these members and ignores others, which a later version
// may have added.

#ifndef MOEC_CODEGEN_TUNE_TUNERECORD_H
#define MOEC_CODEGEN_TUNE_TUNERECORD_H

#include "codegen/tune/TuneMachine.h"

#include "dsl/text/Result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace moec {

// A matmul stage. spec, layer and name say where it was measured; the others decide where else the record can be used.
struct TuneStage {
  std::string spec, layer, name;   // "": unknown; a record has all three
  int64_t n = 0, k = 0, parts = 1; // columns of a part, depth, matrices of B
  std::string a, b, out;           // element types: "bf16"
  bool gathered = false;           // rows of A through row_token

  bool sameShape(const TuneStage &other) const;
};

// Rows of a block (CPU) or tokens of a call (CUDA), inclusive; last -1: open end.
struct TuneClass {
  int64_t first = 1, last = -1;

  bool has(int64_t rows) const { return rows >= first && (last < 0 || rows <= last); }
  bool operator==(const TuneClass &other) const { return first == other.first && last == other.last; }
};
// "2048 x 768 x 1, bf16 x bf16 -> bf16, gathered": n, k, parts and types. Equal exactly if sameShape is true.
std::string shapeText(const TuneStage &stage);
std::string classText(TuneClass rows);                       // "9..12", "65.."
std::optional<TuneClass> classOfText(std::string_view text); // the reverse

struct TuneSpan {
  double median = 0, low = 0, high = 0; // microseconds
};

struct TuneTimes {
  TuneSpan standard, candidate;               // of the default and of the candidate, measured in alternation
  int64_t pairs = 0, wins = 0;                // rounds, and those in which the candidate was faster
  double gain = 0, gainLow = 0, gainHigh = 0; // default / candidate - 1, with its confidence interval
  int64_t flops = 0, bytes = 0;               // of one run
};

// Two candidates measured in alternation with each other.
struct TuneDuel {
  std::string first, second;                  // texts of kernels
  int64_t pairs = 0, wins = 0;                // rounds, and those in which the second was faster
  double gain = 0, gainLow = 0, gainHigh = 0; // first / second - 1, with its confidence interval
};

struct TuneStamp {
  std::string moec;   // "0.1.0"
  std::string abi;    // "1.0"
  int64_t timing = 0; // version of the way times are taken
  std::string date;   // UTC: "2026-11-27T10:00:00Z"
};

// Raise it when times of the new way cannot be compared with those of the old one.
constexpr int64_t tuneTimingVersion = 1;
// Of this program, now.
TuneStamp currentStamp(std::string moecVersion);
// Why a record with this stamp is stale for `now`; empty: it is not. Another major version of the ABI and another way
// to take times make it stale. Another version of moec does not, because every entry is checked again before it is
// used.
std::string staleReason(const TuneStamp &stamp, const TuneStamp &now);

enum class TuneResult { Ok, Wrong, Failed, Timeout };
const char *tuneResultName(TuneResult result); // "ok"

struct TuneRecord {
  enum Kind { Measurement, Choice };
  Kind kind = Measurement;
  TuneStage stage;
  std::string target; // as --target takes it: "cpu:avx512", "cuda:sm_90a"
  TuneClass rows;
  int64_t threads = 1;
  std::string routing = "uniform"; // "uniform", "zipf", "one-hot", "histogram:HASH"
  TuneMachine machine;
  std::string standard;  // text of the default kernel that was measured beside the candidate
  std::string candidate; // text of the candidate, or of what was chosen
  TuneResult result = TuneResult::Ok;
  std::string templateHash;       // of the candidate's template, 64 hex digits; empty: built in
  std::string detail;             // wrong: where; failed: why
  std::optional<TuneTimes> times; // present if the result is ok
  std::vector<TuneDuel> duels;    // of a choice: between finalists whose order the default left open
  bool predicted = false;         // the times are a model's
  double share = 0;               // of the stage's work in the calls that were tuned for; 0: unknown
  bool unfinished = false;        // a choice that was made when the budget had ended before the search
  TuneStamp stamp;

  bool cuda() const { return target.compare(0, 5, "cuda:") == 0; }
  bool keepsDefault() const { return kind == Choice && candidate == standard; }
};

// Equal for two records that answer the same question on the same machine: a later measurement of the same candidate,
// or a later choice for the same class. A kernel whose template has changed is another candidate. With the version of
// moec, it tells what `tune` need not measure again.
std::string questionOf(const TuneRecord &record, bool withVersion);

constexpr size_t maxTuneLineBytes = 16384;

// One line without its end. Numbers have six digits; detail is cut after 1000 bytes.
std::string printTuneRecord(const TuneRecord &record);

// Reads a line without its end, which may hold anything. The error, "E-TUNE" with a column but no line or file, says
// what was found and what was expected.
Result<TuneRecord> parseTuneRecord(std::string_view line);

} // namespace moec

#endif
