// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Units to and from files, and onto a device.

#include "UnitCheck.h"

#include "CheckedPackage.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace moec {

bool writeUnit(const std::string &path, const Unit &unit) {
  std::ofstream file(path, std::ios::binary);
  file << "moec-unit 2 " << unit.threads << " " << unit.shared << " " << unit.input.size() << " " << unit.output.size()
       << " " << unit.ulp << " " << unit.sums.size() << " " << unit.image.size() << "\n";
  file.write(unit.input.data(), std::streamsize(unit.input.size()));
  file.write(unit.output.data(), std::streamsize(unit.output.size()));
  file.write(unit.sums.data(), std::streamsize(unit.sums.size()));
  file.write(unit.image.data(), std::streamsize(unit.image.size()));
  return bool(file.flush());
}

bool readUnit(const std::string &path, Unit &unit) {
  std::ifstream file(path, std::ios::binary);
  std::string line, magic;
  size_t version = 0, input = 0, output = 0, sums = 0, image = 0;
  std::getline(file, line);
  std::istringstream words(line);
  words >> magic >> version >> unit.threads >> unit.shared >> input >> output >> unit.ulp >> sums >> image;
  if (!words || magic != "moec-unit" || version != 2 || std::max({input, output, image}) > size_t(1) << 26 ||
      (sums && sums != output))
    return false;
  unit.input.resize(input), unit.output.resize(output), unit.sums.resize(sums), unit.image.resize(image);
  file.read(unit.input.data(), std::streamsize(input));
  file.read(unit.output.data(), std::streamsize(output));
  file.read(unit.sums.data(), std::streamsize(sums));
  file.read(unit.image.data(), std::streamsize(image));
  return bool(file);
}

bool runUnit(const DeviceContext &device, const Unit &unit, std::vector<char> &output, std::string &error) {
  const moec_cuda_driver *driver = device.driver;
  void *module = nullptr, *function = nullptr;
  auto check = [&](int result, const char *what) {
    if (result != MOEC_CUDA_SUCCESS)
      error = std::string(what) + ": CUDA error " + std::to_string(result);
    return result == MOEC_CUDA_SUCCESS;
  };
  if (!check(driver->module_load_data_ex(&module, unit.image.data(), 0, nullptr, nullptr), "image"))
    return false;
  DeviceMemory in(device, unit.input.size()), out(device, unit.output.size());
  bool good =
      in.upload(unit.input.data()) && out.fill(0xff) &&
      check(driver->module_get_function(&function, module, "unit"), "kernel") &&
      check(driver->func_set_attribute(function, MOEC_CUDA_MAX_DYNAMIC_SHARED, int(unit.shared)), "shared memory");
  int64_t tokens = 1;
  void *inData = in.data(), *outData = out.data();
  alignas(128) char map[MOEC_CUDA_MAP_BYTES] = {};
  const uint64_t dims[] = {64, 64, 1}, strides[] = {128, 8192};
  const uint32_t box[] = {64, 64, 1}, steps[] = {1, 1, 1};
  const int bf16 = 9, swizzle128 = 3; // CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, CU_TENSOR_MAP_SWIZZLE_128B
  if (unit.input.size() >= 8192)
    good = good &&
           check(driver->tensor_map_encode_tiled(map, bf16, 3, inData, dims, strides, box, steps, 0, swizzle128, 0, 0),
                 "TMA descriptor");
  void *params[] = {&tokens, &inData, &outData, map};
  moec_cuda_launch_config config = {};
  config.grid_x = config.grid_y = config.grid_z = config.block_y = config.block_z = 1;
  config.block_x = unit.threads;
  config.shared_bytes = unit.shared;
  good = good && check(driver->launch_kernel_ex(&config, function, params, nullptr), "launch") &&
         succeeded(device.synchronize(), error);
  output.resize(unit.output.size());
  good = good && out.download(output.data());
  driver->module_unload(module);
  if (good && device.complaints)
    error = device.complaints();
  return good && error.empty();
}

// Floats of one sign in order of their bits are in order of their values: the distance of the bits is that in ulp.
static int64_t ordered(uint32_t bits) { return bits >> 31 ? -int64_t(bits & 0x7fffffff) : int64_t(bits); }

static float floatAt(const std::vector<char> &bytes, size_t offset) {
  float value;
  std::memcpy(&value, &bytes[offset], 4);
  return value;
}

// False for NaN.
static bool isNearSum(float want, float got, float sum) {
  const double lost = 0x1p-20;
  return std::fabs(double(want) - double(got)) <= lost * double(sum);
}

std::vector<size_t> differingWords(const Unit &unit, const std::vector<char> &output) {
  std::vector<size_t> differing;
  for (size_t i = 0; i + 4 <= unit.output.size(); i += 4) {
    uint32_t want, got;
    std::memcpy(&want, &unit.output[i], 4);
    std::memcpy(&got, &output[i], 4);
    bool right = unit.sums.empty() ? std::llabs(ordered(want) - ordered(got)) <= int64_t(unit.ulp)
                                   : isNearSum(floatAt(unit.output, i), floatAt(output, i), floatAt(unit.sums, i));
    if (!right)
      differing.push_back(i / 4);
  }
  return differing;
}

// Some of the words, spread over all: the one who reads them has no device.
static std::string examples(const Unit &unit, const std::vector<char> &output, const std::vector<size_t> &differing) {
  constexpr size_t most = 6;
  std::string text;
  for (size_t i = 0, count = std::min(most, differing.size()); i < count; ++i) {
    size_t word = differing[i * differing.size() / count];
    uint32_t bits;
    std::memcpy(&bits, &output[4 * word], 4);
    char one[112];
    std::snprintf(one, sizeof one, "%s word %zu is %.9g (%08x), expected %.9g", i ? "," : ";", word,
                  double(floatAt(output, 4 * word)), bits, double(floatAt(unit.output, 4 * word)));
    text += one;
  }
  return text;
}

int checkUnits(const std::string &folder, const CaseOptions &options, const DeviceContext &device) {
  Report report("unit", options);
  for (const std::string &name : report.casesIn(folder, ".unit")) {
    report.begin(name);
    Unit unit;
    std::vector<char> output;
    std::string error = "the file cannot be read";
    bool ran = readUnit(folder + "/" + name + ".unit", unit) && runUnit(device, unit, output, error = "");
    std::vector<size_t> wrong = ran ? differingWords(unit, output) : std::vector<size_t>();
    std::string words = std::to_string(wrong.size()) + " of " + std::to_string(output.size() / 4) + " words differ" +
                        examples(unit, output, wrong);
    if (ran && wrong.empty())
      report.pass(name, words);
    else
      report.fail(name, ran ? words : error);
  }
  return report.summary();
}

} // namespace moec
