// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Checks and times of kernels, taken in child processes. What a child finds it writes to shared memory.

#include "codegen/search/KernelTrial.h"

#include "codegen/bench/Clocks.h"
#include "codegen/bench/RatioInterval.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace moec {

namespace {
constexpr double mostDrift = 0.02; // of a duel's first kernel, from the first third of the pairs to the last
constexpr int duelAttempts = 3;
constexpr double shortestLimit = 1, defaultLimit = 60; // seconds of a call
constexpr double slowerThanDefault = 3;
} // namespace

struct KernelTrial::Board {
  WatchedCall call;
  uint32_t running; // a kernel
  int64_t rows;     // of its blocks
  double limit;     // of a rival's call, in seconds
  StageMemory::Position next;
  double flops, weightBytes;
};

struct KernelTrial::Slot {
  char difference[160]; // empty: none was found
  bool checked;         // to the end
  uint64_t numPairs;
};

KernelTrial::KernelTrial(const MatmulStage &stage, StageMemory &memory, int64_t scratchBytes,
                         std::vector<TrialKernel> kernels)
    : stage(stage), memory(memory), timer(memory, scratchBytes), kernels(std::move(kernels)),
      board(std::make_unique<SharedArray<Board>>(1)), slots(std::make_unique<SharedArray<Slot>>(this->kernels.size())) {
}

KernelTrial::~KernelTrial() = default;

bool KernelTrial::ready() const { return timer.ready() && board->ready() && slots->ready(); }

double KernelTrial::flops() const { return (*board)[0].flops; }
double KernelTrial::weightBytes() const { return (*board)[0].weightBytes; }

// Weights stay cold from child to child: the next one goes on where this one ends.
Result<ForkedEnd> KernelTrial::fork(const std::function<void()> &work) {
  Board &shared = (*board)[0];
  shared.next = memory.position();
  shared.limit = shortestLimit;
  Result<ForkedEnd> end = runForked(shared.call, [&] {
    memory.protectInputs();
    work();
    shared.next = memory.position();
  });
  StageMemory::Position next = shared.next;
  memory.moveTo(next);
  return end;
}

std::string KernelTrial::where(const ForkedEnd &end) const {
  std::string text = "blocks of " + std::to_string((*board)[0].rows) + " rows: " + end.text();
  std::string owner = memory.ownerOf((*board)[0].call.address);
  return end.how == ForkedEnd::Crashed && !owner.empty() ? text + ", it wrote to " + owner : text;
}

TrialVerdict KernelTrial::failure(const ForkedEnd &end) const {
  return {end.how == ForkedEnd::Stuck ? TrialVerdict::Stuck : TrialVerdict::Crashed, where(end)};
}

// ---- right or wrong ----------------------------------------------------------------------------------------------

// Bit by bit, or by the size of each row.
static std::string differenceOf(const MatmulStage &stage, const std::vector<char> &want, const std::vector<char> &got,
                                bool sameBits) {
  DataType type = DataType(stage.result);
  auto size = int64_t(moec_dtype_bytes(uint32_t(stage.result)));
  if (sameBits) {
    auto [a, b] = std::mismatch(want.begin(), want.end(), got.begin());
    if (a == want.end())
      return "";
    int64_t at = a - want.begin();
    return "row " + std::to_string(at / stage.outStride) + ", column " + std::to_string(at % stage.outStride / size);
  }
  for (int64_t row = 0; row * stage.outStride < int64_t(want.size()); ++row) {
    double error = 0, square = 0;
    for (int64_t c = 0; c < stage.n; ++c) {
      double w = loadElement(want.data() + row * stage.outStride, type, c);
      double g = loadElement(got.data() + row * stage.outStride, type, c);
      if (std::isnan(w) && std::isnan(g))
        continue; // columns that this turn's panels do not reach
      error += (w - g) * (w - g);
      square += w * w;
    }
    if (!(error <= 1e-4 * square + 1e-12))
      return "row " + std::to_string(row);
  }
  return "";
}

