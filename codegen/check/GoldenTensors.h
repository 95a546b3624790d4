// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A small safetensors file -> its tensors; and tensors in the storage of a checkpoint -> one role in logical form.

#ifndef MOEC_CODEGEN_CHECK_GOLDENTENSORS_H
#define MOEC_CODEGEN_CHECK_GOLDENTENSORS_H

#include "codegen/check/GoldenCase.h"

namespace moec {

using GoldenTensorMap = std::map<std::string, GoldenTensor>;

// The whole file, at most `limit` bytes. False: `error` names it.
bool readGoldenFile(const std::string &path, size_t limit, std::string &bytes, std::string &error);

// `bytes` are those of a safetensors file. False: `error` says what is wrong, without the file's name.
bool parseSafetensors(const std::string &bytes, GoldenTensorMap &out, std::string &error);

// Assembles the role's tensor [experts][out][in] from the places that `storage` names; names in `tensors` begin with
// `prefix`. Ignores leading extents of 1. False: `error` names the tensor, its shape and the expected one.
bool assembleRole(const Role &role, const WeightStorage &storage, const std::string &prefix,
                  const GoldenTensorMap &tensors, GoldenTensor &out, std::string &error);

} // namespace moec

#endif
