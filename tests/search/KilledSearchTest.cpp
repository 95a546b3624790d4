// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A search killed 200 times at random moments: its records always load, a kill costs one line at most, and the search
// goes on where it ended.

#include "codegen/tune/TuneStore.h"
#include "tests/search/SearchFixture.h"

#include <csignal>
#include <random>
#include <set>
#include <sys/wait.h>
#include <unistd.h>

namespace moec {
namespace {

// The whole search of a stage, from the records of `path`. Returns how many candidates were measured; -1: it failed.
int64_t searchOnce(const std::string &path) {
  SearchFixture fixture(smallLayer("bf16"));
  if (access(path.c_str(), F_OK) == 0) {
    Result<TuneFile> file = loadTuneFile(path);
    if (!file)
      return -1;
    for (const StoredRecord &stored : file->records)
      fixture.earlier.push_back(stored.record);
  }
  Result<TuneStore> store = TuneStore::open(path);
  if (!store)
    return -1;
  fixture.search.remember = [&](const TuneRecord &record) { return store->append(record); };
  std::unique_ptr<StageSearch> search = fixture.start("experts_down");
  int64_t measured = 0;
  for (const RowClass &rows : search->classes({1, 2, 3, 16})) {
    Result<SearchOutcome> outcome = search->search(rows);
    if (!outcome)
      return -1;
    measured += int64_t(outcome->tried);
  }
  return measured;
}

TEST(killed_search, goes_on_where_it_ended) {
  if (!machineHas(Isa::Avx2))
    GTEST_SKIP() << "this machine has no AVX2";
  Overlay folder;
  std::string path = folder.path + "/small.tune.jsonl";
  std::mt19937 random(1);
  size_t records = 0, torn = 0, most = 0;
  for (int kill = 0; kill < 200; ++kill) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0)
      _exit(searchOnce(path) < 0 ? 3 : 0);
    usleep(std::uniform_int_distribution<useconds_t>(0, 400000)(random));
    ::kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "the search failed after " << kill << " kills";
    if (!WIFSIGNALED(status) && kill < 199) { // it ended: from the beginning, so that there is something to kill
      EXPECT_EQ(searchOnce(path), 0);
      std::filesystem::remove(path);
      records = torn = 0;
    }
    if (access(path.c_str(), F_OK) != 0)
      continue;
    Result<TuneFile> file = loadTuneFile(path);
    ASSERT_TRUE(file) << file.error().message;
    ASSERT_GE(file->records.size(), records) << "records were lost";
    ASSERT_LE(file->skippedLines, torn + 1);
    records = file->records.size();
    torn = file->skippedLines;
    most = std::max(most, records);
  }
  EXPECT_GT(most, 20u) << "no run got far enough to be of use";
  ASSERT_GE(searchOnce(path), 0);
  EXPECT_EQ(searchOnce(path), 0) << "everything is known";
  Result<TuneFile> file = loadTuneFile(path);
  ASSERT_TRUE(file);
  std::set<std::string> questions;
  for (const StoredRecord &stored : file->records)
    if (stored.record.kind == TuneRecord::Measurement)
      EXPECT_TRUE(questions.insert(questionOf(stored.record, true)).second) << stored.record.candidate;
}

} // namespace
} // namespace moec