void KernelTrial::checkTurn(const std::vector<size_t> &rivals, const StageMemory::Turn &turn, int64_t count) {
  Board &shared = (*board)[0];
  memory.protectOutputAfter(turn);
  StageMemory::Turn whole = turn;
  StageMemory::split(whole, kernels[0].mostRows);
  shared.running = 0, shared.rows = count;
  double begin = wallSeconds();
  shared.call.begin(defaultLimit);
  std::vector<char> want = timer.outputOf(kernels[0].run, whole);
  shared.call.end();
  double limit = std::max(shortestLimit, slowerThanDefault * (wallSeconds() - begin));
  for (size_t k : rivals) {
    Slot &slot = (*slots)[k];
    bool same = kernels[k].run == kernels[0].run && count <= kernels[0].mostRows;
    if (slot.difference[0] || kernels[k].mostRows < count || same)
      continue;
    shared.running = uint32_t(k);
    shared.call.begin(limit);
    std::vector<char> got = timer.outputOf(kernels[k].run, turn);
    shared.call.end();
    std::string found = differenceOf(stage, want, got, kernels[k].sameBits);
    if (!found.empty()) {
      found = "blocks of " + std::to_string(count) + " rows: " + found;
      found.copy(slot.difference, sizeof slot.difference - 1);
    }
  }
}

void KernelTrial::checkAll(const std::vector<size_t> &rivals, const std::vector<int64_t> &rowCounts,
                           int64_t timedRows) {
  timer.protectScratch();
  for (int64_t count : rowCounts) {
    memory.prepareCheck(turn, count);
    checkTurn(rivals, turn, count);
  }
  memory.prepare(turn, timedRows, 2);
  checkTurn(rivals, turn, timedRows);
  for (size_t k : rivals)
    (*slots)[k].checked = true;
}

Result<std::vector<TrialVerdict>> KernelTrial::check(const std::vector<int64_t> &rowCounts, int64_t timedRows,
                                                     const std::function<bool()> &expired) {
  std::vector<TrialVerdict> verdicts(kernels.size());
  verdicts[0].what = TrialVerdict::Right;
  auto run = [&](const std::vector<size_t> &rivals) { return fork([&] { checkAll(rivals, rowCounts, timedRows); }); };
  auto take = [&](size_t k) {
    const Slot &slot = (*slots)[k];
    if (slot.difference[0])
      verdicts[k] = {TrialVerdict::Wrong, slot.difference};
    else if (slot.checked)
      verdicts[k].what = TrialVerdict::Right;
  };
  std::vector<size_t> rivals;
  for (size_t k = 1; k < kernels.size(); ++k) {
    (*slots)[k] = {};
    rivals.push_back(k);
  }
  Result<ForkedEnd> together = run(rivals);
  if (!together)
    return together.takeError();
  for (size_t k : rivals)
    take(k);
  if (together->how == ForkedEnd::Returned)
    return verdicts;
  for (size_t k : rivals) {
    if (verdicts[k].what != TrialVerdict::Unknown)
      continue;
    if (expired())
      break;
    Result<ForkedEnd> single = run({k});
    if (!single)
      return single.takeError();
    take(k);
    if (single->how == ForkedEnd::Returned)
      continue;
    if ((*board)[0].running == 0)
      return Diagnostic::error("E-INTERNAL", "the default kernel fails: " + where(*single));
    verdicts[k] = failure(*single);
  }
  return verdicts;
}

// ---- times -------------------------------------------------------------------------------------------------------

double KernelTrial::timed(size_t kernel, Turns turns) {
  Board &shared = (*board)[0];
  memory.prepare(turn, turns.rows, turns.blocks);
  shared.running = uint32_t(kernel), shared.rows = turns.rows;
  shared.flops = turn.flops, shared.weightBytes = turn.weightBytes;
  shared.call.begin(kernel ? shared.limit : defaultLimit);
  double us = timer.run(kernels[kernel].run, turn);
  shared.call.end();
  return std::max(us, 1e-3);
}

// Pages of the output and of the scratch are this child's before anything is timed.
void KernelTrial::warmUp(Turns turns) {
  memory.prepare(turn, turns.rows, turns.blocks);
  memory.poisonOutput(turn);
  timer.touchScratch();
  double begin = wallSeconds();
  timed(0, turns);
  (*board)[0].limit = std::max(shortestLimit, slowerThanDefault * (wallSeconds() - begin));
}

void KernelTrial::screenRounds(const std::vector<size_t> &rivals, Turns turns, int rounds, double tooSlow) {
  warmUp(turns);
  for (int round = 0; round < rounds; ++round) {
    double standard = 0;
    for (size_t r = 0; r < rivals.size(); ++r) {
      Slot &slot = (*slots)[rivals[r]];
      double *pairs = &(*times)[2 * size_t(rounds) * r];
      if (slot.numPairs && pairs[1] > tooSlow * pairs[0])
        continue;
      if (r % 4 == 0 || standard == 0)
        standard = timed(0, turns);
      double rival = timed(rivals[r], turns);
      pairs[2 * slot.numPairs] = standard, pairs[2 * slot.numPairs + 1] = rival;
      ++slot.numPairs;
    }
  }
}

