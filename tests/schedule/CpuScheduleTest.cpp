// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The heuristics: every schedule of every instruction set is legal over a grid of stages, instantiates and lowers.

#include "codegen/schedule/CpuSchedule.h"
#include "tests/schedule/MatmulStages.h"

#include "codegen/cpu/CpuLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"

#include <gtest/gtest.h>

#include <set>

namespace moec {
namespace {

const Isa isas[] = {Isa::Baseline, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx};

MatmulStage facts(int64_t n, int64_t k, int64_t parts, bool bf16Weight, bool bf16Input) {
  return matmulStage("up", n, k, parts, bf16Weight, bf16Input);
}

template <typename Visit> void forTypes(int64_t n, int64_t k, int64_t parts, Visit visit) {
  for (bool bf16Weight : {false, true})
    for (bool bf16Input : {false, true})
      visit(facts(n, k, parts, bf16Weight, bf16Input));
}

std::string describe(const MatmulStage &f, Isa isa) {
  return isaFacts(isa).name.str() + " n " + std::to_string(f.n) + " k " + std::to_string(f.k) + " weight " +
         (f.weight == MOEC_BF16 ? "bf16" : "f32") + " input " + (f.in == MOEC_BF16 ? "bf16" : "f32");
}

// "1..4 panel 4x4 a_hint=none, ..." of a schedule
std::string classes(const StageSchedule &schedule) {
  std::string text;
  for (const ScheduleEntry &e : schedule.entries)
    text += (text.empty() ? "" : ", ") + rowRangeText(e) + " " + e.kernel.templateName + " " +
            std::to_string(e.kernel.integers.at("block_m")) + "/" + std::to_string(e.kernel.integers.at("panel_m")) +
            " " + e.numeric;
  return text;
}

TEST(cpu_schedule, legal_for_every_stage) {
  for (int64_t n : {1, 8, 100, 255, 256, 2048, 1 << 20})
    for (int64_t k : {1,    3,    4,     31,       33,       64,        768,    2048,   4100,    4608,
                      4640, 7168, 14336, 32 * 131, 32 * 262, 32 * 2053, 131072, 131104, 1 << 20, (1 << 20) - 3})
      for (int64_t parts : {1, 2})
        forTypes(n, k, parts, [&](const MatmulStage &f) {
          for (Isa isa : isas) {
            StageSchedule schedule = cpuSchedule(f, isa);
            Result<> checked = checkStage(f, schedule);
            EXPECT_TRUE(checked) << describe(f, isa) << ": " << checked.error().message;
            EXPECT_EQ(schedule.stage, "up");
            bool dot = isa == Isa::Avx512Bf16, pairs = f.bf16Pairs();
            EXPECT_EQ(schedule.isa, (dot || isa == Isa::Amx) && !pairs ? Isa::Avx512 : isa);
            for (const ScheduleEntry &e : schedule.entries)
              EXPECT_EQ(e.numeric, dot && pairs ? "dot" : isa == Isa::Amx && pairs ? "amx" : "fma");
          }
        });
}

TEST(cpu_schedule, row_classes) {
  MatmulStage wide = facts(768, 2048, 2, true, true);
  EXPECT_EQ(classes(cpuSchedule(wide, Isa::Amx)),
            "1..4 panel 4/4 amx, 5..16 panel 16/16 amx, 17..32 panel 32/32 amx, 33..48 panel 48/48 amx, 49..64 panel "
            "32/64 amx, 65..128 panel 32/128 amx, 129.. panel 32/256 amx");
  EXPECT_EQ(classes(cpuSchedule(wide, Isa::Avx2)),
            "1..1 panel 1/1 fma, 2..2 panel 2/2 fma, 3..3 panel 3/3 fma, 4.. panel 3/96 fma");
  EXPECT_EQ(classes(cpuSchedule(wide, Isa::Baseline)), "1.. panel 1/16 fma");
}

// Up to 14 rows (13 with FMA, which spills at 14) one block; above, the fewest blocks of at most 12 rows,
// all of one height.
TEST(cpu_schedule, avx512_blocks_have_no_idle_rows) {
  MatmulStage wide = facts(768, 2048, 2, true, true);
  for (Isa isa : {Isa::Avx512, Isa::Avx512Bf16}) {
    StageSchedule schedule = cpuSchedule(wide, isa);
    int64_t highest = isa == Isa::Avx512 ? 13 : 14;
    for (int64_t rows = 1; rows <= 132; ++rows) {
      const ScheduleEntry &entry = schedule.entries[schedule.entryFor(rows)];
      int64_t height = entry.kernel.integers.at("block_m"), blocks = (rows + height - 1) / height;
      EXPECT_EQ(blocks, rows <= highest ? 1 : (rows + 11) / 12) << rows;
      EXPECT_EQ(height, (rows + blocks - 1) / blocks) << rows;
      EXPECT_EQ(entry.kernel.integers.at("heights"), rows <= highest ? 1 : 2) << rows;
      EXPECT_EQ(entry.kernel.integers.at("tiles"), rows <= 6 ? 1 : 2) << rows;
      EXPECT_EQ(entry.kernel.words.at("hint"), rows <= 6 ? "none" : "t1") << rows;
    }
    EXPECT_EQ(schedule.entries.back().kernel.integers.at("panel_m"), 132);
    EXPECT_LT(schedule.entries.size(), maxScheduleEntries);
  }
}

TEST(cpu_schedule, router_has_two_classes) {
  EXPECT_EQ(classes(cpuSchedule(facts(255, 2048, 1, true, true), Isa::Amx)),
            "1..16 panel 16/16 amx, 17.. panel 32/128 amx");
  EXPECT_EQ(cpuSchedule(facts(256, 2048, 1, true, true), Isa::Amx).entries.size(), 7u);
}

TEST(cpu_schedule, deep_stages_are_chunked) {
  EXPECT_EQ(cpuSchedule(facts(4096, 3072, 1, true, true), Isa::Amx).entries.back().kernel.templateName, "panel");
  TemplateBinding deep = cpuSchedule(facts(4096, 3104, 1, true, true), Isa::Amx).entries.back().kernel;
  EXPECT_EQ(deep.templateName, "panel_chunked");
  EXPECT_EQ(deep.integers.at("chunk"), 16);
  EXPECT_EQ(deep.words.at("a_hint"), "nta");
}

// A row of 2 MiB (tiles) or 4 MiB (f32): classes that would pass 64 MiB are left out, those before take their rows.
TEST(cpu_schedule, very_deep_stages_fit_s6) {
  EXPECT_EQ(classes(cpuSchedule(facts(4096, 1 << 20, 1, true, true), Isa::Amx)),
            "1..4 panel 4/4 amx, 5..16 panel 16/16 amx, 17.. panel 32/32 amx");
  EXPECT_EQ(classes(cpuSchedule(facts(4096, 1 << 20, 1, false, true), Isa::Avx512)),
            "1..1 panel 1/1 fma, 2..2 panel 2/2 fma, 3..3 panel 3/3 fma, 4..4 panel 4/4 fma, 5..5 panel 5/5 fma, "
            "6..6 panel 6/6 fma, 7..7 panel 7/7 fma, 8..8 panel 8/8 fma, 9..9 panel 9/9 fma, 10..10 panel 10/10 fma, "
            "11..11 panel 11/11 fma, 12..12 panel 12/12 fma, 13..13 panel 13/13 fma, 14.. panel 7/14 fma");
  EXPECT_EQ(classes(cpuSchedule(facts(4096, 1 << 20, 1, false, true), Isa::Baseline)), "1.. panel 1/15 fma");
}

TEST(cpu_schedule, prefetch_blocks) {
  EXPECT_EQ(prefetchBlock(64, 2048, 64, 128), 64);     // 128 KiB: the largest of the range
  EXPECT_EQ(prefetchBlock(24, 2048, 64, 128), 24);     // 48 KiB: all there is
  EXPECT_EQ(prefetchBlock(1, 512, 64, 128), 1);        // less than a block
  EXPECT_EQ(prefetchBlock(224, 2048, 64, 128), 56);    // 112 KiB
  EXPECT_EQ(prefetchBlock(2 * 67, 2048, 64, 128), 67); // 134 KiB, nearer than 4 or 268
  EXPECT_EQ(prefetchBlock(127, 2048, 64, 128), 127);   // prime, within 256 KiB
  EXPECT_EQ(prefetchBlock(131, 2048, 64, 128), 131);   // prime and above: no other choice
  EXPECT_EQ(prefetchBlock(2 * 131, 2048, 64, 128), 131);
  EXPECT_EQ(prefetchBlock(11 * 131, 2048, 64, 128), 11); // 22 KiB
  EXPECT_EQ(prefetchBlock(512, 512, 64, 128), 256);
  EXPECT_EQ(prefetchBlock(64, 2048, 16, 32), 16); // 32 KiB
  EXPECT_EQ(prefetchBlock(44, 2048, 16, 32), 11);
}

// Blocks are 16..32 KiB wherever k is a multiple of 1024, whatever the type.
TEST(cpu_schedule, prefetch_blocks_of_round_depths) {
  for (int64_t k = 1024; k <= 32768; k += 1024)
    forTypes(1024, k, 1, [&](const MatmulStage &f) {
      std::map<std::string, int64_t> values = cpuSchedule(f, Isa::Avx512).entries[0].kernel.integers;
      int64_t bytes = values.at("prefetch_block") * values.at("block_k") * 32 * f.weightBytes();
      EXPECT_GE(bytes, 16 << 10) << describe(f, Isa::Avx512);
      EXPECT_LE(bytes, 32 << 10) << describe(f, Isa::Avx512);
    });
}

class Kernels : public testing::Test {
protected:
  Kernels() : context(mlir::MLIRContext::Threading::DISABLED) {
    context.loadDialect<tile::TileDialect, mlir::arith::ArithDialect, mlir::scf::SCFDialect, mlir::LLVM::LLVMDialect,
                        mlir::math::MathDialect, mlir::vector::VectorDialect>();
  }
  MatmulStage stageOf(const MatmulStage &f) {
    MatmulStage stage = f;
    stage.groups = 3;
    int64_t padded = f.weightBytes() == 2 ? (f.k + 31) / 32 * 32 : (f.k + 7) / 8 * 8;
    stage.panelBytes = padded * 32 * f.weightBytes();
    stage.aStride = f.k * f.inputBytes();
    stage.outStride = f.n * 4;
    return stage;
  }
  mlir::OwningOpRef<mlir::ModuleOp> instantiate(const MatmulStage &f, Isa isa, const ScheduleEntry &e) {
    auto module = instantiateKernel(context, stageOf(f), e.kernel, "", "kernel");
    EXPECT_TRUE(module) << describe(f, isa) << " rows " << rowRangeText(e) << ": " << module.error().placedMessage();
    return std::move(*module);
  }
  mlir::MLIRContext context;
};

TEST_F(Kernels, heuristic_entries_instantiate) {
  std::set<std::string> seen;
  for (int64_t n : {8, 300})
    for (int64_t k : {1, 100, 2048, 7168, 32 * 131})
      for (int64_t parts : {1, 2})
        forTypes(n, k, parts, [&](const MatmulStage &f) {
          for (Isa isa : isas)
            for (const ScheduleEntry &e : cpuSchedule(f, isa).entries)
              if (seen.insert(printSchedule({"l", {{describe(f, isa), isa, {e}}}})).second)
                instantiate(f, isa, e);
        });
  EXPECT_GT(seen.size(), 200u);
}

// What S6 counts is what the lowering asks for; the rest of the scratch is the spill area of a chunked kernel.
TEST_F(Kernels, s6_counts_what_the_lowering_takes) {
  for (int64_t k : {100, 7168})
    forTypes(300, k, 1, [&](const MatmulStage &f) {
      for (Isa isa : isas) {
        StageSchedule schedule = cpuSchedule(f, isa);
        for (const ScheduleEntry &e : schedule.entries) {
          auto module = instantiate(f, isa, e);
          ASSERT_TRUE(module);
          mlir::OwningOpRef<mlir::ModuleOp> lowered = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
          int64_t bytes = lowerKernel(*module->getOps<tile::KernelOp>().begin(), isaFacts(schedule.isa),
                                      multiplyOf(e.numeric), *lowered);
          EXPECT_TRUE(mlir::succeeded(mlir::verify(*lowered))) << describe(f, isa);
          int64_t rows = e.kernel.integers.at("panel_m");
          int64_t packed = rows * packedRowBytes(f, e.numeric, e.kernel.integers.at("block_k"));
          int64_t spill = e.kernel.templateName == "panel_chunked" ? rows * 128 : 0;
          EXPECT_EQ(bytes, (packed + 255) / 256 * 256 + (spill + 255) / 256 * 256) << describe(f, isa);
        }
      }
    });
}

} // namespace
} // namespace moec
