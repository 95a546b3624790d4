// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Names -> fields of moec_forward_args and moec_backward_args.

#include "codegen/check/CallInputs.h"

#include "codegen/check/RandomTensors.h"

#include <cstring>

namespace moec {

template <typename Args> static const void **fieldOf(Args &args, const std::string &name) {
  struct Field {
    const char *name;
    const void **pointer;
  };
  auto field = [](auto &pointer) { return reinterpret_cast<const void **>(&pointer); };
  const Field fields[] = {{"residual", &args.residual},
                          {"noise", field(args.noise)},
                          {"uniform", field(args.uniform)},
                          {"token_ids", field(args.token_ids)},
                          {"expert_ids", field(args.expert_ids)},
                          {"expert_weights", field(args.expert_weights)},
                          {"group_ids", field(args.group_ids)},
                          {"priority", field(args.priority)},
                          {"capacity", field(args.capacity)},
                          {"top_k", field(args.top_k)},
                          {"jitter", field(args.jitter)},
                          {"replace", field(args.replace)},
                          {"replace_ids", field(args.replace_ids)},
                          {"hidden_mask", field(args.hidden_mask)},
                          {"output_mask", field(args.output_mask)},
                          {"expert_mask", field(args.expert_mask)},
                          {"midpoint_mask", field(args.midpoint_mask)}};
  for (const Field &entry : fields)
    if (name == entry.name)
      return entry.pointer;
  return nullptr;
}

const void **inputField(moec_forward_args &args, const std::string &name) { return fieldOf(args, name); }
const void **inputField(moec_backward_args &args, const std::string &name) { return fieldOf(args, name); }

bool CallInputs::set(const std::string &name, const std::vector<double> &values, DataType activation) {
  moec_forward_args args = {};
  if (!inputField(args, name))
    return false;
  bool integers = name == "capacity" || name == "top_k" || (name.size() > 4 && name.substr(name.size() - 4) == "_ids");
  DataType type = name == "residual" ? activation : DataType::F32;
  std::vector<char> &to = bytes[name];
  to.resize(values.size() * size_t(dataTypeBits(type)) / 8);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!integers) {
      storeElement(to.data(), type, int64_t(i), values[i]);
      continue;
    }
    int32_t value = int32_t(values[i]);
    std::memcpy(to.data() + 4 * i, &value, 4);
  }
  return true;
}

template <typename Args> static void fillWith(const CallInputs &inputs, Args &args) {
  args.tokens_per_sequence = inputs.tokensPerSequence;
  for (const auto &[name, data] : inputs.bytes)
    *inputField(args, name) = data.data();
}

void CallInputs::fill(moec_forward_args &args) const { fillWith(*this, args); }
void CallInputs::fill(moec_backward_args &args) const { fillWith(*this, args); }

} // namespace moec
