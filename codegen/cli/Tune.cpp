// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec tune: a layer -> which schedule entry is fastest for each number of rows of a block, on this machine.

#include "CompileFlags.h"
#include "Supervisor.h"
#include "TokenRange.h"
#include "Verbs.h"
#include "codegen/bench/Ceilings.h"
#include "codegen/emulate/LoadedObject.h"
#include "codegen/pipeline/StageCompiler.h"
#include "codegen/search/StageTimer.h"

#include "llvm/Support/Format.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <algorithm>
#include <cstdlib>
#include <memory>

using namespace llvm;

namespace moec {

namespace {
struct TuneFlags {
  CompileFlags compile;
  std::string spec, rows = "1,2,4,8,12,16,24,32,48,64,96,128", stage;
};
} // namespace

static std::vector<ScheduleEntry> explore(const StageSchedule &base, int64_t rows) {
  std::vector<ScheduleEntry> out;
  ScheduleEntry entry = base.entries[base.entryFor(rows)];
  entry.firstRow = 1;
  entry.lastRow = rows;
  out.push_back(entry);
  const char *blocks = getenv("BLOCKS"), *hints = getenv("HINTS"), *shares = getenv("SHARES"), *pf = getenv("PF"),
             *st = getenv("STREAMS");
  auto list = [](const char *s, std::vector<std::string> d) {
    if (!s)
      return d;
    SmallVector<StringRef> p;
    StringRef(s).split(p, ',');
    std::vector<std::string> o;
    for (auto x : p)
      o.push_back(x.str());
    return o;
  };
  for (auto b : list(blocks, {"4", "6", "8", "10", "12", "14"}))
    for (auto h : list(hints, {"t1", "t0", "none"}))
      for (auto s : list(shares, {"1", "2", "4"}))
        for (auto p : list(pf, {"0"}))
          for (auto t : list(st, {"1"}))
            for (auto w : list(getenv("TILES"), {"2"})) {
              ScheduleEntry e = entry;
              int64_t bm = b == "r" ? rows : atoi(b.c_str());
              if (b == "r")
                bm = rows;
              if (bm > rows || bm > 15)
                continue;
              if (h == "none" && s != "1")
                continue;
              e.kernel.integers["block_m"] = bm;
              e.kernel.integers["panel_m"] = (rows + bm - 1) / bm * bm;
              e.kernel.integers["share"] = atoi(s.c_str());
              if (atoi(p.c_str()))
                e.kernel.integers["prefetch_block"] = atoi(p.c_str());
              e.kernel.integers["streams"] = atoi(t.c_str());
              e.kernel.words["hint"] = h;
              e.kernel.integers["tiles"] = atoi(w.c_str());
              out.push_back(e);
            }
  return out;
}

static int runTune(Session &session, const TuneFlags &flags) {
  SpecInput input;
  CompileOptions options;
  if (int code = compileOptions(session, flags.compile, options))
    return code;
  if (int code = loadSpec(session, flags.spec, flags.compile, input))
    return code;
  std::vector<Diagnostic> errors;
  CompileInput compileInput = input.compileInput();
  auto compiler = StageCompiler::make(compileInput, options, errors);
  if (!compiler)
    return reportCompileErrors(session, input, errors);
  std::vector<int64_t> rowCounts;
  if (int code = tokenCounts(session, flags.rows, 100000, rowCounts))
    return code;
  CeilingProbe probe(Factors::Bf16, 1);
  probe.calibrate();
  double gflops = probe.best().gflops, gbps = probe.best().gbps;
  session.out << format("ceilings %.1f GFLOP/s %.2f GB/s\n", gflops, gbps);
  for (size_t step = 0; step < compiler->stages().size(); ++step) {
    const MatmulStage &stage = compiler->stages()[step];
    if (stage.name.empty() || (!flags.stage.empty() && stage.name != flags.stage))
      continue;
    for (const StageSchedule &schedule : compiler->schedule().stages) {
      if (schedule.stage != stage.name)
        continue;
      for (int64_t rows : rowCounts) {
        std::vector<ScheduleEntry> candidates;
        for (ScheduleEntry &e : explore(schedule, rows))
          if (auto ok = checkEntry(stage, schedule.isa, e); ok)
            candidates.push_back(e);
        Result<StageObject> object = compiler->compile(step, schedule.isa, candidates);
        if (!object)
          return fail(session, object.error());
        auto loaded = LoadedObject::load({&object->file});
        if (!loaded)
          return fail(session, loaded.error());
        StageMemory memory(stage, rows, int64_t(512) << 20);
        StageTimer timer(memory, object->scratchBytes);
        int64_t blocks = memory.blocksFor(rows, 0.004, gflops, gbps);
        std::vector<std::vector<double>> shares(candidates.size());
        for (int round = 0; round < 9; ++round)
          for (size_t c = 0; c < candidates.size(); ++c) {
            StageMemory::Turn turn;
            memory.prepare(turn, rows, blocks);
            double us = timer.run(*(*loaded)->kernel(object->symbols[c]), turn);
            double bound = std::max(turn.flops / gflops, turn.weightBytes / gbps) * 1e-3;
            shares[c].push_back(100 * bound / us);
          }
        std::vector<std::pair<double, size_t>> order;
        for (size_t c = 0; c < candidates.size(); ++c) {
          std::sort(shares[c].begin(), shares[c].end());
          order.push_back({shares[c][6], c});
        }
        double base = order[0].first;
        std::sort(order.rbegin(), order.rend());
        session.out << format("%s rows %d blocks %d: default %.1f %% ;", stage.name.c_str(), int(rows), int(blocks),
                              base);
        for (size_t i = 0; i < std::min<size_t>(8, order.size()); ++i) {
          auto &e = candidates[order[i].second];
          session.out << format(" %.1f b%d s%d %s p%d t%d w%d;", order[i].first, int(e.kernel.integers["block_m"]),
                                int(e.kernel.integers["share"]), e.kernel.words["hint"].c_str(),
                                int(e.kernel.integers["prefetch_block"]), int(e.kernel.integers["streams"]),
                                int(e.kernel.integers["tiles"]));
        }
        session.out << "\n";
        session.out.flush();
      }
    }
  }
  return ExitDone;
}

Verb addTune(CLI::App &app) {
  auto flags = std::make_shared<TuneFlags>();
  CLI::App *verb = app.add_subcommand("tune", "find the fastest kernels for this machine");
  verb->add_option("SPEC", flags->spec, "JSON file, .mlir file of the moe dialect, or preset");
  verb->add_option("--rows", flags->rows, "rows");
  verb->add_option("--stage", flags->stage, "stage");
  addCompileFlags(*verb, flags->compile);
  return {verb, [flags](Session &session) { return runTune(session, *flags); }};
}

} // namespace moec
