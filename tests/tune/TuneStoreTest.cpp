// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The file of records: what survives killed writers, writers beside each other, damaged lines, and replacement.

#include "codegen/tune/TuneStore.h"
#include "tests/tune/TuneRecords.h"

#include <algorithm>
#include <csignal>
#include <random>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

namespace moec {
namespace {

TuneStore opened(const std::string &path) {
  Result<TuneStore> store = TuneStore::open(path);
  if (!store)
    std::abort();
  return std::move(*store);
}

TuneFile loaded(const std::string &path) {
  Result<TuneFile> file = loadTuneFile(path);
  EXPECT_TRUE(file) << file.error().message;
  return file ? *file : TuneFile();
}

// The record number `count` of `writer`.
TuneRecord numbered(const std::string &writer, int64_t count) {
  TuneRecord record = measurement();
  record.routing = writer;
  record.times->pairs = count;
  return record;
}

// Appends records of `writer` until `*stop`, or until it is killed, and publishes the number of the last one that is on
// the disk.
[[noreturn]] void writeRecords(const std::string &path, const std::string &writer, volatile int64_t *written,
                               const volatile int64_t *stop) {
  Result<TuneStore> store = TuneStore::open(path);
  if (!store)
    _exit(2);
  for (int64_t i = 1; !*stop; ++i) {
    if (!store->append(numbered(writer, i)))
      _exit(3);
    *written = i;
  }
  _exit(0);
}

// The records of `writer` are 1 .. the returned number.
int64_t numberWritten(const TuneFile &file, const std::string &writer) {
  int64_t count = 0;
  for (const StoredRecord &stored : file.records)
    if (stored.record.routing == writer) {
      EXPECT_EQ(stored.record.times->pairs, ++count);
    }
  return count;
}

class SharedCount {
public:
  SharedCount()
      : at(static_cast<volatile int64_t *>(
            mmap(nullptr, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~SharedCount() { munmap(const_cast<int64_t *>(at), sizeof(int64_t)); }
  volatile int64_t *at;
};

int waitFor(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR)
    ;
  return status;
}

TEST(store, records_come_back_in_order) {
  TemporaryFolder folder;
  std::string path = folder.file("tiny.tune.jsonl");
  {
    TuneStore store = opened(path);
    EXPECT_TRUE(store.append(numbered("a", 1)));
    EXPECT_TRUE(store.append(choice({1, 4}, panel(4, 4))));
  }
  EXPECT_TRUE(opened(path).append(numbered("a", 2)));
  TuneFile file = loaded(path);
  EXPECT_EQ(file.path, path);
  ASSERT_EQ(file.records.size(), 3u);
  EXPECT_EQ(file.skippedLines, 0u);
  EXPECT_EQ(file.records[0].line, 1u);
  EXPECT_EQ(file.records[1].record.kind, TuneRecord::Choice);
  EXPECT_EQ(file.records[2].record.times->pairs, 2);
  EXPECT_EQ(readFile(path), printTuneRecord(numbered("a", 1)) + "\n" + printTuneRecord(choice({1, 4}, panel(4, 4))) +
                                "\n" + printTuneRecord(numbered("a", 2)) + "\n");
}

TEST(store, a_damaged_line_costs_itself_alone) {
  TemporaryFolder folder;
  std::string path = folder.file("t.jsonl"), line = printTuneRecord(measurement());
  std::string binary("\x00\xff{", 3);
  writeFile(path, line + "\n" + line.substr(0, 300) + "\n\n" + binary + "\n" + line + "\r\n" +
                      std::string(maxTuneLineBytes + 5, 'x') + "\n" + line.substr(0, 20));
  TuneFile file = loaded(path);
  ASSERT_EQ(file.records.size(), 2u);
  EXPECT_EQ(file.records[1].line, 5u);
  EXPECT_EQ(file.skippedLines, 4u);
  ASSERT_EQ(file.complaints.size(), 4u);
  EXPECT_EQ(file.complaints[0].code, "W-TUNE");
  EXPECT_EQ(file.complaints[0].severity, Severity::Warning);
  EXPECT_EQ(file.complaints[0].file, path);
  EXPECT_EQ(file.complaints[0].line, 2u);
  EXPECT_EQ(file.complaints[1].line, 4u);
  EXPECT_EQ(file.complaints[2].placedMessage(), path + ":6:1: found a line of 16389 bytes, expected at most 16384");
  EXPECT_EQ(file.complaints[3].line, 7u);
  EXPECT_EQ(file.complaints[3].message.substr(0, 29), "the last line is incomplete: ");
}

TEST(store, complaints_are_bounded) {
  std::string text;
  for (int i = 0; i < 1000; ++i)
    text += "x\n";
  TuneFile file = readTuneText(text, "t");
  EXPECT_EQ(file.complaints.size(), maxTuneComplaints);
  EXPECT_EQ(file.skippedLines, 1000u);
}

TEST(store, the_next_append_ends_an_incomplete_line) {
  TemporaryFolder folder;
  std::string path = folder.file("t.jsonl"), line = printTuneRecord(measurement());
  for (size_t length : {size_t(1), line.size() / 2, line.size() - 1, line.size()}) {
    writeFile(path, line + "\n" + line.substr(0, length));
    EXPECT_TRUE(opened(path).append(measurement()));
    EXPECT_EQ(readFile(path), line + "\n" + line.substr(0, length) + "\n" + line + "\n");
    TuneFile file = loaded(path);
    EXPECT_EQ(file.records.size(), length == line.size() ? 3u : 2u) << "a line that lacks only its end is a record";
    EXPECT_EQ(file.skippedLines, length == line.size() ? 0u : 1u);
  }
}

TEST(store, killed_writers_lose_at_most_the_line_being_written) {
  TemporaryFolder folder;
  std::mt19937 random(20261127);
  std::string path;
  size_t torn = 0, records = 0;
  for (int run = 0; run < 200; ++run) {
    if (run % 10 == 0)
      path = folder.file("t" + std::to_string(run) + ".jsonl");
    std::string writer = "run-" + std::to_string(run);
    SharedCount written, never;
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0)
      writeRecords(path, writer, written.at, never.at);
    usleep(useconds_t(random() % 40000));
    kill(child, SIGKILL);
    EXPECT_TRUE(WIFSIGNALED(waitFor(child)));
    if (run % 10 == 0 && access(path.c_str(), F_OK) != 0)
      continue; // killed before it opened the file
    TuneFile file = loaded(path);
    int64_t found = numberWritten(file, writer);
    ASSERT_GE(found, *written.at) << "a record that was on the disk is lost";
    ASSERT_LE(found, *written.at + 1);
    ASSERT_LE(file.skippedLines, size_t(run % 10 + 1)) << "one line of each killed writer at most";
    if (run % 10 == 9)
      torn += file.skippedLines, records += file.records.size();
  }
  EXPECT_GT(records, 200u);
  RecordProperty("torn_lines", int(torn));
  RecordProperty("records", int(records));
}

TEST(store, two_processes_write_at_once_while_others_read_and_replace) {
  TemporaryFolder folder;
  std::string path = folder.file("t.jsonl");
  SharedCount counts[2], stop;
  pid_t children[2];
  for (int i = 0; i < 2; ++i) {
    children[i] = fork();
    ASSERT_GE(children[i], 0);
    if (children[i] == 0)
      writeRecords(path, i ? "b" : "a", counts[i].at, stop.at);
  }
  int replacements = 0;
  while (*counts[0].at < 100 || *counts[1].at < 100 || replacements < 20) {
    if (access(path.c_str(), F_OK) != 0)
      continue;
    EXPECT_EQ(loaded(path).skippedLines, 0u) << "a reader saw part of a line";
    // another inode with the same lines, and one more at the front
    Result<> replaced = replaceTuneFile(path, [](const std::string &content) -> Result<std::string> {
      return printTuneRecord(numbered("front", 1)) + "\n" + content;
    });
    ASSERT_TRUE(replaced) << replaced.error().message;
    ++replacements;
  }
  *stop.at = 1;
  for (pid_t child : children)
    EXPECT_EQ(waitFor(child), 0);
  TuneFile file = loaded(path);
  EXPECT_EQ(file.skippedLines, 0u);
  EXPECT_EQ(numberWritten(file, "a"), *counts[0].at);
  EXPECT_EQ(numberWritten(file, "b"), *counts[1].at);
  EXPECT_EQ(file.records.size(), size_t(*counts[0].at + *counts[1].at + replacements));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path), {}), 1) << "something else was left";
}

