// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every CUDA kernel template is valid as it stands, and printing it reaches a fixed point at once.
// RUN: mkdir -p %t
// RUN: sh -ec 'for f in %S/../../templates/kernels/cuda/*.mlir; do moec-opt $f >%t/once; moec-opt %t/once >%t/twice; diff %t/once %t/twice; cat %t/once; done' > %t/all
// RUN: FileCheck %s < %t/all

// CHECK-LABEL: tile.kernel @contiguous for(sm_90a) (%{{.*}}: !tile.rows<bf16, <contiguous>>,
// CHECK: tile.roles %{{.*}} consumers 2 lag 1 vacant 1 :

// CHECK-LABEL: tile.kernel @multistage for(sm_80) (
// CHECK-SAME: %[[A:.*]]: !tile.rows<bf16, <direct>>, %[[B:.*]]: !tile.matrices<bf16>, %[[O:.*]]: !tile.rows<f32, <direct>>, %[[ITEMS:.*]]: !tile.items) attributes {early = 1 : index} {
// CHECK: %[[R:.*]] = tile.ring : <bf16, bf16, 64 : index, 128 : index, 64 : index, 4 : index>
// CHECK-NEXT: tile.for_tiles %[[ITEM:.*]], %[[N:.*]] in %[[ITEMS]] splits 1 : index : !tile.items {
// CHECK-NEXT: scf.for %[[S:.*]] = %{{.*}} to %{{.*}} step %{{.*}} {
// CHECK-NEXT: tile.copy %[[A]], %[[B]][%[[ITEM]], %[[N]]] step %[[S]] -> %[[R]] :
// CHECK: %[[ZERO:.*]] = tile.clear : <64 : index, 128 : index, 2 : index, 4 : index>
// CHECK: scf.for %[[K:.*]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args(%[[C:.*]] = %[[ZERO]])
// CHECK-NEXT: tile.await %[[R]] :
// CHECK-NEXT: %[[NEXT:.*]] = arith.addi %[[K]], %{{.*}} : index
// CHECK-NEXT: tile.copy %[[A]], %[[B]][%[[ITEM]], %[[N]]] step %[[NEXT]] -> %[[R]] :
// CHECK-NEXT: %[[D:.*]] = tile.multiply %[[C]], %[[R]][%[[K]]] :
// CHECK: tile.drain %[[R]] :
// CHECK-NEXT: tile.store %{{.*}}[%[[ITEM]], %[[N]]] -> %[[O]] :

// CHECK-LABEL: tile.kernel @swapped for(sm_80) (
// CHECK: tile.ring : <bf16, bf16, 8 : index, 128 : index, 64 : index, 5 : index>
// CHECK: tile.for_tiles %{{.*}}, %{{.*}} in %{{.*}} splits 1 : index : !tile.items {
// CHECK: tile.clear : <8 : index, 128 : index, 1 : index, 4 : index, 8 : index>

// CHECK-LABEL: tile.kernel @swapped_specialised for(sm_90a) (
// CHECK: tile.roles %{{.*}} consumers 2 lag 3 :
// CHECK: tile.clear : <8 : index, 128 : index, 1 : index, 8 : index, 8 : index>
