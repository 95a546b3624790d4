// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A routing that specs do not have: every group of experts has a learned temperature, and two thresholds say how many
// experts a token takes.
//
//   z[t,e] = (x Wᵀ)[t,e] / temperature[group(e)]       2 groups of 4 experts
//   p      = softmax(z)
//   ids    = the two largest of p; the second one only where p1 < 0.6 and p2 >= 0.1
//   y      = Σ p_j · down_j(silu(gate_j x) · up_j x)
!route = !moe.route<8 groups, 2 choices>

func.func @two_thresholds(
    %x: tensor<?x16xf32> {moe.role = "x"},
    %router: tensor<8x16xf32> {moe.role = "router.weight"},
    %temperature: tensor<2xf32> {moe.role = "router.group_temperature"},
    %gate: tensor<8x24x16xf32> {moe.role = "experts.gate"},
    %up: tensor<8x24x16xf32> {moe.role = "experts.up"},
    %down: tensor<8x16x24xf32> {moe.role = "experts.down"})
    -> (tensor<?x16xf32> {moe.role = "y"}, tensor<?x8xf32> {moe.role = "logits"},
        tensor<?x2xi32> {moe.role = "ids"}, tensor<?x2xf32> {moe.role = "weights"}) {
  %raw = moe.grouped_matmul %x : tensor<?x16xf32> by %router : tensor<8x16xf32> -> tensor<?x8xf32>
  // One temperature per group becomes a row of two, which the 8 columns then read in runs of 4.
  %groups = moe.map (%t = %temperature col : tensor<2xf32>) -> tensor<?x2xf32> {
    moe.yield %t : f32
  }
  %z = moe.map (%a = %raw elem : tensor<?x8xf32>, %t = %groups segment : tensor<?x2xf32>) -> tensor<?x8xf32> {
    %q = arith.divf %a, %t : f32
    moe.yield %q : f32
  }
  %p = moe.softmax %z : tensor<?x8xf32>
  %best = moe.top_k 2 of %p : tensor<?x8xf32> -> tensor<?x2xi32>
  %v = moe.take %p at %best : tensor<?x8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  %p1 = moe.reduce max %v : tensor<?x2xf32> -> tensor<?xf32>
  %place = moe.columns : tensor<?x2xi32>
  // An id of -1 is no choice: it makes no row.
  %ids = moe.map (%id = %best elem : tensor<?x2xi32>, %own = %v elem : tensor<?x2xf32>,
                  %j = %place elem : tensor<?x2xi32>, %first = %p1 row : tensor<?xf32>) -> tensor<?x2xi32> {
    %zero = arith.constant 0 : i32
    %none = arith.constant -1 : i32
    %high = arith.constant 0.6 : f32
    %low = arith.constant 0.1 : f32
    %is_first = arith.cmpi eq, %j, %zero : i32
    %unsure = arith.cmpf olt, %first, %high : f32
    %likely = arith.cmpf oge, %own, %low : f32
    %second = arith.andi %unsure, %likely : i1
    %kept = arith.ori %is_first, %second : i1
    %out = arith.select %kept, %id, %none : i32
    moe.yield %out : i32
  }
  %weights = moe.take %p at %ids : tensor<?x8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  %r = moe.dispatch %ids : tensor<?x2xi32> -> !route
  %xr = moe.gather %x, %r : tensor<?x16xf32>, !route -> tensor<?x16xf32>
  %g = moe.grouped_matmul %xr : tensor<?x16xf32> by %gate : tensor<8x24x16xf32> over %r : !route -> tensor<?x24xf32>
  %u = moe.grouped_matmul %xr : tensor<?x16xf32> by %up : tensor<8x24x16xf32> over %r : !route -> tensor<?x24xf32>
  %h = moe.map (%a = %g elem : tensor<?x24xf32>, %b = %u elem : tensor<?x24xf32>) -> tensor<?x24xf32> {
    %one = arith.constant 1.0 : f32
    %n = arith.negf %a : f32
    %e = math.exp %n : f32
    %d = arith.addf %one, %e : f32
    %s = arith.divf %a, %d : f32
    %m = arith.mulf %s, %b : f32
    moe.yield %m : f32
  }
  %o = moe.grouped_matmul %h : tensor<?x24xf32> by %down : tensor<8x16x24xf32> over %r : !route -> tensor<?x16xf32>
  %y = moe.combine %o : tensor<?x16xf32> over %r : !route
      weighted %weights : tensor<?x2xf32> -> tensor<?x16xf32>
  return %y, %z, %ids, %weights : tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>
}
