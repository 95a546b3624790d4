// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The walk of a matmul template: what each of its ops becomes. Private to codegen/cuda/CudaMatmul*.cpp.
//
//     CudaMatmulShape     constants of template and stage: how A arrives, what is early, how sums leave, roles
//     CudaMatmulBlock     the thread, the ring of slots in shared memory
//     CudaMatmulTiles     the tile under way and its buffers
//     CudaMatmulCopies    global rows -> a slot
//     emitMultiply        a slot -> sums
//     CudaMatmulRoles     the same two by producer and consumers around mbarriers
//     CudaMatmulResults   sums -> epilogue -> output

#ifndef MOEC_CODEGEN_CUDA_CUDAMATMULLOWERING_H
#define MOEC_CODEGEN_CUDA_CUDAMATMULLOWERING_H

#include "codegen/cuda/CudaMatmul.h"
#include "codegen/cuda/CudaMatmulRoles.h"
#include "codegen/cuda/CudaMatmulStore.h"
#include "codegen/lower/TemplateWalk.h"

namespace moec {

class CudaMatmulLowering : public TemplateWalk {
public:
  CudaMatmulLowering(tile::KernelOp kernel, int64_t sm)
      : TemplateWalk(e), e(mlir::OpBuilder(kernel.getContext()), kernel.getLoc()), kernel(kernel), sm(sm),
        shape(kernel, sm) {}
  CudaMatmulFacts run(mlir::ModuleOp module, llvm::StringRef symbol);
  CudaKernelFacts runSums(mlir::ModuleOp module, llvm::StringRef symbol);
  void sumsWithin(const CudaEmitter &outer, CudaKernelShell &shell, const CudaMatmulArgs<mlir::Value> &arguments,
                  int64_t threads);

private:
  bool lowerOp(mlir::Operation *op) override;
  void lowerTiles(tile::ForTilesOp op);
  void lowerCopy(tile::CopyOp op);
  void lowerRoles(tile::RolesOp op);
  bool returnsVacant(tile::ForTilesOp op) const; // of the consumers' loop
  void begin(CudaKernelShell &shell, const CudaMatmulArgs<mlir::Value> &arguments);
  void addShares(mlir::Value index);
  void askForWeights(); // CudaMatmulEarly.cpp
  CudaMatmulFacts facts() const;

  CudaEmitter e;
  tile::KernelOp kernel;
  int64_t sm;
  CudaMatmulShape shape;
  CudaMatmulBlock block = {e, shape};
  CudaMatmulTiles tiles = {block, kernel};
  CudaMatmulCopies copies = {block, tiles};
  CudaMatmulRoles roles = {block, tiles, copies};
  CudaMatmulResults results = {block, tiles};
  mlir::Value steps; // i64, steps of all tiles of the block, after the loop over them
};

} // namespace moec

#endif
