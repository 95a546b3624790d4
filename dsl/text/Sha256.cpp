// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// SHA-256 over the whole input at once; the constants are computed, being the first 32 bits of the fractional parts of
// the square roots (start state) and cube roots (round constants) of the first primes.

#include "dsl/text/Sha256.h"

namespace moec {

namespace {

uint32_t rotateRight(uint32_t x, int n) { return (x >> n) | (x << (32 - n)); }

// floor(frac(n^(1/root)) * 2^32) by bisection in 128-bit integers: the largest r with r^root <= n * 2^(32*root).
uint32_t rootFraction(uint32_t n, int root) {
  using Wide = unsigned __int128;
  uint64_t low = 0, high = uint64_t(1) << 36;
  while (high - low > 1) {
    uint64_t middle = low + (high - low) / 2;
    // middle < 2^36, so its cube needs 108 bits and n * 2^96 needs 105.
    Wide power = Wide(middle) * middle, limit = Wide(n) << 64;
    if (root == 3) {
      power *= middle;
      limit <<= 32;
    }
    (power <= limit ? low : high) = middle;
  }
  return uint32_t(low);
}

struct Constants {
  uint32_t start[8], round[64];
  Constants() {
    int count = 0;
    for (uint32_t n = 2; count < 64; ++n) {
      bool prime = true;
      for (uint32_t d = 2; d * d <= n; ++d)
        prime = prime && n % d != 0;
      if (!prime)
        continue;
      if (count < 8)
        start[count] = rootFraction(n, 2);
      round[count++] = rootFraction(n, 3);
    }
  }
};

void addBlock(uint32_t (&state)[8], const uint8_t *block, const Constants &constants) {
  uint32_t w[64];
  for (int i = 0; i < 16; ++i)
    w[i] = uint32_t(block[4 * i]) << 24 | uint32_t(block[4 * i + 1]) << 16 | uint32_t(block[4 * i + 2]) << 8 |
           block[4 * i + 3];
  for (int i = 16; i < 64; ++i) {
    uint32_t s0 = rotateRight(w[i - 15], 7) ^ rotateRight(w[i - 15], 18) ^ (w[i - 15] >> 3);
    uint32_t s1 = rotateRight(w[i - 2], 17) ^ rotateRight(w[i - 2], 19) ^ (w[i - 2] >> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  uint32_t v[8];
  for (int i = 0; i < 8; ++i)
    v[i] = state[i];
  for (int i = 0; i < 64; ++i) {
    uint32_t s1 = rotateRight(v[4], 6) ^ rotateRight(v[4], 11) ^ rotateRight(v[4], 25);
    uint32_t choose = (v[4] & v[5]) ^ (~v[4] & v[6]);
    uint32_t t1 = v[7] + s1 + choose + constants.round[i] + w[i];
    uint32_t s0 = rotateRight(v[0], 2) ^ rotateRight(v[0], 13) ^ rotateRight(v[0], 22);
    uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
    for (int j = 7; j > 0; --j)
      v[j] = v[j - 1];
    v[4] += t1;
    v[0] = t1 + s0 + majority;
  }
  for (int i = 0; i < 8; ++i)
    state[i] += v[i];
}

} // namespace

Sha256Digest sha256(std::string_view bytes) {
  static const Constants constants;
  std::string padded(bytes.substr(bytes.size() / 64 * 64));
  padded += char(0x80);
  padded.resize((padded.size() + 8 + 63) / 64 * 64, '\0');
  uint64_t bits = uint64_t(bytes.size()) * 8;
  for (int i = 0; i < 8; ++i)
    padded[padded.size() - 1 - i] = char(bits >> (8 * i));
  uint32_t state[8];
  for (int i = 0; i < 8; ++i)
    state[i] = constants.start[i];
  for (size_t i = 0; i + 64 <= bytes.size(); i += 64)
    addBlock(state, reinterpret_cast<const uint8_t *>(bytes.data()) + i, constants);
  for (size_t i = 0; i < padded.size(); i += 64)
    addBlock(state, reinterpret_cast<const uint8_t *>(padded.data()) + i, constants);
  Sha256Digest digest;
  for (int i = 0; i < 32; ++i)
    digest[i] = uint8_t(state[i / 4] >> (24 - 8 * (i % 4)));
  return digest;
}

std::string hexText(const Sha256Digest &digest) {
  std::string text;
  for (uint8_t byte : digest) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

} // namespace moec
