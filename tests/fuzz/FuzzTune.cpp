// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lines of a tuning file -> readTuneText and parseTuneRecord. A record that is read is printed, read again and printed
// the same; a line that is not one is complained of.

#include "FuzzTarget.h"

#include "codegen/tune/TuneRecord.h"
#include "codegen/tune/TuneStore.h"

using namespace moec;
using namespace moec::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string text = textOf(data, size);
  TuneFile file = readTuneText(text, "t.jsonl");
  for (const Diagnostic &complaint : file.complaints)
    requirePrintable(complaint.message, "a complaint is printable");
  for (const StoredRecord &stored : file.records) {
    std::string printed = printTuneRecord(stored.record);
    Result<TuneRecord> second = parseTuneRecord(printed);
    require(bool(second), "a printed record is read", printed + (second ? "" : second.error().message));
    require(printTuneRecord(*second) == printed, "a printed record is printed unchanged", printed);
  }
  return 0;
}
