// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

#include "codegen/search/CudaRank.h"

#include "codegen/search/CudaCandidates.h"
#include "codegen/tune/TuneCandidate.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace moec {

// In how many values two kernels differ.
static size_t differences(const CudaEntry &a, const CudaEntry &b) {
  size_t count = a.kernel.templateName != b.kernel.templateName;
  for (const auto &[key, value] : a.kernel.integers) {
    auto other = b.kernel.integers.find(key);
    count += other == b.kernel.integers.end() || other->second != value;
  }
  return count;
}

// Smaller is faster; equal where the ratio is below 0.1 %.
static double steps(double ratio) { return std::round(std::log(ratio) * 1000); }

void sortRanked(std::vector<RankedCandidate> &candidates, const CudaEntry &standard) {
  std::sort(candidates.begin(), candidates.end(), [&](const RankedCandidate &a, const RankedCandidate &b) {
    auto key = [&](const RankedCandidate &c) {
      double slowness = c.failed.empty() ? -steps(1 + c.times.gain) : 0;
      return std::tuple(!c.failed.empty(), slowness, differences(c.entry, standard), candidateText(c.entry));
    };
    return key(a) < key(b);
  });
}

namespace {

// Microseconds of all calls that fall into a range; `unfit` as CudaPrediction has it.
struct RangeTime {
  double us = 0, flops = 0, bytes = 0;
  const char *bound = "";
  std::string unfit;
};

class RangeRanking {
public:
  RangeRanking(StageCompiler &compiler, size_t step, const CudaStage &schedule, size_t index,
               const CudaRankOptions &options)
      : compiler(compiler), step(step), stage(compiler.stages()[step]), schedule(schedule), index(index),
        options(options) {
    const CudaEntry &entry = schedule.entries[index];
    for (int64_t t : options.tokens)
      if (t >= entry.firstToken && (entry.lastToken < 0 || t <= entry.lastToken))
        tokens.push_back(t);
    range.standard = entry;
  }

  bool met() const { return !tokens.empty(); }

  Result<RankedRange> run() {
    std::vector<CudaEntry> entries = best();
    entries.insert(entries.begin(), range.standard);
    Result<std::vector<CudaKernelFigures>> costs = build(entries);
    if (!costs)
      return costs.takeError();
    RangeTime standard = timeOf(range.standard, costs->front());
    for (size_t i = 1; i < entries.size(); ++i)
      add(entries[i], (*costs)[i], standard);
    sortRanked(range.candidates, range.standard);
    record(standard);
    return std::move(range);
  }

private:
  RangeTime timeOf(const CudaEntry &entry, const CudaKernelFigures &cost) const {
    RangeTime time;
    double longest = 0;
    for (int64_t t : tokens) {
      CudaPrediction one = predictCuda(stage, entry, cost, *options.gpu, t, options.routing);
      time.us += one.seconds * 1e6;
      time.flops += one.flops;
      time.bytes += one.bytes;
      time.unfit = one.unfit;
      if (one.seconds >= longest) {
        longest = one.seconds;
        time.bound = one.bound;
      }
    }
    return time;
  }

  // What the schedule says of threads, before anything is built.
  static CudaKernelFigures assumed(const CudaEntry &entry) {
    auto value = [&](const char *key) {
      auto found = entry.kernel.integers.find(key);
      return found == entry.kernel.integers.end() ? int64_t(0) : found->second;
    };
    CudaKernelFigures cost;
    cost.threads = value("consumers")
                       ? 128 * (value("consumers") + 1)
                       : 32 * std::max<int64_t>(1, value("warps_m")) * std::max<int64_t>(1, value("warps_n"));
    return cost;
  }

  std::vector<CudaEntry> best() const {
    std::vector<std::pair<double, CudaEntry>> all;
    for (CudaEntry &entry : cudaCandidates(stage, schedule, index, options.otherBits, options.templatesDir))
      if (RangeTime time = timeOf(entry, assumed(entry)); time.unfit.empty())
        all.emplace_back(time.us, std::move(entry));
    std::sort(all.begin(), all.end(), [&](const auto &a, const auto &b) {
      auto key = [&](const auto &c) {
        return std::tuple(steps(c.first), differences(c.second, range.standard), candidateText(c.second));
      };
      return key(a) < key(b);
    });
    all.resize(std::min(all.size(), options.built));
    std::vector<CudaEntry> entries;
    for (auto &[us, entry] : all)
      entries.push_back(std::move(entry));
    return entries;
  }