Result<std::vector<KernelTrial::Pairs>> KernelTrial::screen(const std::vector<size_t> &rivals, Turns turns, int rounds,
                                                            double tooSlow, std::vector<TrialVerdict> &verdicts) {
  std::vector<Pairs> found(rivals.size());
  times = std::make_unique<SharedArray<double>>(2 * size_t(rounds) * rivals.size());
  if (!times->ready())
    return Diagnostic::error("E-MEMORY", "not enough memory for times");
  auto run = [&](const std::vector<size_t> &some) {
    for (size_t k : some)
      (*slots)[k].numPairs = 0;
    return fork([&] { screenRounds(some, turns, rounds, tooSlow); });
  };
  auto take = [&](size_t r, size_t place) {
    const double *pairs = &(*times)[2 * size_t(rounds) * place];
    size_t count = std::min<size_t>((*slots)[rivals[r]].numPairs, size_t(rounds));
    for (size_t i = 0; i < count; ++i)
      found[r].emplace_back(pairs[2 * i], pairs[2 * i + 1]);
  };
  if (rivals.empty())
    return found;
  Result<ForkedEnd> together = run(rivals);
  if (!together)
    return together.takeError();
  if (together->how == ForkedEnd::Returned) {
    for (size_t r = 0; r < rivals.size(); ++r)
      take(r, r);
    return found;
  }
  for (size_t r = 0; r < rivals.size(); ++r) {
    Result<ForkedEnd> single = run({rivals[r]});
    if (!single)
      return single.takeError();
    if (single->how == ForkedEnd::Returned)
      take(r, 0);
    else
      verdicts[rivals[r]] = failure(*single);
  }
  return found;
}

Result<KernelTrial::Pairs> KernelTrial::duel(size_t a, size_t b, Turns turns, int pairs, TrialVerdict &verdict) {
  times = std::make_unique<SharedArray<double>>(2 * size_t(pairs));
  if (!times->ready())
    return Diagnostic::error("E-MEMORY", "not enough memory for times");
  Result<ForkedEnd> end = fork([&] {
    warmUp(turns);
    for (int attempt = 0; attempt < duelAttempts; ++attempt) {
      std::vector<double> first;
      timed(b, turns);
      for (int pair = 0; pair < pairs; ++pair) {
        bool swapped = pair % 2;
        double earlier = timed(swapped ? b : a, turns), later = timed(swapped ? a : b, turns);
        (*times)[size_t(2 * pair)] = swapped ? later : earlier;
        (*times)[size_t(2 * pair + 1)] = swapped ? earlier : later;
        first.push_back(swapped ? later : earlier);
      }
      first.push_back(timed(a, turns)); // the first kernel begins and ends
      auto third = int64_t(first.size() / 3);
      double begin = medianOf({first.begin(), first.begin() + third});
      if (std::abs(medianOf({first.end() - third, first.end()}) / begin - 1) <= mostDrift)
        break;
    }
  });
  if (!end)
    return end.takeError();
  Pairs found;
  if (end->how != ForkedEnd::Returned) {
    verdict = failure(*end);
    return found;
  }
  for (int pair = 0; pair < pairs; ++pair)
    found.emplace_back((*times)[size_t(2 * pair)], (*times)[size_t(2 * pair + 1)]);
  return found;
}

Result<std::vector<double>> KernelTrial::alone(size_t kernel, Turns turns, int count, TrialVerdict &verdict) {
  times = std::make_unique<SharedArray<double>>(size_t(count));
  if (!times->ready())
    return Diagnostic::error("E-MEMORY", "not enough memory for times");
  Result<ForkedEnd> end = fork([&] {
    warmUp(turns);
    for (int i = 0; i < count; ++i)
      (*times)[size_t(i)] = timed(kernel, turns);
  });
  if (!end)
    return end.takeError();
  if (end->how != ForkedEnd::Returned) {
    verdict = failure(*end);
    return std::vector<double>();
  }
  return std::vector<double>(&(*times)[0], &(*times)[0] + count);
}

} // namespace moec
