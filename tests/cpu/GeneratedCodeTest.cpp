// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Published layers compiled at their size, never run: what their object files and their assembly may hold.

#include "AssemblyText.h"

#include "codegen/pipeline/Pipeline.h"
#include "codegen/schedule/Schedule.h"
#include "dsl/Presets.h"
#include "dsl/Reports.h"
#include "dsl/spec/SpecReader.h"

#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Object/ELFObjectFile.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include <sys/resource.h>

namespace moec {
namespace {

LayerSpec specOf(const std::string &text) {
  SpecSource source;
  DiagnosticList diagnostics;
  ReadOptions options;
  options.reports = allReports(); // whose kernels are held to the same
  auto spec = readSpec(text, "preset.json", options, source, diagnostics);
  EXPECT_TRUE(spec) << render(diagnostics, false);
  return spec ? *spec : LayerSpec();
}

std::unique_ptr<CompiledPackage> compile(const LayerSpec &spec, IsaSet isas = IsaSet::all()) {
  CompileInput input;
  input.spec = &spec;
  CompileOptions options;
  options.isas = isas;
  std::vector<Diagnostic> errors;
  auto package = compileLayer(input, options, errors);
  for (const Diagnostic &error : errors)
    ADD_FAILURE() << error.message;
  return package;
}

std::vector<AssemblySection> assemblyOf(const LayerSpec &spec, IsaSet isas = IsaSet::all()) {
  CompileInput input;
  input.spec = &spec;
  CompileOptions options;
  options.isas = isas;
  std::vector<Diagnostic> errors;
  std::string text;
  llvm::raw_string_ostream os(text);
  EXPECT_TRUE(printStage(input, options, Stage::Emit, os, errors));
  return readAssembly(text);
}

const std::set<std::string> memoryFunctions = {"memcpy", "memmove", "memset"};

struct Symbols {
  std::set<std::string> undefined, exported, hidden;
};

Symbols symbolsOf(const ObjectFile &file) {
  Symbols symbols;
  auto object = llvm::object::ObjectFile::createObjectFile(
      llvm::MemoryBufferRef(llvm::StringRef(file.bytes.data(), file.bytes.size()), file.name));
  if (!object) {
    ADD_FAILURE() << file.name << ": " << llvm::toString(object.takeError());
    return symbols;
  }
  for (llvm::object::ELFSymbolRef symbol : llvm::cast<llvm::object::ELFObjectFileBase>(**object).symbols()) {
    std::string name = llvm::cantFail(symbol.getName()).str();
    uint32_t flags = llvm::cantFail(symbol.getFlags());
    if (flags & llvm::object::SymbolRef::SF_Undefined) {
      if (!name.empty() && name != "_GLOBAL_OFFSET_TABLE_") // the linker's own
        symbols.undefined.insert(name);
    } else if (symbol.getBinding() != llvm::ELF::STB_LOCAL) {
      bool hidden = (symbol.getOther() & 3) == llvm::ELF::STV_HIDDEN;
      (hidden ? symbols.hidden : symbols.exported).insert(name);
    }
  }
  return symbols;
}

double cpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval &t) { return double(t.tv_sec) + 1e-6 * double(t.tv_usec); };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

class GeneratedCode : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    auto text = presetText(GetParam());
    ASSERT_TRUE(text);
    spec = specOf(*text);
  }
  LayerSpec spec;
};
INSTANTIATE_TEST_SUITE_P(Cpu, GeneratedCode, testing::Values("qwen3-30b-a3b", "gpt-oss-20b", "deepseek-v3"),
                         [](const auto &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(GeneratedCode, symbols_only_memory_functions_undefined) {
  auto package = compile(spec);
  ASSERT_TRUE(package);
  ASSERT_EQ(package->objects.size(), MOEC_NUM_ISAS + 1u);
  std::set<std::string> kernels;
  for (const ObjectFile &file : package->objects) {
    Symbols symbols = symbolsOf(file);
    if (&file == &package->objects.back()) {
      EXPECT_EQ(symbols.exported, std::set<std::string>{package->name + "_package"});
      EXPECT_EQ(symbols.undefined, kernels);
      continue;
    }
    for (const std::string &name : symbols.undefined)
      EXPECT_TRUE(memoryFunctions.count(name)) << file.name << " needs " << name;
    EXPECT_EQ(symbols.exported, std::set<std::string>()) << file.name;
    EXPECT_FALSE(symbols.hidden.empty()) << file.name;
    for (const std::string &name : symbols.hidden) {
      EXPECT_EQ(name.compare(0, 5, "moec_"), 0) << name;
      EXPECT_TRUE(kernels.insert(name).second) << name << " is defined twice";
    }
  }
  EXPECT_EQ(kernels, std::set<std::string>(package->functionNames.begin(), package->functionNames.end()));
}

// Where rows begin at a line is known when the kernel runs, so it has both kinds of stores.
TEST(GeneratedFunctions, stores_past_the_caches_are_fenced) {
  int64_t kernels = 0;
  for (const AssemblySection &section : assemblyOf(specOf(R"({"moec": 1, "name": "s", "hidden": 1024, "dtype": "f32",
      "router": {"top_k": 2}, "experts": {"count": 4, "intermediate": 32}})"),
                                                   IsaSet::of(Isa::Avx512)))
    for (const AssemblyFunction &function : section.functions)
      if (int64_t past = countOf(function.code, "vmovnt")) {
        ++kernels;
        EXPECT_GE(countOf(function.code, "vmovups"), past) << function.symbol;
        EXPECT_EQ(countOf(function.code, "sfence"), 1) << function.symbol;
      }
  EXPECT_GT(kernels, 0);
}

// A shared expert of the routed ones' shape. Its second matmul is theirs; its first one gathers no rows.
TEST(GeneratedFunctions, equal_matmuls_share_one) {
  auto package = compile(specOf(R"({"moec": 1, "name": "s", "hidden": 64, "dtype": "bf16", "router": {"top_k": 2},
    "experts": {"count": 4, "intermediate": 32}, "shared": {"intermediate": 32}})"));
  ASSERT_TRUE(package);
  auto functionsOf = [&](llvm::StringRef name, Isa isa) {
    std::set<std::string> functions;
    for (const moec_step &step : package->plan.steps)
      if (package->plan.string(step.name) == name)
        for (uint32_t i = 0; i < step.isa[int(isa)].num_variants; ++i)
          functions.insert(package->functionNames[step.isa[int(isa)].first_fn + i]);
    EXPECT_FALSE(functions.empty()) << name.str();
    return functions;
  };
  for (Isa isa : {Isa::Baseline, Isa::Avx2, Isa::Avx512, Isa::Amx}) {
    EXPECT_EQ(functionsOf("shared_down", isa), functionsOf("experts_down", isa));
    EXPECT_NE(functionsOf("shared_gate_up", isa), functionsOf("experts_gate_up", isa));
  }
}

// The target is 3 s of one core, 1 GiB and 2 MiB; twice the time is allowed for a busy machine.
TEST_P(GeneratedCode, cost_time_memory_and_size) {
  double before = cpuSeconds();
  auto package = compile(spec);
  double seconds = cpuSeconds() - before;
  ASSERT_TRUE(package);
  size_t bytes = 0;
  for (const ObjectFile &file : package->objects)
    bytes += file.bytes.size();
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  RecordProperty("cpu_ms", int(seconds * 1000));
  RecordProperty("peak_kib", int(usage.ru_maxrss));
  RecordProperty("package_bytes", int(bytes));
  EXPECT_LT(seconds, 6.0);
  EXPECT_LT(usage.ru_maxrss, 1 << 20);
  EXPECT_LT(bytes, size_t(2) << 20);
}

TEST_P(GeneratedCode, calls_memory_functions_only) {
  std::vector<AssemblySection> sections = assemblyOf(spec);
  ASSERT_EQ(sections.size(), size_t(MOEC_NUM_ISAS));
  for (const AssemblySection &section : sections) {
    ASSERT_FALSE(section.functions.empty()) << section.isa;
    for (const AssemblyFunction &function : section.functions) {
      ASSERT_FALSE(function.code.empty()) << function.symbol;
      for (const Instruction &i : function.code)
        if (i.mnemonic.compare(0, 4, "call") == 0)
          EXPECT_TRUE(memoryFunctions.count(i.operands.substr(0, i.operands.find('@'))))
              << function.symbol << " calls " << i.operands;
    }
  }
}

TEST_P(GeneratedCode, registers_stay_within_the_isa) {
  for (const AssemblySection &section : assemblyOf(spec))
    for (const AssemblyFunction &function : section.functions)
      for (const Instruction &i : function.code) {
        auto has = [&](const char *text) { return i.operands.find(text) != std::string::npos; };
        std::string line = function.symbol + ": " + i.mnemonic + " " + i.operands;
        if (section.isa == "baseline")
          ASSERT_TRUE(i.mnemonic[0] != 'v' && !has("%ymm") && !has("%zmm")) << line;
        if (section.isa == "avx2")
          ASSERT_TRUE(!has("%zmm") && !has("%k1")) << line;
        bool pairs = i.mnemonic == "vcvtneps2bf16" || i.mnemonic == "vdpbf16ps";
        if (section.isa != "amx")
          ASSERT_TRUE(!has("%tmm") && (section.isa == "avx512_bf16" || !pairs)) << line;
      }
}

// block_m of the schedule entry that a kernel symbol names: ..._STAGE_panel_rFIRST_amx_amx.
int64_t blockRowsOf(const Schedule &schedule, const std::string &symbol) {
  for (const StageSchedule &stage : schedule.stages)
    for (const ScheduleEntry &entry : stage.entries) {
      std::string name =
          "_" + stage.stage + "_" + entry.kernel.templateName + "_r" + std::to_string(entry.firstRow) + "_amx_amx";
      if (stage.isa == Isa::Amx && symbol.size() > name.size() &&
          symbol.compare(symbol.size() - name.size(), name.size(), name) == 0)
        return entry.kernel.integers.at("block_m");
    }
  return 0;
}

TEST_P(GeneratedCode, amx_tiles_stay_in_registers) {
  auto package = compile(spec);
  ASSERT_TRUE(package);
  Result<Schedule> read = parseSchedule(package->scheduleText, "schedule");
  ASSERT_TRUE(read) << read.error().placedMessage();
  const Schedule &schedule = *read;
  int64_t checked = 0, twoByTwo = 0;
  for (const AssemblySection &section : assemblyOf(spec))
    for (const AssemblyFunction &function : section.functions) {
      bool tiles = countOf(function.code, "tdpbf16ps") > 0;
      ASSERT_EQ(countOf(function.code, "ldtilecfg"), tiles ? 1 : 0) << function.symbol;
      ASSERT_EQ(countOf(function.code, "tilerelease"), tiles ? 1 : 0) << function.symbol;
      if (!tiles)
        continue;
      int64_t rowTiles = (blockRowsOf(schedule, function.symbol) + 15) / 16;
      ASSERT_GT(rowTiles, 0) << function.symbol;
      std::vector<Instructions> loops = function.innermostLoops("tdpbf16ps");
      ASSERT_FALSE(loops.empty()) << function.symbol;
      for (const Instructions &loop : loops) {
        // per step: rowTiles tiles of A and two of B for 2 * rowTiles products; of eight tile registers six
        // accumulators leave two, so that A is loaded again for the second column
        int64_t products = countOf(loop, "tdpbf16ps"), loads = countOf(loop, "tileload");
        EXPECT_EQ(products % (2 * rowTiles), 0) << function.symbol;
        EXPECT_EQ(loads, products / (2 * rowTiles) * (rowTiles == 3 ? 8 : rowTiles + 2)) << function.symbol;
        EXPECT_EQ(countOf(loop, "tilestore"), 0) << function.symbol;
        if (rowTiles == 2) {
          EXPECT_EQ(products, 4) << function.symbol;
          EXPECT_EQ(loads, 4) << function.symbol;
          ++twoByTwo;
        }
        for (const Instruction &i : loop)
          EXPECT_FALSE(i.mnemonic.compare(0, 4, "tile") == 0 && i.touchesStack())
              << function.symbol << ": " << i.operands;
      }
      ++checked;
    }
  EXPECT_GE(checked, 10);
  EXPECT_GE(twoByTwo, 4);
}

// Vector accumulators stay in registers: no multiply loop stores a vector, and none reads one back from the stack.
void checkAccumulators(const LayerSpec &spec, Isa isa, const char *multiply) {
  int64_t checked = 0;
  for (const AssemblySection &section : assemblyOf(spec, IsaSet::of(isa)))
    for (const AssemblyFunction &function : section.functions) {
      if (function.symbol.find("_panel_") == std::string::npos)
        continue;
      std::vector<Instructions> loops = function.innermostLoops(multiply);
      EXPECT_FALSE(loops.empty()) << function.symbol;
      for (const Instructions &loop : loops) {
        if (countOf(loop, "vdiv")) // an activation in the epilogue
          continue;
        ++checked;
        for (const Instruction &i : loop) {
          bool vector = i.operands.find("mm") != std::string::npos && i.operands.find('%') != std::string::npos;
          EXPECT_FALSE(vector && i.touchesStack()) << function.symbol << ": " << i.mnemonic << " " << i.operands;
        }
      }
    }
  EXPECT_GE(checked, 3);
}

TEST_P(GeneratedCode, avx512_bf16_accumulators_are_not_spilled) { checkAccumulators(spec, Isa::Avx512, "vfmadd"); }

TEST_P(GeneratedCode, dot_accumulators_are_not_spilled) { checkAccumulators(spec, Isa::Avx512Bf16, "vdpbf16ps"); }

TEST_P(GeneratedCode, avx512_f32_accumulators_are_not_spilled) {
  spec.dtype = DataTypes();
  checkAccumulators(spec, Isa::Avx512, "vfmadd");
}

TEST_P(GeneratedCode, avx2_f32_accumulators_are_not_spilled) {
  spec.dtype = DataTypes();
  checkAccumulators(spec, Isa::Avx2, "vfmadd");
}

// The reader itself: nested loops, where the inner one is the smaller.
TEST(AssemblyTextTest, loops_innermost_only) {
  auto sections =
      readAssembly("# ---- amx\nmoec_a:\n\tmovq\t%rax, %rbx\n.LBB0_1: # outer\n\ttilezero\t%tmm0\n.LBB0_2:\n"
                   "\ttdpbf16ps\t%tmm1, %tmm2, %tmm0 # c\n\tjne\t.LBB0_2\n\ttilestored\t%tmm0, 8(%rsp,%rax)\n"
                   "\tjne\t.LBB0_1\n\tretq\n");
  ASSERT_EQ(sections.size(), 1u);
  EXPECT_EQ(sections[0].isa, "amx");
  const AssemblyFunction &function = sections[0].functions.at(0);
  EXPECT_EQ(function.code.size(), 7u);
  auto inner = function.innermostLoops("tdp");
  ASSERT_EQ(inner.size(), 1u);
  EXPECT_EQ(inner[0].size(), 2u);
  EXPECT_EQ(function.innermostLoops("tilestored").at(0).size(), 5u);
  EXPECT_TRUE(function.code[4].touchesStack());
  EXPECT_FALSE(function.code[0].touchesStack());
}

} // namespace
} // namespace moec
