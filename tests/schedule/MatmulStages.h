// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Test fixture: shapes and types -> a matmul stage for a schedule.

#ifndef MOEC_TESTS_SCHEDULE_MATMULSTAGES_H
#define MOEC_TESTS_SCHEDULE_MATMULSTAGES_H

#include "codegen/tile/MatmulStage.h"

namespace moec {

inline MatmulStage matmulStage(const std::string &name, int64_t n, int64_t k, int64_t parts, bool bf16Weight,
                               bool bf16Input) {
  MatmulStage stage;
  stage.name = name;
  stage.n = n, stage.k = k, stage.parts = parts;
  stage.panels = (n + stage.columnsPerPanel() - 1) / stage.columnsPerPanel();
  stage.weight = bf16Weight ? MOEC_BF16 : MOEC_F32;
  stage.in = bf16Input ? MOEC_BF16 : MOEC_F32;
  return stage;
}

} // namespace moec

#endif
