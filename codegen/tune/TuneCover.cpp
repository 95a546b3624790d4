// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Greedy set cover over row classes.

#include "codegen/tune/TuneCover.h"

#include "codegen/tune/TuneCandidate.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <cmath>

namespace moec {
namespace {

class Cover {
public:
  Cover(const TimeMatrix &times, double loss) : times(times), loss(loss > 0 && std::isfinite(loss) ? loss : 0) {
    for (const auto &row : times)
      numCandidates = std::max(numCandidates, row.size());
    for (size_t c = 0; c < times.size(); ++c) {
      best.push_back(0);
      for (size_t j = 0; j < numCandidates; ++j)
        if (double t = time(c, j); t > 0 && (best[c] == 0 || t < best[c]))
          best[c] = t;
    }
  }

  TuneCover run() {
    choose();
    dropRedundant();
    return assign();
  }

private:
  // 0: the candidate cannot run the class
  double time(size_t c, size_t candidate) const {
    if (candidate >= times[c].size() || !times[c][candidate])
      return 0;
    double t = *times[c][candidate];
    return std::isfinite(t) && t > 0 ? t : 0;
  }
  bool serves(size_t candidate, size_t c) const {
    double t = time(c, candidate);
    return t > 0 && t <= best[c] * (1 + loss);
  }

  void choose() {
    std::vector<bool> open(times.size());
    for (size_t c = 0; c < times.size(); ++c)
      open[c] = best[c] > 0;
    while (llvm::is_contained(open, true)) {
      size_t next = 0, mostServed = 0;
      double leastSum = 0;
      for (size_t j = 0; j < numCandidates; ++j) {
        size_t served = 0;
        double sum = 0;
        for (size_t c = 0; c < times.size(); ++c)
          if (open[c] && serves(j, c)) {
            ++served;
            sum += time(c, j) / best[c];
          }
        if (served > mostServed || (served && served == mostServed && sum < leastSum))
          next = j, mostServed = served, leastSum = sum;
      }
      chosen.push_back(next);
      for (size_t c = 0; c < times.size(); ++c)
        open[c] = open[c] && !serves(next, c);
    }
  }

  // The first choices serve most; later ones may have made one of them needless.
  void dropRedundant() {
    for (size_t i = chosen.size(); i-- > 0;) {
      bool needed = false;
      for (size_t c = 0; c < times.size() && !needed; ++c)
        needed =
            serves(chosen[i], c) && llvm::none_of(chosen, [&](size_t j) { return j != chosen[i] && serves(j, c); });
      if (!needed)
        chosen.erase(chosen.begin() + ptrdiff_t(i));
    }
    std::sort(chosen.begin(), chosen.end());
  }

  TuneCover assign() const {
    TuneCover cover;
    for (size_t c = 0; c < times.size(); ++c) {
      size_t before = c ? cover.ofClass[c - 1] : TuneCover::none, fastest = TuneCover::none;
      for (size_t j : chosen) {
        double t = time(c, j);
        if (t > 0 && (fastest == TuneCover::none || t < time(c, fastest) || (t == time(c, fastest) && j == before)))
          fastest = j;
      }
      cover.ofClass.push_back(fastest);
    }
    for (size_t j : chosen)
      if (llvm::is_contained(cover.ofClass, j))
        cover.candidates.push_back(j);
    return cover;
  }

  const TimeMatrix &times;
  double loss;
  size_t numCandidates = 0;
  std::vector<double> best; // per class; 0: no candidate has a time
  std::vector<size_t> chosen;
};

void setRange(ScheduleEntry &entry, TuneClass rows) { entry.firstRow = rows.first, entry.lastRow = rows.last; }
void setRange(CudaEntry &entry, TuneClass tokens) { entry.firstToken = tokens.first, entry.lastToken = tokens.last; }
void extend(ScheduleEntry &entry, TuneClass rows) { entry.lastRow = rows.last; }
void extend(CudaEntry &entry, TuneClass tokens) { entry.lastToken = tokens.last; }

template <typename Entry>
Result<std::vector<Entry>> entriesOf(const TuneCover &cover, llvm::ArrayRef<TuneClass> classes,
                                     llvm::ArrayRef<Entry> kernels, llvm::ArrayRef<Entry> standards) {
  bool fits = cover.ofClass.size() == classes.size() && standards.size() == classes.size();
  for (size_t j : cover.ofClass)
    fits &= j == TuneCover::none || j < kernels.size();
  if (!fits)
    return Diagnostic::error("E-INTERNAL", "a cover of " + std::to_string(cover.ofClass.size()) + " classes for " +
                                               std::to_string(classes.size()) + " classes, " +
                                               std::to_string(kernels.size()) + " candidates and " +
                                               std::to_string(standards.size()) + " default entries");
  std::vector<Entry> entries;
  for (size_t c = 0; c < classes.size(); ++c) {
    Entry entry = cover.ofClass[c] == TuneCover::none ? standards[c] : kernels[cover.ofClass[c]];
    entry.place = {};
    setRange(entry, classes[c]);
    if (!entries.empty() && candidateText(entries.back()) == candidateText(entry))
      extend(entries.back(), classes[c]);
    else
      entries.push_back(std::move(entry));
  }
  return entries;
}

} // namespace

TuneCover coverClasses(const TimeMatrix &times, double loss) { return Cover(times, loss).run(); }

Result<std::vector<ScheduleEntry>> coverEntries(const TuneCover &cover, llvm::ArrayRef<TuneClass> classes,
                                                llvm::ArrayRef<ScheduleEntry> kernels,
                                                llvm::ArrayRef<ScheduleEntry> standards) {
  return entriesOf(cover, classes, kernels, standards);
}

Result<std::vector<CudaEntry>> coverEntries(const TuneCover &cover, llvm::ArrayRef<TuneClass> classes,
                                            llvm::ArrayRef<CudaEntry> kernels, llvm::ArrayRef<CudaEntry> standards) {
  return entriesOf(cover, classes, kernels, standards);
}

} // namespace moec
