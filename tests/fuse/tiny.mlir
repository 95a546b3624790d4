// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// examples/tiny.json written by hand: softmax, top-2, normalised, SwiGLU; its stages and its plan.
// RUN: moec-opt %s --moe-fuse-stages=why=1 -o /dev/null 2>&1 | FileCheck %s --check-prefix=WHY
// RUN: moec-opt %s --moe-fuse-stages | FileCheck %s --check-prefix=STAGES
// RUN: moec-opt %s --moe-fuse-stages --moe-print-plan=max-tokens=64 -o /dev/null 2>&1 | FileCheck %s --check-prefix=PLAN --match-full-lines
// RUN: moec-opt %s --moe-fuse-stages | moec-opt --moe-print-plan=max-tokens=64 -o /dev/null 2>&1 | FileCheck %s --check-prefix=PLAN --match-full-lines

// WHY: F1 experts.gate and experts.up: one matmul with two parts
// WHY-NEXT: F3 gather before experts.gate and experts.up: rows are read through the route
// WHY-NEXT: F2 softmax, top_k, take, reduce, map: one row program
// WHY-NOT: {{.}}

// STAGES: moe.grouped_matmul {{.*}} attributes {moe.stage = "router"}
// STAGES-NEXT: moe.row_program
// STAGES: attributes {moe.stage = "route"}
// STAGES-NEXT: moe.dispatch
// STAGES-NEXT: moe.grouped_matmul {{.*}} gathered -> tensor<?x6xf32> epilogue(
// STAGES: attributes {moe.stage = "experts_gate_up"}
// STAGES-NEXT: moe.grouped_matmul {{.*}} attributes {moe.stage = "experts_down"}
// STAGES-NEXT: moe.combine {{.*}} attributes {moe.stage = "combine"}
// STAGES-NEXT: return

// PLAN: plan tiny x f32 y f32 hidden 8 experts 4 top_k 2 max_tokens 64
// PLAN-NEXT: slots 3 scratch 0 packed 16384 items 0
// PLAN-NEXT: roles
// PLAN-NEXT:   0 router.weight [4, 8] matrix from "router.weight" single out_in all
// PLAN-NEXT:   1 experts.gate [4, 6, 8] matrix per expert from "experts.gate" stacked out_in all
// PLAN-NEXT:   2 experts.up [4, 6, 8] matrix per expert from "experts.up" stacked out_in all
// PLAN-NEXT:   3 experts.down [4, 8, 6] matrix per expert from "experts.{e}.down" per_expert in_out all
// PLAN-NEXT: weights
// PLAN-NEXT:   0 panels f32 router.weight groups 1 n 4 k 8 padded 32x8 panels 1 at 4096 bytes 1024
// PLAN-NEXT:   1 panels f32 experts.gate experts.up groups 4 n 6 k 8 padded 16x8 panels 1 at 8192 bytes 4096
// PLAN-NEXT:   2 panels f32 experts.down groups 4 n 8 k 6 padded 32x8 panels 1 at 12288 bytes 4096
// PLAN-NEXT: buffers
// PLAN-NEXT:   0 x input f32 bytes 32*T stride 32
// PLAN-NEXT:   1 router.weight weight 0 f32 bytes 1024
// PLAN-NEXT:   2 logits optional slot 0 f32 bytes 16*T stride 16
// PLAN-NEXT:   3 ids optional slot 1 i32 bytes 8*T stride 8
// PLAN-NEXT:   4 weights optional slot 2 f32 bytes 8*T stride 8
// PLAN-NEXT:   5 counts optional slot 1 i32 bytes 16
// PLAN-NEXT:   6 experts.gate+experts.up weight 1 f32 bytes 4096
// PLAN-NEXT:   7 experts_gate_up workspace slot 0 f32 bytes 128*T stride 64
// PLAN-NEXT:   8 dispatch.row_token route of step 2 i32 bytes 8*T
// PLAN-NEXT:   9 experts.down weight 2 f32 bytes 4096
// PLAN-NEXT:   10 experts_down workspace slot 1 f32 bytes 128*T stride 64
// PLAN-NEXT:   11 dispatch.slot_row route of step 2 i32 bytes 8*T
// PLAN-NEXT:   12 y output f32 bytes 32*T stride 32
// PLAN-NEXT: steps
// PLAN-NEXT:   0 router matmul (x, router.weight, logits) groups 1 panels 1 flops/row 64 bytes/group 1024
// PLAN-NEXT:   1 route rows (logits, ids, weights) rows/task 64
// PLAN-NEXT:   2 dispatch dispatch (ids) groups 4 choices 2
// PLAN-NEXT:   3 counts counts (counts) over step 2 if asked
// PLAN-NEXT:   4 experts_gate_up matmul (x, experts.gate+experts.up, experts_gate_up, dispatch.row_token) over step 2 groups 4 panels 1 flops/row 192 bytes/group 1024
// PLAN-NEXT:   5 experts_down matmul (experts_gate_up, experts.down, experts_down) over step 2 groups 4 panels 1 flops/row 96 bytes/group 1024
// PLAN-NEXT:   6 combine rows (experts_down, dispatch.slot_row, weights, y) rows/task 64

