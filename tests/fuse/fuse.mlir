// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Each fusion rule where it applies, and where it must not.
// RUN: moec-opt %s -split-input-file --moe-fuse-stages=why=1 -o /dev/null 2>&1 | FileCheck %s --check-prefix=WHY
// RUN: moec-opt %s -split-input-file --moe-fuse-stages | FileCheck %s

// F1 takes the maps between along; the order of the parts is that of the operands.
// WHY: F1 g and u: one matmul with two parts
// WHY-NOT: F4
// CHECK-LABEL: @fuse_f1_maps_between
// CHECK: moe.grouped_matmul %arg0 : tensor<?x8xf32> by %arg1 : tensor<8x8xf32>, %arg2 : tensor<8x8xf32> -> tensor<?x8xf32> epilogue(%[[G:.*]], %[[U:.*]], %[[B:.*]] = %arg3 col : tensor<8xf32>) {
// CHECK-DAG: %[[S:.*]] = arith.addf %[[G]], %[[B]] : f32
// CHECK-DAG: %[[N:.*]] = arith.negf %[[U]] : f32
// CHECK-NEXT: %[[Q:.*]] = arith.mulf %[[S]], %[[N]] : f32
// CHECK-NEXT: moe.yield %[[Q]] : f32
// CHECK-NEXT: } attributes {moe.stage = "g_u"}
// CHECK-NEXT: return
func.func @fuse_f1_maps_between(%x: tensor<?x8xf32> {moe.role = "x"}, %wg: tensor<8x8xf32> {moe.role = "g"},
    %wu: tensor<8x8xf32> {moe.role = "u"}, %b: tensor<8xf32> {moe.role = "b"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %g = moe.grouped_matmul %x : tensor<?x8xf32> by %wg : tensor<8x8xf32> -> tensor<?x8xf32>
  %u = moe.grouped_matmul %x : tensor<?x8xf32> by %wu : tensor<8x8xf32> -> tensor<?x8xf32>
  %gb = moe.map (%a = %g elem : tensor<?x8xf32>, %c = %b col : tensor<8xf32>) -> tensor<?x8xf32> {
    %s = arith.addf %a, %c : f32
    moe.yield %s : f32
  }
  %un = moe.map (%a = %u elem : tensor<?x8xf32>) -> tensor<?x8xf32> {
    %s = arith.negf %a : f32
    moe.yield %s : f32
  }
  %y = moe.map (%a = %gb elem : tensor<?x8xf32>, %c = %un elem : tensor<?x8xf32>) -> tensor<?x8xf32> {
    %q = arith.mulf %a, %c : f32
    moe.yield %q : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
// Matmuls of different inputs stay apart: the later one takes the map.
// WHY-NOT: F1
// WHY: F4 map after u: epilogue
// CHECK-LABEL: @fuse_f1_other_input
// CHECK: %[[G:.*]] = moe.grouped_matmul %arg0 {{.*}} attributes {moe.stage = "g"}
// CHECK: moe.grouped_matmul %[[G]] : tensor<?x8xf32> by %arg2 : tensor<8x8xf32> -> tensor<?x8xf32> epilogue(%{{.*}}, %{{.*}} = %[[G]] elem : tensor<?x8xf32>)
func.func @fuse_f1_other_input(%x: tensor<?x8xf32> {moe.role = "x"}, %wg: tensor<8x8xf32> {moe.role = "g"},
    %wu: tensor<8x8xf32> {moe.role = "u"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %g = moe.grouped_matmul %x : tensor<?x8xf32> by %wg : tensor<8x8xf32> -> tensor<?x8xf32>
  %u = moe.grouped_matmul %g : tensor<?x8xf32> by %wu : tensor<8x8xf32> -> tensor<?x8xf32>
  %y = moe.map (%a = %g elem : tensor<?x8xf32>, %c = %u elem : tensor<?x8xf32>) -> tensor<?x8xf32> {
    %q = arith.mulf %a, %c : f32
    moe.yield %q : f32
  }
  return %y : tensor<?x8xf32>
}

// -----
// F3: the weighted row becomes gathered access and a prologue; the weight itself is brought to the rows first.
// WHY: F3 map before w: prologue
// WHY-NEXT: F3 gather before w: rows are read through the route
// WHY: F2 gather: one row program
// CHECK-LABEL: @fuse_f3_prologue
// CHECK: %[[W:.*]] = moe.row_program (%{{.*}} = %[[V:.*]] : tensor<?x2xf32>, %{{.*}} = %[[R:.*]] : !moe.route<4 groups, 2 choices>) -> tensor<?xf32>
// CHECK: moe.grouped_matmul %arg0 : tensor<?x8xf32> by %arg1 : tensor<4x8x8xf32> over %[[R]] : !moe.route<4 groups, 2 choices> gathered -> tensor<?x8xf32> prologue(%{{.*}}, %{{.*}} = %[[W]] row : tensor<?xf32>)
func.func @fuse_f3_prologue(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<4x8x8xf32> {moe.role = "w"})
    -> (tensor<?x8xf32> {moe.role = "y"}) {
  %i = moe.top_k 2 of %x : tensor<?x8xf32> -> tensor<?x2xi32>
  %v = moe.take %x at %i : tensor<?x8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
  %xr = moe.gather %x, %r : tensor<?x8xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  %vr = moe.gather %v, %r : tensor<?x2xf32>, !moe.route<4 groups, 2 choices> -> tensor<?xf32>
  %a = moe.map (%p = %xr elem : tensor<?x8xf32>, %q = %vr row : tensor<?xf32>) -> tensor<?x8xf32> {
    %s = arith.mulf %p, %q : f32
    moe.yield %s : f32
  }
  %o = moe.grouped_matmul %a : tensor<?x8xf32> by %w : tensor<4x8x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  %y = moe.combine %o : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
// F4 appends to the epilogue; a value that is also a result stays. F5 takes the sum although a matmul is beside it.
// WHY: F4 map after d: epilogue
// WHY: F4 map after d: epilogue
// WHY: F5 map after combine: epilogue
// CHECK-LABEL: @fuse_f4_f5
// CHECK: %[[Z:.*]] = moe.grouped_matmul %arg0 : tensor<?x8xf32> by %arg1 : tensor<8x8xf32> -> tensor<?x8xf32> attributes {moe.stage = "z"}
// CHECK: %[[D:.*]] = moe.grouped_matmul {{.*}} epilogue(%[[A:.*]], %{{.*}} = %arg3 col : tensor<4x8xf32>) {
// CHECK-NEXT: arith.addf %[[A]]
// CHECK-NEXT: arith.negf
// CHECK: moe.combine %[[D]] {{.*}} epilogue(%{{.*}}, %{{.*}} = %{{.*}} elem : tensor<?x8xf32>)
func.func @fuse_f4_f5(%x: tensor<?x8xf32> {moe.role = "x"}, %wz: tensor<8x8xf32> {moe.role = "z"},
    %wd: tensor<4x8x8xf32> {moe.role = "d"}, %b: tensor<4x8xf32> {moe.role = "b"}, %ws: tensor<8x8xf32> {moe.role = "s"})
    -> (tensor<?x8xf32> {moe.role = "y"}, tensor<?x8xf32> {moe.role = "logits"}) {
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %wz : tensor<8x8xf32> -> tensor<?x8xf32>
  %c = moe.map (%a = %z elem : tensor<?x8xf32>) -> tensor<?x8xf32> {
    %s = arith.negf %a : f32
    moe.yield %s : f32
  }
  %i = moe.top_k 2 of %c : tensor<?x8xf32> -> tensor<?x2xi32>
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
  %xr = moe.gather %x, %r : tensor<?x8xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  %o = moe.grouped_matmul %xr : tensor<?x8xf32> by %wd : tensor<4x8x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  %o1 = moe.map (%a = %o elem : tensor<?x8xf32>, %d = %b col : tensor<4x8xf32>) -> tensor<?x8xf32> {
    %s = arith.addf %a, %d : f32
    moe.yield %s : f32
  }
  %o2 = moe.map (%a = %o1 elem : tensor<?x8xf32>) -> tensor<?x8xf32> {
    %s = arith.negf %a : f32
    moe.yield %s : f32
  }
  %k = moe.combine %o2 : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  %sh = moe.grouped_matmul %x : tensor<?x8xf32> by %ws : tensor<8x8xf32> -> tensor<?x8xf32>
  %y = moe.map (%a = %k elem : tensor<?x8xf32>, %d = %sh elem : tensor<?x8xf32>) -> tensor<?x8xf32> {
    %s = arith.addf %a, %d : f32
    moe.yield %s : f32
  }
  return %y, %z : tensor<?x8xf32>, tensor<?x8xf32>
}

// -----
// F2: row ops on both sides of a matmul are two programs.
// WHY: F2 map, reduce, map: one row program
// WHY-NEXT: F2 softmax: one row program
// CHECK-LABEL: @fuse_f2_levels
// CHECK: moe.row_program
// CHECK: moe.grouped_matmul
// CHECK: moe.row_program
// CHECK: return
func.func @fuse_f2_levels(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<8x8xf32> {moe.role = "w"}, %g: tensor<8xf32> {moe.role = "g"})
    -> (tensor<?x8xf32> {moe.role = "y"}) {
  %q = moe.map (%a = %x elem : tensor<?x8xf32>) -> tensor<?x8xf32> {
    %s = arith.mulf %a, %a : f32
    moe.yield %s : f32
  }
  %n = moe.reduce sum %q : tensor<?x8xf32> -> tensor<?xf32>
  %h = moe.map (%a = %x elem : tensor<?x8xf32>, %b = %n row : tensor<?xf32>, %c = %g col : tensor<8xf32>) -> tensor<?x8xf32> {
    %s = arith.divf %a, %b : f32
    %t = arith.mulf %s, %c : f32
    moe.yield %t : f32
  }
  %z = moe.grouped_matmul %h : tensor<?x8xf32> by %w : tensor<8x8xf32> -> tensor<?x8xf32>
  %y = moe.softmax %z : tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
// F2: columns, and what is computed of them alone, stand in the program that uses them.
// WHY: F2 columns, map, map: one row program
// CHECK-LABEL: @fuse_f2_columns
// CHECK: %[[Z:.*]] = moe.grouped_matmul
// CHECK-NEXT: moe.row_program (%{{.*}} = %[[Z]] : tensor<?x4xf32>) -> tensor<?x4xf32> {
// CHECK-NEXT: moe.columns : tensor<?x4xi32>
func.func @fuse_f2_columns(%x: tensor<?x4xf32> {moe.role = "x"}, %w: tensor<4x4xf32> {moe.role = "w"}) -> (tensor<?x4xf32> {moe.role = "y"}) {
  %c = moe.columns : tensor<?x4xi32>
  %d = moe.map (%a = %c elem : tensor<?x4xi32>) -> tensor<?x4xi32> {
    %s = arith.addi %a, %a : i32
    moe.yield %s : i32
  }
  %z = moe.grouped_matmul %x : tensor<?x4xf32> by %w : tensor<4x4xf32> -> tensor<?x4xf32>
  %y = moe.map (%a = %z elem : tensor<?x4xf32>, %n = %d elem : tensor<?x4xi32>) -> tensor<?x4xf32> {
    %f = arith.sitofp %n : i32 to f32
    %s = arith.addf %a, %f : f32
    moe.yield %s : f32
  }
  return %y : tensor<?x4xf32>
}

// -----
// F2: a program over the rows of a route reads the route, which says how many there are.
// WHY: F2 reduce, map: one row program
// CHECK-LABEL: @fuse_f2_rows_of_a_route
// CHECK: %[[R:.*]] = moe.slots
// CHECK: moe.row_program (%{{.*}} = %{{.*}} : tensor<?x8xf32>, %{{.*}} = %[[R]] : !moe.route<2 groups, 2 choices, rows 0 0 2>) -> tensor<?x8xf32>
func.func @fuse_f2_rows_of_a_route(%x: tensor<?x8xf32> {moe.role = "x"}, %w: tensor<2x8xf32> {moe.role = "w"},
    %u: tensor<2x8x8xf32> {moe.role = "u"}, %d: tensor<2x8x8xf32> {moe.role = "d"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %w : tensor<2x8xf32> -> tensor<?x2xf32>
  %r = moe.slots batch : !moe.route<2 groups, 2 choices, rows 0 0 2>
  %s = moe.slot_inputs %x weighted %z, %r : tensor<?x8xf32>, tensor<?x2xf32>, !moe.route<2 groups, 2 choices, rows 0 0 2> -> tensor<?x8xf32>
  %h = moe.grouped_matmul %s : tensor<?x8xf32> by %u : tensor<2x8x8xf32> over %r : !moe.route<2 groups, 2 choices, rows 0 0 2> -> tensor<?x8xf32>
  %n = moe.reduce max %h : tensor<?x8xf32> -> tensor<?xf32>
  %o = moe.map (%a = %h elem : tensor<?x8xf32>, %b = %n row : tensor<?xf32>) -> tensor<?x8xf32> {
    %q = arith.subf %a, %b : f32
    moe.yield %q : f32
  }
  %p = moe.grouped_matmul %o : tensor<?x8xf32> by %d : tensor<2x8x8xf32> over %r : !moe.route<2 groups, 2 choices, rows 0 0 2> -> tensor<?x8xf32>
  %y = moe.combine %p : tensor<?x8xf32> over %r : !moe.route<2 groups, 2 choices, rows 0 0 2> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}

// -----
// F2: columns per group, which row programs cannot index, are looked up by the group of the row.
// WHY: F2 gather, gather, lookup, map: one row program
// CHECK-LABEL: @fuse_f2_columns_of_groups
// CHECK: moe.row_program (%[[I:.*]] = %{{.*}} : tensor<?x2xi32>
// CHECK: %[[G:.*]] = moe.gather %[[I]], %{{.*}} : tensor<?x2xi32>, !moe.route<4 groups, 2 choices> -> tensor<?xi32>
// CHECK: moe.lookup %{{.*}} at %[[G]] : tensor<4x8xf32>, tensor<?xi32> -> tensor<?x8xf32>
func.func @fuse_f2_columns_of_groups(%x: tensor<?x8xf32> {moe.role = "x"}, %i: tensor<?x2xi32> {moe.role = "expert_ids"},
    %b: tensor<4x8xf32> {moe.role = "b"}) -> (tensor<?x8xf32> {moe.role = "y"}) {
  %r = moe.dispatch %i : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
  %g = moe.gather %x, %r : tensor<?x8xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  %h = moe.map (%a = %g elem : tensor<?x8xf32>, %c = %b col : tensor<4x8xf32>) -> tensor<?x8xf32> {
    %s = arith.addf %a, %c : f32
    moe.yield %s : f32
  }
  %y = moe.combine %h : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  return %y : tensor<?x8xf32>
}