TEST(store, a_file_without_space_stays_as_it_was) {
  TemporaryFolder folder;
  std::string path = folder.file("t.jsonl");
  std::string line = printTuneRecord(measurement()) + "\n";
  writeFile(path, line);
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit = {line.size() + 100, line.size() + 100};
    setrlimit(RLIMIT_FSIZE, &limit);
    Result<TuneStore> store = TuneStore::open(path);
    Result<> appended = store ? store->append(measurement()) : Result<>();
    _exit(!appended && appended.error().code == "E-WRITE" ? 0 : 1);
  }
  EXPECT_EQ(waitFor(child), 0);
  EXPECT_EQ(readFile(path), line);
}

TEST(store, what_cannot_be_opened_says_why) {
  TemporaryFolder folder;
  Result<TuneFile> none = loadTuneFile(folder.file("none"));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, "E-FILE");
  EXPECT_EQ(none.error().message,
            "cannot read the tuning file \"" + folder.file("none") + "\": No such file or directory");
  Result<TuneFile> directory = loadTuneFile(folder.path);
  ASSERT_FALSE(directory);
  EXPECT_EQ(directory.error().message, "cannot read the tuning file \"" + folder.path + "\": it is not a file");
  Result<TuneStore> store = TuneStore::open(folder.file("none/t.jsonl"));
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, "E-WRITE");
  mkfifo(folder.file("pipe").c_str(), 0600);
  EXPECT_FALSE(loadTuneFile(folder.file("pipe"))) << "a pipe would never end";
  EXPECT_FALSE(TuneStore::open(folder.file("pipe")));
}

