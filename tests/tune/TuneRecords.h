// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Test fixture: a measurement and a choice to change, and a folder that is removed at the end.

#ifndef MOEC_TESTS_TUNE_TUNERECORDS_H
#define MOEC_TESTS_TUNE_TUNERECORDS_H

#include "codegen/tune/TuneRecord.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>

namespace moec {

inline std::string panel(int blockM, int panelM) {
  return "panel { block_k = 32, block_m = " + std::to_string(blockM) +
         ", heights = 1, panel_m = " + std::to_string(panelM) +
         ", prefetch_block = 32, share = 1, streams = 4, tiles = 2, a_hint = none, hint = t1, out_hint = none } "
         "numeric fma";
}

// An "ok" measurement on a Zen 4: 6 % faster than the default, rows 9..12.
inline TuneRecord measurement() {
  TuneRecord record;
  record.stage.spec = std::string(64, 'a');
  record.stage.layer = "tiny";
  record.stage.name = "experts_down";
  record.stage.n = 2048, record.stage.k = 1024, record.stage.parts = 1;
  record.stage.a = record.stage.b = record.stage.out = "bf16";
  record.stage.gathered = true;
  record.target = "cpu:avx512";
  record.rows = {9, 12};
  record.machine.cpu = TuneCpu{"AuthenticAMD", 25, 17, 1, "AMD EPYC", {"baseline", "avx2", "avx512"}};
  record.standard = panel(12, 12);
  record.candidate = panel(6, 12);
  TuneTimes times;
  times.standard = {106, 105, 108};
  times.candidate = {100, 99, 101.5};
  times.pairs = 11, times.wins = 10;
  times.gain = 0.06, times.gainLow = 0.053, times.gainHigh = 0.067;
  times.flops = 37748736, times.bytes = 3145728;
  record.times = times;
  record.stamp = {"0.1.0", "1.0", tuneTimingVersion, "2026-11-27T10:00:00Z"};
  return record;
}

inline TuneRecord choice(TuneClass rows, const std::string &kernel) {
  TuneRecord record = measurement();
  record.kind = TuneRecord::Choice;
  record.rows = rows;
  record.candidate = kernel;
  return record;
}

class TemporaryFolder {
public:
  TemporaryFolder() {
    std::string form = (std::filesystem::temp_directory_path() / "moec-tune-XXXXXX").string();
    if (const char *made = mkdtemp(form.data()))
      path = made;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path.empty())
      std::filesystem::remove_all(path, ignored);
  }
  std::string file(const std::string &name) const { return path + "/" + name; }

  std::string path;
};

inline void writeFile(const std::string &path, const std::string &text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::string readFile(const std::string &path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

} // namespace moec

#endif
