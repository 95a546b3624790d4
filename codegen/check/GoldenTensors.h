// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A small safetensors file -> its tensors; and tensors in the storage of a checkpoint -> one role in logical form.

#ifndef MOEC_CODEGEN_CHECK_GOLDENTENSORS_H
#define MOEC_CODEGEN_CHECK_GOLDENTENSORS_H

#include "codegen/check/GoldenCase.h"

namespace moec {

using GoldenTensorMap = std::map<std::string, GoldenTensor>;

// A tensor inside the bytes of a file, which must outlive it.
struct TensorView {
  DataType type = DataType::F32;
  std::vector<int64_t> shape;
  std::string_view bytes;

  // Values `first` to `first` + `count`, of those in order.
  std::vector<double> values(int64_t first, int64_t count) const;
};
using TensorViewMap = std::map<std::string, TensorView>;

// The whole file, at most `limit` bytes. An error is E-FILE.
Result<std::string> readGoldenFile(const std::string &path, size_t limit);

// `bytes`: the contents of a safetensors file. The error, E-GOLDEN, does not name the file.
Result<TensorViewMap> viewSafetensors(std::string_view bytes);
Result<GoldenTensorMap> parseSafetensors(const std::string &bytes);

// Assembles the role's tensor [experts][out][in] from the places that `storage` names; names in `tensors` begin with
// `prefix`. Ignores leading extents of 1. The error, E-GOLDEN, names the tensor, its shape and the expected one.
Result<GoldenTensor> assembleRole(const Role &role, const WeightStorage &storage, const std::string &prefix,
                                  const GoldenTensorMap &tensors);

} // namespace moec

#endif
