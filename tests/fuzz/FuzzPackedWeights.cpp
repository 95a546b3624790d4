// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Packed weights as a file would give them -> moec_weights_map, and a call with those that are taken. The input is
// changes of good ones.

#include "FuzzTarget.h"

#include "tests/runtime/TinyLayer.h"

#include <cstring>

using namespace moec::fuzz;
using namespace moec::test;

namespace {
struct Good {
  Good() : packed(16384) {
    TinyWeights source(3);
    std::vector<moec_tensor> tensors = source.tensors();
    moec_weights *weights = nullptr;
    require(moec_layer_create(tiny_package(), nullptr, &layer) == MOEC_OK, "a layer is made");
    size_t bytes = 0;
    require(moec_layer_weights_bytes(layer, &bytes) == MOEC_OK && bytes <= packed.size(), "weights have a size");
    require(moec_weights_pack(layer, tensors.data(), tensors.size(), packed.data(), bytes, &weights) == MOEC_OK,
            "weights are packed");
    moec_weights_destroy(weights);
    text.assign(static_cast<const char *>(packed.data()), bytes);
    require(moec_layer_workspace_bytes(layer, tokens, &workspaceBytes) == MOEC_OK, "a call has a workspace");
  }
  ~Good() { moec_layer_destroy(layer); }
  static constexpr int64_t tokens = 3;
  AlignedBytes packed;
  moec_layer *layer = nullptr;
  std::string text;
  size_t workspaceBytes = 0;
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const Good good;
  static AlignedBytes workspace(good.workspaceBytes);
  std::string bytes = patched(good.text, data, size);
  GuardedBytes file(bytes.size(), 4096); // a read behind its end is a crash
  std::memcpy(file.data(), bytes.data(), bytes.size());
  moec_weights *weights = nullptr, *verified = nullptr;
  moec_status strict = moec_weights_map(good.layer, file.data(), bytes.size(), MOEC_MAP_VERIFY, &verified);
  moec_weights_destroy(verified);
  moec_status status = moec_weights_map(good.layer, file.data(), bytes.size(), 0, &weights);
  require(strict != MOEC_OK || status == MOEC_OK, "what passes the checksum is mapped without it, too");
  require((status == MOEC_OK) == (weights != nullptr), "weights are mapped or an error is said");
  if (!weights) {
    require(!lastError().empty(), "an error says something");
    return 0;
  }
  std::vector<float> x = randomInput(Good::tokens, 5), y(x.size());
  moec_forward_args call = {};
  call.struct_size = sizeof call;
  call.num_tokens = Good::tokens;
  call.x = x.data();
  call.y = y.data();
  call.workspace = workspace.data();
  call.workspace_bytes = good.workspaceBytes;
  require(moec_layer_forward(good.layer, weights, &call) == MOEC_OK, "a call with mapped weights runs", lastError());
  moec_weights_destroy(weights);
  return 0;
}
