// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of a schedule -> parseSchedule. What is read is printed, read again and printed the same.

#include "FuzzTarget.h"

#include "codegen/schedule/CudaSchedule.h"
#include "codegen/schedule/Schedule.h"

using namespace moec;
using namespace moec::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string text = textOf(data, size);
  Result<Schedule> schedule = parseSchedule(text, "schedule.txt");
  if (!schedule) {
    require(!schedule.error().message.empty(), "an error says something");
    requirePrintable(schedule.error().message, "a message is printable");
    return 0;
  }
  std::string printed = printSchedule(*schedule);
  Result<Schedule> second = parseSchedule(printed, "printed.txt");
  require(bool(second), "printed text is read", printed + (second ? "" : second.error().message));
  require(printSchedule(*second) == printed, "printed text is printed unchanged", printed);
  return 0;
}
