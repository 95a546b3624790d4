// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// moe.row_program: text and labels.
// RUN: moec-opt %s -split-input-file -verify-diagnostics | FileCheck %s

// CHECK: moe.row_program (%{{.*}} = %{{.*}} : tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
// CHECK: moe.yield %{{.*}}, %{{.*}} : tensor<?x2xi32>, tensor<?x2xf32>
func.func @row_program(%z: tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
  %i, %v = moe.row_program (%a = %z : tensor<?x4xf32>) -> (tensor<?x2xi32>, tensor<?x2xf32>) {
    %ids = moe.top_k 2 of %a : tensor<?x4xf32> -> tensor<?x2xi32>
    %t = moe.take %a at %ids : tensor<?x4xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
    moe.yield %ids, %t : tensor<?x2xi32>, tensor<?x2xf32>
  }
  return %i, %v : tensor<?x2xi32>, tensor<?x2xf32>
}

// -----
func.func @row_program_c1_results(%z: tensor<?x4xf32>) -> tensor<?x2xi32> {
  // expected-error @below {{'moe.row_program' op C1: the body must yield the types of the results}}
  %i = moe.row_program (%a = %z : tensor<?x4xf32>) -> tensor<?x2xi32> {
    moe.yield %a : tensor<?x4xf32>
  }
  return %i : tensor<?x2xi32>
}

// -----
func.func @row_program_c2_ops(%z: tensor<?x2xi32>) -> tensor<?x2xi32> {
  %i = moe.row_program (%a = %z : tensor<?x2xi32>) -> tensor<?x2xi32> {
    // expected-error @below {{'moe.dispatch' op C2: is not a row op, so it cannot stand in a row_program}}
    %r = moe.dispatch %a : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
    moe.yield %a : tensor<?x2xi32>
  }
  return %i : tensor<?x2xi32>
}