TEST(store, a_record_that_would_not_be_read_is_not_written) {
  TemporaryFolder folder;
  std::string path = folder.file("t.jsonl");
  TuneStore store = opened(path);
  TuneRecord record = measurement();
  record.stage.name = "Not A Name";
  Result<> appended = store.append(record);
  ASSERT_FALSE(appended);
  EXPECT_EQ(appended.error().code, "E-INTERNAL");
  EXPECT_EQ(readFile(path), "");
}

TEST(store, replacing) {
  TemporaryFolder folder;
  std::string path = folder.file("t.jsonl");
  auto put = [&](const std::string &text) {
    return replaceTuneFile(path, [&](const std::string &) -> Result<std::string> { return text; });
  };
  EXPECT_TRUE(put("a\n"));
  EXPECT_EQ(readFile(path), "a\n");
  chmod(path.c_str(), 0640);
  EXPECT_TRUE(put("b\n"));
  EXPECT_EQ(readFile(path), "b\n");
  struct stat facts;
  ASSERT_EQ(stat(path.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_mode & 0777, 0640u);
  ino_t before = facts.st_ino;
  EXPECT_TRUE(put("b\n"));
  ASSERT_EQ(stat(path.c_str(), &facts), 0);
  EXPECT_EQ(facts.st_ino, before) << "equal content is not written again";
  Result<> failed = replaceTuneFile(
      path, [](const std::string &) -> Result<std::string> { return Diagnostic::error("E-TUNE", "no"); });
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, "E-TUNE");
  EXPECT_EQ(readFile(path), "b\n");
  std::filesystem::create_symlink(path, folder.file("link"));
  Result<> link =
      replaceTuneFile(folder.file("link"), [](const std::string &c) -> Result<std::string> { return c + "x"; });
  ASSERT_FALSE(link);
  EXPECT_EQ(link.error().message,
            "cannot replace the tuning file \"" + folder.file("link") + "\": it is a symbolic link");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path), {}), 2);
}

} // namespace
} // namespace moec
