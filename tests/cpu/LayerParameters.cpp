// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One stream of draws in the order of rolesOf, so that a spec has the same parameters in every test.

#include "LayerParameters.h"

#include "dsl/spec/SpecReader.h"
#include "runtime/weights/float_convert.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace moec {

float roundedTo(DataType type, float value) {
  return type == DataType::BF16 ? moec_f32_of_bf16(moec_bf16_of_f32(value)) : value;
}

void storeAs(DataType type, const float *values, size_t count, void *to) {
  for (size_t i = 0; i < count; ++i) {
    if (type == DataType::BF16)
      static_cast<uint16_t *>(to)[i] = moec_bf16_of_f32(values[i]);
    else
      static_cast<float *>(to)[i] = values[i];
  }
}

std::string lastErrorText(moec_status status) {
  char text[512];
  moec_last_error(text, sizeof text);
  return std::string(moec_status_name(status)) + ": " + text;
}

bool LayerParameters::draw(const std::string &json, const std::string &fileName) {
  SpecSource source;
  DiagnosticList diagnostics;
  auto read = readSpec(json, fileName, {}, source, diagnostics);
  if (!read) {
    ADD_FAILURE() << render(diagnostics, false);
    return false;
  }
  spec = *read;
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.5f);
  for (const Role &role : tensorsOf(spec)) {
    roles[role.name] = role;
    int64_t size = 1;
    for (int64_t extent : role.shape)
      size *= extent;
    std::vector<float> values(static_cast<size_t>(size));
    for (float &value : values)
      value = normal(random);
    tensors[role.name].resize(values.size());
    set(role.name, values);
  }
  return true;
}

void LayerParameters::set(const std::string &role, const std::vector<float> &values) {
  std::vector<float> &tensor = tensors.at(role);
  ASSERT_EQ(values.size(), tensor.size()) << role;
  DataType type = roles.at(role).matrix ? storedType(spec, roles.at(role)) : spec.dtype.weight;
  for (size_t i = 0; i < values.size(); ++i)
    tensor[i] = roundedTo(type, values[i]);
}

void LayerParameters::fill(const std::string &role, float value) {
  set(role, std::vector<float>(tensors.at(role).size(), value));
}

void LayerParameters::scale(const std::string &role, float factor) {
  std::vector<float> values = tensors.at(role);
  for (float &value : values)
    value *= factor;
  set(role, values);
}

std::vector<float> LayerParameters::randomX(int64_t numTokens, unsigned seed) const {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> x(static_cast<size_t>(numTokens * spec.hidden));
  for (float &value : x)
    value = roundedTo(spec.dtype.activation, normal(random));
  return x;
}

std::vector<moec_tensor> LayerParameters::tensorList() const {
  std::vector<moec_tensor> list;
  for (const auto &[name, role] : roles) {
    moec_tensor tensor = {};
    tensor.role = name.c_str();
    tensor.data = tensors.at(name).data();
    tensor.dtype = MOEC_F32;
    tensor.rank = int32_t(role.shape.size());
    std::copy(role.shape.begin(), role.shape.end(), tensor.dims);
    list.push_back(tensor);
  }
  return list;
}

OracleAnswer LayerParameters::oracle(const std::vector<float> &x) const {
  MemoryWeights weights;
  for (const auto &[name, role] : roles)
    weights.add(role, DataType::F32, tensors.at(name).data());
  ReferenceInputs inputs;
  inputs.numTokens = int64_t(x.size()) / spec.hidden;
  inputs.x = {{inputs.numTokens, spec.hidden}, std::vector<double>(x.begin(), x.end())};
  inputs.weights = &weights;
  Result<ReferenceOutputs> ran = runReference(spec, inputs);
  EXPECT_TRUE(ran) << ran.error().message;
  OracleAnswer out;
  static_cast<ReferenceOutputs &>(out) = std::move(*ran);
  Result<Sensitivity> measured = measureSensitivity(spec, inputs, out, false);
  EXPECT_TRUE(measured) << measured.error().message;
  out.sensitivity = std::move(*measured);
  return out;
}

} // namespace moec
