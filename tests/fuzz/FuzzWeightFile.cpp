// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A safetensors header, or an index of several files, -> moec_weights_load of the hand-written package. The data behind
// the header are 16 KiB of one pattern. Text that names a weight_map is an index beside a good file.

#include "FuzzTarget.h"

#include "tests/runtime/WeightFile.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace moec::fuzz;
using namespace moec::test;
namespace fs = std::filesystem;

namespace {

constexpr size_t packedBytes = 16384;
constexpr unsigned char untouched = 0x5a;

struct Files {
  Files() {
    std::string pattern = (fs::temp_directory_path() / "moec-fuzz-XXXXXX").string();
    require(mkdtemp(pattern.data()) != nullptr, "a temporary folder can be made", pattern);
    folder = pattern;
    file = folder + "/model.safetensors";
    index = folder + "/model.safetensors.index.json";
    fileWithDown(TinyWeights(7), MOEC_STACK_SINGLE, 0, MOEC_PART_ALL, MOEC_F32).write(folder + "/good.safetensors");
    require(moec_layer_create(tiny_package(), nullptr, &layer) == MOEC_OK, "a layer is made");
  }
  ~Files() {
    moec_layer_destroy(layer);
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }
  std::string folder, file, index;
  moec_layer *layer = nullptr;
};

std::string withData(const std::string &header) {
  std::string bytes(8, '\0');
  for (size_t i = 0; i < 8; ++i)
    bytes[i] = char(uint64_t(header.size()) >> (8 * i));
  return bytes + header + std::string(16384, '?');
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const Files files;
  static AlignedBytes packed(packedBytes);
  std::string text = textOf(data, size);
  bool isIndex = text.find("weight_map") != std::string::npos;
  const std::string &path = isIndex ? files.index : files.file;
  std::ofstream(path, std::ios::binary) << (isIndex ? text : withData(text));
  for (const char *prefix : {"", "p."}) {
    std::memset(packed.data(), untouched, packedBytes);
    moec_weights *weights = nullptr;
    moec_status status = moec_weights_load(files.layer, path.c_str(), prefix, packed.data(), packedBytes, &weights);
    require((status == MOEC_OK) == (weights != nullptr), "weights are loaded or an error is said");
    if (status == MOEC_OK) {
      moec_weights_destroy(weights);
      continue;
    }
    requirePrintable(lastError(), "a message is printable");
    require(!lastError().empty(), "an error says something");
  }
  return 0;
}