func.func @tiny(%x: tensor<?x8xf32> {moe.role = "x"}, %wr: tensor<4x8xf32> {moe.role = "router.weight"},
    %wg: tensor<4x6x8xf32> {moe.role = "experts.gate"}, %wu: tensor<4x6x8xf32> {moe.role = "experts.up"},
    %wd: tensor<4x8x6xf32> {moe.role = "experts.down",
                             moe.storage = {tensor = "experts.{e}.down", stack = "per_expert", axes = "in_out", part = "all"}})
    -> (tensor<?x8xf32> {moe.role = "y"}, tensor<?x4xf32> {moe.role = "logits"}, tensor<?x2xi32> {moe.role = "ids"},
        tensor<?x2xf32> {moe.role = "weights"}) {
  %z = moe.grouped_matmul %x : tensor<?x8xf32> by %wr : tensor<4x8xf32> -> tensor<?x4xf32>
  %p = moe.softmax %z : tensor<?x4xf32>
  %ids = moe.top_k 2 of %p : tensor<?x4xf32> -> tensor<?x2xi32>
  %v = moe.take %p at %ids : tensor<?x4xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  %n = moe.reduce sum %v : tensor<?x2xf32> -> tensor<?xf32>
  %w = moe.map (%a = %v elem : tensor<?x2xf32>, %b = %n row : tensor<?xf32>) -> tensor<?x2xf32> {
    %q = arith.divf %a, %b : f32
    moe.yield %q : f32
  }
  %r = moe.dispatch %ids : tensor<?x2xi32> -> !moe.route<4 groups, 2 choices>
  %xr = moe.gather %x, %r : tensor<?x8xf32>, !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  %g = moe.grouped_matmul %xr : tensor<?x8xf32> by %wg : tensor<4x6x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x6xf32>
  %u = moe.grouped_matmul %xr : tensor<?x8xf32> by %wu : tensor<4x6x8xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x6xf32>
  %h = moe.map (%a = %g elem : tensor<?x6xf32>, %b = %u elem : tensor<?x6xf32>) -> tensor<?x6xf32> {
    %one = arith.constant 1.0 : f32
    %m = arith.negf %a : f32
    %e = math.exp %m : f32
    %d = arith.addf %e, %one : f32
    %s = arith.divf %a, %d : f32
    %q = arith.mulf %s, %b : f32
    moe.yield %q : f32
  }
  %o = moe.grouped_matmul %h : tensor<?x6xf32> by %wd : tensor<4x8x6xf32> over %r : !moe.route<4 groups, 2 choices> -> tensor<?x8xf32>
  %y = moe.combine %o : tensor<?x8xf32> over %r : !moe.route<4 groups, 2 choices> weighted %w : tensor<?x2xf32> -> tensor<?x8xf32>
  return %y, %z, %ids, %w : tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x2xi32>, tensor<?x2xf32>
}