  // All at once; if one is at fault, each alone. Only the default must be built.
  Result<std::vector<CudaKernelFigures>> build(const std::vector<CudaEntry> &entries) {
    Result<std::vector<CudaKernelFigures>> costs = compiler.compileCuda(step, schedule.arch, entries, options.ptxas);
    if (costs)
      return costs;
    std::vector<CudaKernelFigures> alone;
    for (size_t i = 0; i < entries.size(); ++i) {
      Result<std::vector<CudaKernelFigures>> one =
          compiler.compileCuda(step, schedule.arch, {entries[i]}, options.ptxas);
      if (!one && i == 0)
        return one.takeError();
      alone.push_back(one ? one->front() : CudaKernelFigures());
      if (!one)
        alone.back().failed = one.error().placedMessage();
    }
    return alone;
  }

  void add(const CudaEntry &entry, const CudaKernelFigures &cost, const RangeTime &standard) {
    RankedCandidate candidate;
    candidate.entry = entry;
    candidate.cost = cost;
    RangeTime time = timeOf(entry, cost);
    candidate.failed = cost.failed.empty() ? time.unfit : cost.failed;
    if (candidate.failed.empty())
      candidate.times = timesOf(standard, time);
    range.candidates.push_back(std::move(candidate));
  }

  // A default that spills or does not fit is as slow as its fastest rival: nothing is said of it.
  static TuneTimes timesOf(const RangeTime &standard, const RangeTime &time) {
    TuneTimes times;
    double us = standard.us > 0 ? standard.us : time.us;
    times.standard = {us, us, us};
    times.candidate = {time.us, time.us, time.us};
    times.gain = times.gainLow = times.gainHigh = us / time.us - 1;
    times.pairs = 1;
    times.wins = time.us < us;
    times.flops = int64_t(time.flops);
    times.bytes = int64_t(time.bytes);
    return times;
  }

  TuneRecord blank() const {
    TuneRecord record = options.stamp;
    record.stage = tuneStageOf(stage, options.stamp.stage.spec, options.stamp.stage.layer);
    record.target = targetOf(schedule.arch);
    record.rows = {range.standard.firstToken, range.standard.lastToken};
    record.routing = options.routing.name;
    record.machine = {};
    record.machine.gpu = TuneGpu{options.gpu->name, options.gpu->capability, options.gpu->multiprocessors, 0};
    record.standard = candidateText(range.standard);
    record.predicted = true;
    return record;
  }

  void record(const RangeTime &standard) {
    range.bound = standard.bound;
    for (const RankedCandidate &candidate : range.candidates) {
      TuneRecord record = blank();
      record.candidate = candidateText(candidate.entry);
      record.templateHash = overlayHash(record.candidate, /*cuda=*/true, options.templatesDir);
      record.result = candidate.failed.empty() ? TuneResult::Ok : TuneResult::Failed;
      record.detail = candidate.failed;
      if (candidate.failed.empty())
        record.times = candidate.times;
      range.records.push_back(std::move(record));
    }
    if (range.candidates.empty() || !range.candidates.front().failed.empty())
      return; // no rival, so no choice either
    const RankedCandidate &first = range.candidates.front();
    range.changed = first.times.gain >= options.minimumGain;
    TuneRecord choice = blank();
    choice.kind = TuneRecord::Choice;
    choice.candidate = range.changed ? candidateText(first.entry) : choice.standard;
    choice.templateHash = overlayHash(choice.candidate, /*cuda=*/true, options.templatesDir);
    choice.times = first.times;
    range.records.push_back(std::move(choice));
    if (range.changed)
      range.bound = timeOf(first.entry, first.cost).bound;
  }

  StageCompiler &compiler;
  size_t step;
  const MatmulStage &stage;
  const CudaStage &schedule;
  size_t index;
  const CudaRankOptions &options;
  std::vector<int64_t> tokens;
  RankedRange range;
};

} // namespace

Result<std::vector<RankedRange>> rankCudaStage(StageCompiler &compiler, size_t step, const CudaStage &schedule,
                                               const CudaRankOptions &options) {
  std::vector<RankedRange> ranges;
  for (size_t i = 0; i < schedule.entries.size(); ++i) {
    RangeRanking ranking(compiler, step, schedule, i, options);
    if (!ranking.met())
      continue;
    Result<RankedRange> range = ranking.run();
    if (!range)
      return range.takeError();
    ranges.push_back(std::move(*range));
  }
  return ranges;
}

} // namespace moec
