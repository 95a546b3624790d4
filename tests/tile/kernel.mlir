// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// tile.kernel: target, appended operands, attributes, prologue and epilogue regions survive a round trip.
// RUN: moec-opt %s | moec-opt | FileCheck %s

// CHECK-LABEL: tile.kernel @with_regions for(cpu) (
// CHECK-SAME: %[[A:.*]]: !tile.rows<f32, <gathered>>, %{{.*}}: !tile.panels<f32, 2 : index, 8 : index>, %[[O:.*]]: !tile.rows<f32, <direct>>, %{{.*}}: !tile.items, %[[W:.*]]: !tile.operand<f32, "row", 4 : index>, %[[BIAS:.*]]: !tile.operand<bf16, "col", 64 : index>) attributes {a_stride = 64 : index, k = 16 : index, n = 32 : index, out_stride = 128 : index, panel_bytes = 64 : index, panels = 1 : index, parts = 1 : index, routed} {
// CHECK: tile.pack %[[A]][%[[ITEM:.*]]] -> %{{.*}} with(%[[W]] : !tile.operand<f32, "row", 4 : index>) : <f32, <gathered>>, <4 : index, 2 : index, 2 : index, 8 : index> prologue {
// CHECK-NEXT: ^bb0(%[[VALUE:.*]]: f32, %[[WEIGHT:.*]]: f32):
// CHECK-NEXT: %[[SCALED:.*]] = arith.mulf %[[VALUE]], %[[WEIGHT]] : f32
// CHECK-NEXT: tile.yield %[[SCALED]] : f32
// CHECK: tile.epilogue %{{.*}}[%[[ITEM]], %{{.*}}, %{{.*}}] -> %[[O]] with(%[[BIAS]] : !tile.operand<bf16, "col", 64 : index>) : <2 : index>, <f32, <direct>> body {
// CHECK-NEXT: ^bb0(%[[ACC:.*]]: f32, %[[B:.*]]: f32):
tile.kernel @with_regions for(cpu) (%a: !tile.rows<f32, #tile.access<gathered>>, %b: !tile.panels<f32, 2 : index, 8 : index>,
    %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items, %w: !tile.operand<f32, "row", 4 : index>,
    %bias: !tile.operand<bf16, "col", 64 : index>) attributes {n = 32 : index, k = 16 : index, parts = 1 : index,
    panels = 1 : index, panel_bytes = 64 : index, a_stride = 64 : index, out_stride = 128 : index, routed} {
  %packed = tile.scratch : !tile.packed<4 : index, 2 : index, 2 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %packed with (%w : !tile.operand<f32, "row", 4 : index>)
        : !tile.rows<f32, #tile.access<gathered>>, !tile.packed<4 : index, 2 : index, 2 : index, 8 : index> prologue {
      ^bb0(%v: f32, %s: f32):
        %0 = arith.mulf %v, %s : f32
        tile.yield %0 : f32
    }
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %packed : !tile.packed<4 : index, 2 : index, 2 : index, 8 : index> {
        %acc = tile.zero : !tile.acc<2 : index>
        tile.epilogue %acc[%item, %n, %m] -> %out with (%bias : !tile.operand<bf16, "col", 64 : index>)
            : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>> body {
          ^bb0(%v: f32, %c: f32):
            %0 = arith.addf %v, %c : f32
            tile.yield %0 : f32
        }
      }
    }
  }
}
