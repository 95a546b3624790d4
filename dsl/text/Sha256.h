// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bytes -> SHA-256 (FIPS 180-4): identity of specs and of the files of a package.

#ifndef MOEC_DSL_TEXT_SHA256_H
#define MOEC_DSL_TEXT_SHA256_H

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace moec {

using Sha256Digest = std::array<uint8_t, 32>;

Sha256Digest sha256(std::string_view bytes);
std::string hexText(const Sha256Digest &digest); // 64 small hex digits

} // namespace moec

#endif
