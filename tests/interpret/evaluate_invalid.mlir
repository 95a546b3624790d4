// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Functions that --moe-evaluate refuses: values that would take all memory, values and token counts that do not fit.
// RUN: moec-opt %s --moe-evaluate -split-input-file -verify-diagnostics

func.func @elements(%x: tensor<?x1xf32> {moe.value = dense<1.0> : tensor<2x1xf32>}) -> tensor<?x2147483647xf32> {
  // expected-error@+1 {{has more than 2^31 elements at 2 tokens; the interpreter stops here}}
  %y = moe.map (%a = %x segment : tensor<?x1xf32>) -> tensor<?x2147483647xf32> {
    moe.yield %a : f32
  }
  return %y : tensor<?x2147483647xf32>
}

// -----

// 4 * 2^62 is 0 in 64 bits
func.func @product(%x: tensor<?x1xf32> {moe.value = dense<1.0> : tensor<4x1xf32>}) -> tensor<?x4611686018427387904xf32> {
  // expected-error@+1 {{has more than 2^31 elements at 4 tokens; the interpreter stops here}}
  %y = moe.map (%a = %x segment : tensor<?x1xf32>) -> tensor<?x4611686018427387904xf32> {
    moe.yield %a : f32
  }
  return %y : tensor<?x4611686018427387904xf32>
}

// -----

// expected-error@+1 {{moe.value of argument 0 must be a dense value of type 'tensor<?x1xf32>'}}
func.func @value(%x: tensor<?x1xf32> {moe.value = dense<1> : tensor<2x1xi32>}) -> tensor<?x1xf32> {
  return %x : tensor<?x1xf32>
}

// -----

// expected-error@+1 {{moe.tokens must say how many tokens there are, 0..65536}}
func.func @tokens() -> tensor<?x2xi32> attributes {moe.tokens = 65537 : i64} {
  %y = moe.columns : tensor<?x2xi32>
  return %y : tensor<?x2xi32>
}

// -----

// expected-error@+1 {{sequences of 2 tokens do not divide 3 tokens}}
func.func @sequences(%x: tensor<?x1xf32> {moe.value = dense<1.0> : tensor<3x1xf32>}) -> tensor<?x1xf32> attributes {moe.sequence = 2 : i64} {
  return %x : tensor<?x1xf32>
}

// -----

// expected-error@+1 {{the value of argument 1 does not have the shape 'tensor<?x1xf32>' at 3 tokens}}
func.func @rows(%x: tensor<?x1xf32> {moe.value = dense<1.0> : tensor<3x1xf32>}, %z: tensor<?x1xf32> {moe.value = dense<1.0> : tensor<2x1xf32>}) -> tensor<?x1xf32> {
  return %x : tensor<?x1xf32>
}
