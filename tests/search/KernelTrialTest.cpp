// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels that crash, hang, or write where they must not, beside good ones: each costs its own result only.

#include "codegen/search/KernelTrial.h"
#include "tests/search/SearchFixture.h"

#include <csignal>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace moec {
namespace {

constexpr int64_t columns = 96, depth = 64;

MatmulStage smallStage() {
  MatmulStage stage;
  stage.name = "up", stage.n = columns, stage.k = depth, stage.panels = 3;
  stage.in = stage.weight = stage.result = MOEC_F32;
  stage.panelBytes = depth * 32 * 4, stage.aStride = depth * 4, stage.outStride = columns * 4;
  return stage;
}

float *rowsOf(void *const *args) { return static_cast<float *>(args[2]); }

// out[r, c] = A[r, 0] * the first weight of the panel + c.
void good(const moec_call *call, void *const *args, void *, int64_t first, int64_t last) {
  auto *a = static_cast<const float *>(args[0]), *b = static_cast<const float *>(args[1]);
  for (int64_t i = first; i < last; ++i) {
    const moec_item &item = call->items[i];
    for (int64_t p = item.panel0; p < item.panel0 + item.panels; ++p)
      for (int64_t r = item.row0; r < item.row0 + item.rows; ++r)
        for (int64_t c = 0; c < 32; ++c)
          rowsOf(args)[r * columns + 32 * p + c] = a[r * depth] * b[(item.group * 3 + p) * depth * 32] + float(c);
  }
}

// Like good, and something else.
template <void (*extra)(const moec_call *, void *const *, void *)>
void with(const moec_call *call, void *const *args, void *scratch, int64_t first, int64_t last) {
  good(call, args, scratch, first, last);
  extra(call, args, scratch);
}

volatile int64_t never = 0; // nobody changes it
int64_t touched = 0;

void slightlyOff(const moec_call *call, void *const *args, void *) {
  if (call->items[0].rows == 5)
    rowsOf(args)[4 * columns + 7] += 1;
}
void segfault(const moec_call *call, void *const *, void *) {
  if (call->items[0].rows == 5)
    *reinterpret_cast<volatile int *>(never) = 1;
}
void trap(const moec_call *, void *const *, void *) { __builtin_trap(); }
void overflow(const moec_call *, void *const *, void *) { raise(SIGABRT); }
void spin(const moec_call *, void *const *, void *) {
  while (!never)
    ;
}
void sleepForever(const moec_call *, void *const *, void *) {
  while (!never)
    pause();
}
void writeInput(const moec_call *, void *const *args, void *) { static_cast<float *>(args[1])[12345] = 1; }
void writeGuard(const moec_call *call, void *const *args, void *) { rowsOf(args)[(call->num_rows + 3) * columns] = 1; }
void writeFarAfter(const moec_call *call, void *const *args, void *) {
  rowsOf(args)[(call->num_rows + 4000) * columns] = 1;
}
void writeAfterScratch(const moec_call *, void *const *, void *scratch) { static_cast<char *>(scratch)[4096] = 1; }
void writeElsewhere(const moec_call *, void *const *, void *) { touched = 1; }
// These know whether they are checked (two items) or timed.
void crashTimed(const moec_call *call, void *const *, void *) {
  if (call->num_items > 2)
    raise(SIGBUS);
}
void spinTimed(const moec_call *call, void *const *, void *) {
  while (call->num_items > 2 && !never)
    ;
}
void slowTimed(const moec_call *call, void *const *, void *) {
  if (call->num_items > 2)
    usleep(1500000);
}

struct KernelTrialTest : testing::Test {
  std::vector<TrialVerdict> check(std::vector<moec_kernel_fn> rivals, std::vector<int64_t> counts = {3, 5}) {
    start(std::move(rivals));
    Result<std::vector<TrialVerdict>> verdicts = trial->check(counts, 4, [] { return false; });
    EXPECT_TRUE(verdicts) << verdicts.error().message;
    return verdicts ? *verdicts : std::vector<TrialVerdict>(kernels);
  }
  void start(std::vector<moec_kernel_fn> rivals) {
    std::vector<TrialKernel> all = {{good, 8, true}};
    for (moec_kernel_fn run : rivals)
      all.push_back({run, 8, true});
    kernels = all.size();
    trial = std::make_unique<KernelTrial>(stage, memory, 4096, std::move(all));
    ASSERT_TRUE(trial->ready());
  }

