// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// safetensors.h - named arrays of f32, and texts beside them, in a file that every tool of the field reads.
#ifndef TRAIN_SAFETENSORS_H
#define TRAIN_SAFETENSORS_H

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace train {

struct StoredTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

struct SafeTensors {
  std::map<std::string, StoredTensor> tensors;
  std::map<std::string, std::string> texts; // "__metadata__"
};

// Both throw std::runtime_error that names the file and what is wrong. Writing replaces the file at once: whoever reads
// it meanwhile, or after a crash, finds the old file or the new one.
SafeTensors read_safetensors(const std::string &path);
void write_safetensors(const std::string &path, const SafeTensors &content);

} // namespace train
#endif
