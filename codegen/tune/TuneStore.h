// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file of records, NAME.tune.jsonl: append records, read them all, replace the file.
//
// Any number of processes may do each of these at once: a lock (flock) covers every append, every read and every
// replacement. A process that is killed loses at most the record that it was writing.

#ifndef MOEC_CODEGEN_TUNE_TUNESTORE_H
#define MOEC_CODEGEN_TUNE_TUNESTORE_H

#include "codegen/tune/TuneRecord.h"

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

#include <string>
#include <vector>

namespace moec {

constexpr size_t maxTuneFileBytes = size_t(256) << 20;

// Appends records to one file. Movable; not for use by several threads at once. A forked child opens a store of its
// own: the lock of an inherited one would not keep the two apart.
class TuneStore {
public:
  // Opens `path`, and makes an empty file if it does not exist. Error E-WRITE.
  static Result<TuneStore> open(std::string path);
  TuneStore(TuneStore &&other) noexcept;
  TuneStore &operator=(TuneStore &&other) noexcept;
  ~TuneStore();

  // Adds one line with one write(2) and waits until it is on the disk. If the file ends within a line, whose writer was
  // killed, that line is ended first. An error leaves the file as it was: E-WRITE (no space, no permission), E-INTERNAL
  // (the record would not be read back).
  Result<> append(const TuneRecord &record);

private:
  TuneStore(std::string path, int fd) : path(std::move(path)), fd(fd) {}
  Result<> appendLocked(const std::string &line);

  std::string path;
  int fd = -1;
};

struct StoredRecord {
  TuneRecord record;
  size_t line = 0; // from 1
};

struct TuneFile {
  std::string path;
  std::vector<StoredRecord> records; // in the order of the file
  // W-TUNE, with file, line and column: lines that are not a record, at most maxTuneComplaints of them.
  std::vector<Diagnostic> complaints;
  size_t skippedLines = 0; // all of them
};
constexpr size_t maxTuneComplaints = 100;

// Reads every record of a file. Lines that are not one are skipped, and complained of; empty lines are skipped. Error
// E-FILE: the file cannot be read; E-LIMIT: it has more than maxTuneFileBytes.
Result<TuneFile> loadTuneFile(const std::string &path);

// The same for a text; `name` stands for the file in complaints.
TuneFile readTuneText(llvm::StringRef text, const std::string &name);

// Calls `visit` for every line that is not empty, without its end. `number` counts from 1.
void forEachTuneLine(llvm::StringRef text, llvm::function_ref<void(size_t number, llvm::StringRef line)> visit);

// The whole file, read under the lock. Errors as above.
Result<std::string> readTuneBytes(const std::string &path);

// Replaces the content of `path` by what `change` makes of it ("": there is no such file yet). Nobody appends between
// the reading and the replacement, which readers see whole or not at all. If `change` fails, or returns what it was
// given, the file is not touched. Errors: E-WRITE, those of readTuneBytes, and what `change` returns. The new content
// is first written to `staging` (default: stagingPathOf(path)); whoever kills the process removes it.
Result<> replaceTuneFile(const std::string &path,
                         llvm::function_ref<Result<std::string>(const std::string &content)> change,
                         std::string staging = {});

} // namespace moec

#endif