  MatmulStage stage = smallStage();
  StageMemory memory{stage, 32, 1 << 20};
  std::unique_ptr<KernelTrial> trial;
  size_t kernels = 0;
  static constexpr KernelTrial::Turns turns = {4, 6};
};

using What = TrialVerdict::What;

TEST_F(KernelTrialTest, names_what_each_kernel_does) {
  struct {
    moec_kernel_fn run;
    What what;
    const char *detail;
  } cases[] = {
      {with<slightlyOff>, What::Wrong, "blocks of 5 rows: row 4, column 7"},
      {with<segfault>, What::Crashed, "blocks of 5 rows: ended with SIGSEGV"},
      {with<trap>, What::Crashed, "blocks of 3 rows: ended with SIGILL"},
      {with<overflow>, What::Crashed, "blocks of 3 rows: ended with SIGABRT"},
      {with<writeInput>, What::Crashed, "blocks of 3 rows: ended with SIGSEGV, it wrote to its input"},
      {with<writeGuard>, What::Wrong, "blocks of 3 rows: row 9, column 0"},
      {with<writeFarAfter>, What::Crashed,
       "blocks of 3 rows: ended with SIGSEGV, it wrote to the output after its rows"},
      {with<writeAfterScratch>, What::Crashed, "blocks of 3 rows: ended with SIGSEGV"},
      {with<writeElsewhere>, What::Right, ""},
      {with<crashTimed>, What::Right, ""},
  };
  std::vector<moec_kernel_fn> rivals;
  for (const auto &c : cases)
    rivals.push_back(c.run);
  std::vector<TrialVerdict> verdicts = check(rivals);
  ASSERT_EQ(verdicts.size(), 1 + std::size(cases));
  for (size_t i = 0; i < std::size(cases); ++i) {
    EXPECT_EQ(verdicts[i + 1].what, cases[i].what) << i;
    EXPECT_EQ(verdicts[i + 1].detail, cases[i].detail);
  }
  EXPECT_EQ(touched, 0) << "the kernel wrote to this process";
}

TEST_F(KernelTrialTest, ends_what_never_returns) {
  std::vector<TrialVerdict> verdicts = check({with<spin>, good, with<sleepForever>});
  EXPECT_EQ(verdicts[1].what, What::Stuck);
  EXPECT_EQ(verdicts[1].detail, "blocks of 3 rows: did not return within 1 s");
  EXPECT_EQ(verdicts[2].what, What::Right);
  EXPECT_EQ(verdicts[3].what, What::Stuck);
}

TEST_F(KernelTrialTest, reports_a_default_that_fails) {
  std::vector<TrialKernel> all = {{with<segfault>, 8, true}, {good, 8, true}};
  KernelTrial bad(stage, memory, 4096, std::move(all));
  Result<std::vector<TrialVerdict>> verdicts = bad.check({3, 5}, 4, [] { return false; });
  ASSERT_FALSE(verdicts);
  EXPECT_EQ(verdicts.error().code, "E-INTERNAL");
  EXPECT_EQ(verdicts.error().message, "the default kernel fails: blocks of 5 rows: ended with SIGSEGV");
}

TEST_F(KernelTrialTest, starts_nothing_after_its_time) {
  start({with<trap>, good});
  Result<std::vector<TrialVerdict>> verdicts = trial->check({3}, 4, [] { return true; });
  ASSERT_TRUE(verdicts);
  EXPECT_EQ((*verdicts)[1].what, What::Unknown);
  EXPECT_EQ((*verdicts)[2].what, What::Unknown);
}

TEST_F(KernelTrialTest, times_the_others_when_one_crashes_only_then) {
  std::vector<TrialVerdict> verdicts = check({good, with<crashTimed>, with<writeElsewhere>, with<spinTimed>});
  for (const TrialVerdict &verdict : verdicts)
    EXPECT_EQ(verdict.what, What::Right);
  Result<std::vector<KernelTrial::Pairs>> pairs = trial->screen({1, 2, 3, 4}, turns, 5, 1000, verdicts);
  ASSERT_TRUE(pairs);
  EXPECT_EQ((*pairs)[0].size(), 5u);
  EXPECT_EQ((*pairs)[1].size(), 0u);
  EXPECT_EQ((*pairs)[2].size(), 5u);
  EXPECT_EQ((*pairs)[3].size(), 0u);
  EXPECT_EQ(verdicts[2].what, What::Crashed);
  EXPECT_EQ(verdicts[2].detail, "blocks of 4 rows: ended with SIGBUS");
  EXPECT_EQ(verdicts[4].what, What::Stuck);
  for (auto [standard, rival] : (*pairs)[0]) {
    EXPECT_GT(standard, 0);
    EXPECT_GT(rival, 0);
  }
  EXPECT_EQ(trial->flops(), 2.0 * 24 * columns * depth);
  EXPECT_EQ(trial->weightBytes(), double(6 * 3 * stage.panelBytes));
}

TEST_F(KernelTrialTest, duels_end_with_pairs_or_a_verdict) {
  start({good, with<crashTimed>, with<slowTimed>});
  TrialVerdict verdict;
  Result<KernelTrial::Pairs> pairs = trial->duel(0, 1, turns, 9, verdict);
  ASSERT_TRUE(pairs);
  EXPECT_EQ(pairs->size(), 9u);
  EXPECT_EQ(verdict.what, What::Unknown);
  Result<std::vector<double>> alone = trial->alone(1, turns, 4, verdict);
  ASSERT_TRUE(alone);
  EXPECT_EQ(alone->size(), 4u);
  pairs = trial->duel(0, 2, turns, 9, verdict);
  ASSERT_TRUE(pairs);
  EXPECT_TRUE(pairs->empty());
  EXPECT_EQ(verdict.what, What::Crashed);
  alone = trial->alone(3, turns, 4, verdict);
  ASSERT_TRUE(alone);
  EXPECT_TRUE(alone->empty());
  EXPECT_EQ(verdict.what, What::Stuck) << "it takes far more than three times as long as the default";
}

// Weights stay cold: a child begins where the one before ended.
TEST_F(KernelTrialTest, goes_on_with_other_weights) {
  start({good});
  TrialVerdict verdict;
  StageMemory::Position before = memory.position();
  ASSERT_TRUE(trial->alone(1, turns, 1, verdict));
  StageMemory::Position after = memory.position();
  EXPECT_NE(before.group, after.group);
}

TEST(forked_run, leaves_no_orphan) {
  prctl(PR_SET_CHILD_SUBREAPER, 1); // what a killed process leaves behind becomes this one's child
  SharedArray<std::atomic<int64_t>> child(1);
  SharedArray<WatchedCall> watched(1);
  pid_t searching = fork();
  ASSERT_GE(searching, 0);
  if (searching == 0) {
    (void)runForked(watched[0], [&] {
      child[0] = getpid();
      while (true)
        pause();
    });
    _exit(0);
  }
  while (child[0] == 0)
    usleep(1000);
  kill(searching, SIGKILL);
  int status = 0;
  waitpid(searching, &status, 0);
  pid_t orphan = pid_t(child[0]);
  pid_t ended = 0;
  for (int i = 0; i < 500 && ended == 0; ++i) {
    ended = waitpid(orphan, &status, WNOHANG);
    usleep(10000);
  }
  prctl(PR_SET_CHILD_SUBREAPER, 0);
  if (ended != orphan)
    kill(orphan, SIGKILL);
  ASSERT_EQ(ended, orphan) << "it still runs after 5 s";
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST(forked_run, tells_a_kill_from_a_crash) {
  SharedArray<WatchedCall> watched(1);
  Result<ForkedEnd> end = runForked(watched[0], [] { raise(SIGKILL); });
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, "E-MEMORY");
  end = runForked(watched[0], [] { raise(SIGTERM); });
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().code, "E-INTERRUPTED");
  end = runForked(watched[0], [] { raise(SIGFPE); });
  ASSERT_TRUE(end);
  EXPECT_EQ(end->text(), "ended with SIGFPE");
  end = runForked(watched[0], [] {});
  ASSERT_TRUE(end);
  EXPECT_EQ(end->how, ForkedEnd::Returned);
}

} // namespace
} // namespace moec
