// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MLIR text in -> MLIR text out, through any pass of MLIR and of this compiler.

#include "codegen/moe/MoeDialect.h"
#include "codegen/pipeline/Passes.h"
#if __has_include("codegen/tile/TileOps.td")
#include "codegen/tile/TileDialect.h"
#endif

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllPasses.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  mlir::registerAllPasses();
  registry.insert<moec::moe::MoeDialect>();
#if __has_include("codegen/tile/TileOps.td")
  registry.insert<moec::tile::TileDialect>();
#endif
  moec::registerMoePasses();
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, "moec compiler passes\n", registry));
}
