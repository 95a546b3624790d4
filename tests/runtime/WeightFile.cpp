// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Definitions of WeightFile.h.

#include "WeightFile.h"

#include "runtime/weights/float_convert.h"

#include <cstdio>

namespace moec {
namespace test {

void FileWriter::add(const std::string &name, const std::vector<int64_t> &shape, const std::vector<float> &values,
                     moec_dtype dtype) {
  size_t begin = data.size();
  for (float value : values) {
    uint16_t bits = dtype == MOEC_BF16 ? moec_bf16_of_f32(value) : moec_f16_of_f32(value);
    data.append(dtype == MOEC_F32 ? reinterpret_cast<char *>(&value) : reinterpret_cast<char *>(&bits),
                dtype == MOEC_F32 ? 4 : 2);
  }
  header += (header.empty() ? "{" : ",") + ("\"" + name + "\":{\"dtype\":\"") +
            (dtype == MOEC_F32    ? "F32"
             : dtype == MOEC_BF16 ? "BF16"
                                  : "F16") +
            "\",\"shape\":[";
  for (size_t i = 0; i < shape.size(); ++i)
    header += (i ? "," : "") + std::to_string(shape[i]);
  header += "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
}

void FileWriter::write(const std::string &path) const {
  std::string text = header + "}", length(8, '\0');
  for (size_t i = 0; i < 8; ++i)
    length[i] = static_cast<char>(text.size() >> (8 * i));
  FILE *stream = std::fopen(path.c_str(), "wb");
  for (const std::string &part : {length, text, data})
    std::fwrite(part.data(), 1, part.size(), stream);
  std::fclose(stream);
}

std::vector<float> gateUpEvenOdd(const TinyWeights &w) {
  std::vector<float> out;
  for (int64_t e = 0; e < experts; ++e)
    for (int64_t d = 0; d < hidden; ++d)
      for (int64_t i = 0; i < inner; ++i) {
        out.push_back(w.gate[(e * inner + i) * hidden + d]);
        out.push_back(w.up[(e * inner + i) * hidden + d]);
      }
  return out;
}

std::vector<float> slice(const std::vector<float> &values, int64_t from, int64_t count) {
  return {values.begin() + from, values.begin() + from + count};
}

// experts.down [E, H, I] as stored: [E, H', I] or [E, I, H'], H' = 2H where only a part is taken.
static std::vector<float> storedDown(const TinyWeights &w, int axes, int part) {
  int64_t stored = part == MOEC_PART_ALL ? hidden : 2 * hidden;
  std::vector<float> values;
  for (int64_t e = 0; e < experts; ++e)
    for (int64_t i = 0; i < stored * inner; ++i) {
      int64_t out = axes == MOEC_AXES_OUT_IN ? i / inner : i % stored,
              in = axes == MOEC_AXES_OUT_IN ? i % inner : i / stored;
      bool second = part == MOEC_PART_EVEN || part == MOEC_PART_ODD ? out % 2 : out >= hidden;
      bool wanted = part == MOEC_PART_ALL || second == (part == MOEC_PART_SECOND_HALF || part == MOEC_PART_ODD);
      int64_t row = part == MOEC_PART_ALL ? out : part >= MOEC_PART_EVEN ? out / 2 : out % hidden;
      values.push_back(wanted ? w.down[(e * hidden + row) * inner + in] : 1e30f);
    }
  return values;
}

// [E, rows, columns, run] -> [rows, columns, E, run].
static std::vector<float> expertsInside(const std::vector<float> &values, int64_t rows, int64_t columns, int64_t run) {
  std::vector<float> out;
  for (int64_t place = 0; place < rows * columns; ++place)
    for (int64_t e = 0; e < experts; ++e)
      for (int64_t i = 0; i < run; ++i)
        out.push_back(values[size_t((e * rows * columns + place) * run + i)]);
  return out;
}

FileWriter fileWithDown(const TinyWeights &w, int stack, int axes, int part, moec_dtype dtype) {
  std::vector<float> values = storedDown(w, axes, part);
  int64_t stored = part == MOEC_PART_ALL ? hidden : 2 * hidden;
  int64_t rows = axes == MOEC_AXES_OUT_IN ? stored : inner, columns = axes == MOEC_AXES_OUT_IN ? inner : stored;
  FileWriter file;
  file.add("router.weight", {1, experts, hidden}, w.router, dtype); // a leading 1 is ignored
  file.add("experts.gate_up", {experts, hidden, 2 * inner}, gateUpEvenOdd(w), dtype);
  if (stack == MOEC_STACK_STACKED)
    file.add("experts.{e}.down", {experts, rows, columns}, values, dtype);
  else if (stack == MOEC_STACK_FLAT_ROWS)
    file.add("experts.{e}.down", {experts * rows, columns}, values, dtype);
  else if (stack == MOEC_STACK_INTERLEAVED_COLUMNS && axes == MOEC_AXES_OUT_IN)
    file.add("experts.{e}.down", {rows, columns * experts}, expertsInside(values, rows, columns, 1), dtype);
  else if (stack == MOEC_STACK_INTERLEAVED_COLUMNS)
    file.add("experts.{e}.down", {rows * experts, columns}, expertsInside(values, rows, 1, columns), dtype);
  else
    for (int64_t e = 0; e < experts; ++e)
      file.add("experts." + std::to_string(e) + ".down", {rows, columns},
               slice(values, e * rows * columns, rows * columns), dtype);
  return file;
}

} // namespace test
} // namespace moec
