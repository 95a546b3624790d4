// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A spec -> parameters and inputs drawn for it, the form in which the runtime takes them, and the oracle's outputs.

#ifndef MOEC_TESTS_CPU_LAYERPARAMETERS_H
#define MOEC_TESTS_CPU_LAYERPARAMETERS_H

#include "CallResult.h"
#include "runtime/moec.h"

#include <map>
#include <string>
#include <vector>

namespace moec {

float roundedTo(DataType type, float value);                              // f32 or bf16
void storeAs(DataType type, const float *values, size_t count, void *to); // the same types
std::string lastErrorText(moec_status status);                            // "MOEC_...: text"

// What the layers of tests have in common, however they were compiled. Its const members are thread-safe.
class LayerParameters {
public:
  // Parameters start as draws from N(0, 0.5²). False: the spec was refused and a failure reported to gtest.
  bool draw(const std::string &json, const std::string &fileName);

  // Values are rounded to the weight type. They take effect with the next packing.
  void set(const std::string &role, const std::vector<float> &values);
  void fill(const std::string &role, float value);
  void scale(const std::string &role, float factor);
  std::vector<float> &tensor(const std::string &role) { return tensors.at(role); }

  // x [T,H]: draws from N(0,1) rounded to the activation type; row t is the same for every count.
  std::vector<float> randomX(int64_t numTokens, unsigned seed = 1) const;
  // The oracle and its sensitivity with the parameters set at the moment.
  OracleAnswer oracle(const std::vector<float> &x) const;

  LayerSpec spec;

protected:
  // For moec_weights_pack; valid until a parameter is set.
  std::vector<moec_tensor> tensorList() const;

private:
  std::map<std::string, Role> roles;
  std::map<std::string, std::vector<float>> tensors;
};

} // namespace moec

#endif
