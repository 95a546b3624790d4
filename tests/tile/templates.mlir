// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Every kernel template is valid as it stands, and printing it reaches a fixed point at once.
// RUN: mkdir -p %t
// RUN: sh -ec 'for f in %S/../../templates/kernels/*.mlir; do moec-opt $f >%t/once; moec-opt %t/once >%t/twice; diff %t/once %t/twice; cat %t/once; done' > %t/all
// RUN: FileCheck %s < %t/all
// RUN: FileCheck %s --check-prefix=CHUNKED < %t/all

// CHECK-LABEL: tile.kernel @panel for(cpu) (
// CHECK-SAME: %[[A:.*]]: !tile.rows<bf16, <direct>>, %[[B:.*]]: !tile.panels<bf16, 4 : index, 32 : index>, %[[O:.*]]: !tile.rows<f32, <direct>>, %[[ITEMS:.*]]: !tile.items) {
// CHECK: %[[P:.*]] = tile.scratch : !tile.packed<32 : index, 32 : index, 4 : index, 32 : index>
// CHECK-NEXT: tile.for_items %[[ITEM:.*]] in %[[ITEMS]] : !tile.items {
// CHECK-NEXT: tile.pack %[[A]][%[[ITEM]]] -> %[[P]] : <bf16, <direct>>, <32 : index, 32 : index, 4 : index, 32 : index>
// CHECK-NEXT: tile.for_columns %[[N:.*]] in %[[ITEM]] : !tile.item {
// CHECK-NEXT: tile.for_rows %[[M:.*]] in %[[P]] heights 1 : !tile.packed<32 : index, 32 : index, 4 : index, 32 : index> {
// CHECK-NEXT: %[[ZERO:.*]] = tile.zero : <32 : index>
// CHECK-NEXT: %[[SUM:.*]] = scf.for %[[K:.*]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args(%[[C:.*]] = %[[ZERO]]) -> (!tile.acc<32 : index>) {
// CHECK-NEXT: %[[D:.*]] = tile.mma %[[C]], %[[P]][%[[M]], %[[K]]], %[[B]][%[[ITEM]], %[[N]]] a_hint <none> tiles 2 : <32 : index>, <32 : index, 32 : index, 4 : index, 32 : index>, <bf16, 4 : index, 32 : index>
// CHECK-NEXT: tile.prefetch %[[B]][%[[ITEM]], %[[N]], %[[M]], %[[K]]] block 4 streams 8 share 1 hint <t1> : <bf16, 4 : index, 32 : index>
// CHECK-NEXT: scf.yield %[[D]] : !tile.acc<32 : index>
// CHECK: tile.epilogue %[[SUM]][%[[ITEM]], %[[N]], %[[M]]] -> %[[O]] out_hint <none> : <32 : index>, <f32, <direct>>

// CHUNKED-LABEL: tile.kernel @panel_chunked for(cpu) (
// CHUNKED-SAME: !tile.rows<bf16, <direct>>, %[[B:.*]]: !tile.panels<bf16, 32 : index, 32 : index>, %[[O:.*]]: !tile.rows<f32, <direct>>
// CHUNKED: %[[S:.*]] = tile.scratch : !tile.spill<128 : index>
// CHUNKED: %[[START:.*]] = tile.restore %[[S]][%[[M:.*]]] chunk %{{.*}} : <128 : index>, <32 : index>
// CHUNKED: tile.mma {{.*}} a_hint <nta> tiles 2 :
// CHUNKED: tile.save %{{.*}}, %[[S]][%[[M]]] : <32 : index>, <128 : index>
// CHUNKED: %[[DONE:.*]] = tile.restore %[[S]]
// CHUNKED: tile.epilogue %[[DONE]]
