// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// combine.rows on the emulator: y of rounded rows is exactly what it is by hand, also where rows are added to their
// tokens without being stored.

#include "tests/cpu/RoundedRows.h"

#include "codegen/check/LayerRun.h"
#include "codegen/emulate/EmulatedDevice.h"
#include "codegen/emulate/LoadedPackage.h"
#include "codegen/pipeline/Pipeline.h"

#include "dsl/spec/SpecReader.h"

#include <gtest/gtest.h>

using namespace moec;

namespace {

struct EmulatedRows {
  std::optional<LayerSpec> spec;
  std::unique_ptr<CompiledPackage> compiled;
  std::unique_ptr<EmulatedDevice> device;
  std::unique_ptr<LoadedPackage> package;

  bool compile(const RoundedRows &rows, CudaArch arch, Determinism determinism) {
    SpecSource source;
    DiagnosticList diagnostics;
    spec = readSpec(rows.json(), "rows.json", {}, source, diagnostics);
    CompileInput input;
    input.spec = &*spec;
    CompileOptions options;
    options.isas = IsaSet{};
    options.archs = {arch};
    options.emulateCuda = true;
    options.determinism = determinism;
    std::vector<Diagnostic> errors;
    compiled = compileLayer(input, options, errors);
    if (!compiled)
      return false;
    Result<std::unique_ptr<EmulatedDevice>> made = EmulatedDevice::make(*compiled);
    Result<std::unique_ptr<LoadedPackage>> loaded = LoadedPackage::load(*compiled);
    if (!made || !loaded)
      return false;
    device = std::move(*made);
    package = std::move(*loaded);
    return true;
  }
};

void checkRows(const RoundedRows &rows, CudaArch arch, Determinism determinism) {
  SCOPED_TRACE(rows.json());
  EmulatedRows emulated;
  ASSERT_TRUE(emulated.compile(rows, arch, determinism));
  std::map<std::string, std::vector<float>> parameters = rows.parameters();
  RoleTensors tensors;
  for (const Role &role : tensorsOf(*emulated.spec))
    tensors[role.name] = {DataType::F32, parameters.at(role.name).data(), role.shape};
  LayerRun run(emulated.package->get());
  Result<> prepared = run.prepare(emulated.device->context(), tensors);
  ASSERT_TRUE(prepared) << prepared.error().message;
  run.poisonWorkspace(true);
  for (int64_t tokens : {1, 40}) {
    std::vector<float> x = rows.x(tokens), y(x.size(), -1);
    std::vector<uint16_t> narrow(x.size());
    for (size_t i = 0; i < x.size(); ++i)
      storeElement(narrow.data(), emulated.spec->dtype.activation, int64_t(i), x[i]);
    Result<> done = run.forward(tokens, narrow.data(), y.data(), LayerRun::noOptional());
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(std::vector<double>(y.begin(), y.end()), rows.y(tokens)) << tokens << " tokens";
  }
}

TEST(CudaCombineRows, YIsThatOfTheRoundedRows) {
  for (const char *type : {"bf16", "f16"})
    for (const RoundedRows &rows : roundedRows(type))
      for (CudaArch arch : {CudaArch::Sm80, CudaArch::Sm90a})
        checkRows(rows, arch, Determinism::Run);
}

TEST(CudaCombineRows, RowsThatAreNeverStoredAreRoundedToo) {
  for (const RoundedRows &rows : roundedRows("bf16"))
    checkRows(rows, CudaArch::Sm90a, Determinism::Off);
}

} // namespace
