/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * float_convert.h - bits of f32, bf16 and f16 in -> bits of another of them out, rounded to nearest even.
 *
 * NaN stays a quiet NaN, infinities and signed zeros stay, f16 overflow becomes infinity, f16 denormals are exact.
 */
#ifndef MOEC_RUNTIME_WEIGHTS_FLOAT_CONVERT_H
#define MOEC_RUNTIME_WEIGHTS_FLOAT_CONVERT_H

#include <stdint.h>
#include <string.h>

static inline uint32_t moec_bits_of_f32(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

static inline float moec_f32_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

static inline float moec_f32_of_bf16(uint16_t bits) { return moec_f32_of_bits((uint32_t)bits << 16); }

static inline uint16_t moec_bf16_of_f32(float value) {
  uint32_t bits = moec_bits_of_f32(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return (uint16_t)(bits >> 16 | 0x40u);
  return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float moec_f32_of_f16(uint16_t half) {
  uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = half >> 10 & 0x1fu, mantissa = half & 0x3ffu;
  if (exponent == 0x1f)
    return moec_f32_of_bits(sign | 0x7f800000u | mantissa << 13 | (mantissa ? 0x400000u : 0u));
  if (exponent)
    return moec_f32_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
  float magnitude = (float)mantissa * 0x1p-24f; /* exact: 10 bits times a power of two */
  return sign ? -magnitude : magnitude;
}

static inline uint16_t moec_f16_of_f32(float value) {
  uint32_t bits = moec_bits_of_f32(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
  if (magnitude >= 0x47800000u) /* 2^16 and more */
    return (uint16_t)(sign | 0x7c00u);
  if (magnitude >= 0x38800000u) /* normal: rounding may carry into the exponent, up to infinity */
    return (uint16_t)(sign | ((magnitude + 0xfffu + (magnitude >> 13 & 1u) - (112u << 23)) >> 13));
  uint32_t exponent = magnitude >> 23;
  if (exponent < 102) /* below 2^-25: nearest is zero */
    return (uint16_t)sign;
  uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u, shift = 126 - exponent;
  uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1), half = 1u << (shift - 1);
  return (uint16_t)(sign | (kept + (rest > half || (rest == half && (kept & 1u)))));
}

#endif
