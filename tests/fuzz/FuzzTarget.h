// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the targets of this folder share. A target is one file: bytes of anybody -> one reader of moec, and what must
// hold of its answer. libFuzzer calls it in tests/fuzz.sh, SeedRunner.cpp in the tests.

#ifndef MOEC_TESTS_FUZZ_FUZZTARGET_H
#define MOEC_TESTS_FUZZ_FUZZTARGET_H

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

namespace moec::fuzz {

// Ends the process, as a crash would, with the reason.
inline void require(bool holds, const char *what, const std::string &detail = {}) {
  if (holds)
    return;
  std::fprintf(stderr, "NOT SO: %s\n%s\n", what, detail.c_str());
  std::abort();
}

// A terminal acts on control characters, so no message holds one.
inline void requirePrintable(const std::string &text, const char *what) {
  for (unsigned char c : text)
    require(c == '\n' || (c >= 0x20 && c != 0x7f), what, text);
}

inline std::string textOf(const uint8_t *data, size_t size) {
  return size ? std::string(reinterpret_cast<const char *>(data), size) : std::string();
}

// Input as changes of a good file: triples of an offset (2 bytes, little end first) and a byte that is added there. The
// first byte, times 64, is how many bytes are cut off the end.
inline std::string patched(std::string bytes, const uint8_t *data, size_t size) {
  if (size) {
    size_t cut = size_t(data[0]) * 64;
    bytes.resize(bytes.size() > cut ? bytes.size() - cut : 0);
  }
  for (size_t i = 1; i + 2 < size && !bytes.empty(); i += 3)
    bytes[size_t(data[i] | data[i + 1] << 8) % bytes.size()] += char(data[i + 2]);
  return bytes;
}

} // namespace moec::fuzz

#endif
