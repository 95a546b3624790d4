// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An activation with learned parameters, which a function file cannot have: one number per expert and one for the
// layer.
//
//   act(v) = beta · max(v, 0)² + alpha[e] · min(v, 0)          e the expert of the row
//
// A parameter of the layer is a `scalar` of the region, one per column a `col` ([E,N] where it differs by expert). One
// number per expert is taken by the ids, as weights are, and gathered to the rows, where the region reads it as `row`.
!route = !moe.route<8 groups, 2 choices>

func.func @learned_activation(
    %x: tensor<?x16xf32> {moe.role = "x"},
    %router: tensor<8x16xf32> {moe.role = "router.weight"},
    %up: tensor<8x24x16xf32> {moe.role = "experts.up"},
    %down: tensor<8x16x24xf32> {moe.role = "experts.down"},
    %alpha: tensor<8xf32> {moe.role = "experts.act_alpha"},
    %beta: tensor<1xf32> {moe.role = "experts.act_beta"})
    -> (tensor<?x16xf32> {moe.role = "y"}, tensor<?x8xf32> {moe.role = "logits"},
        tensor<?x2xi32> {moe.role = "ids"}, tensor<?x2xf32> {moe.role = "weights"}) {
  %z = moe.grouped_matmul %x : tensor<?x16xf32> by %router : tensor<8x16xf32> -> tensor<?x8xf32>
  %p = moe.softmax %z : tensor<?x8xf32>
  %ids = moe.top_k 2 of %p : tensor<?x8xf32> -> tensor<?x2xi32>
  %weights = moe.take %p at %ids : tensor<?x8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  %r = moe.dispatch %ids : tensor<?x2xi32> -> !route
  %xr = moe.gather %x, %r : tensor<?x16xf32>, !route -> tensor<?x16xf32>
  %u = moe.grouped_matmul %xr : tensor<?x16xf32> by %up : tensor<8x24x16xf32> over %r : !route -> tensor<?x24xf32>
  %chosen = moe.take %alpha at %ids : tensor<8xf32>, tensor<?x2xi32> -> tensor<?x2xf32>
  %slope = moe.gather %chosen, %r : tensor<?x2xf32>, !route -> tensor<?xf32>
  %h = moe.map (%v = %u elem : tensor<?x24xf32>, %a = %slope row : tensor<?xf32>,
                %b = %beta scalar : tensor<1xf32>) -> tensor<?x24xf32> {
    %zero = arith.constant 0.0 : f32
    %positive = arith.maximumf %v, %zero : f32
    %negative = arith.minimumf %v, %zero : f32
    %square = arith.mulf %positive, %positive : f32
    %above = arith.mulf %b, %square : f32
    %below = arith.mulf %a, %negative : f32
    %out = arith.addf %above, %below : f32
    moe.yield %out : f32
  }
  %o = moe.grouped_matmul %h : tensor<?x24xf32> by %down : tensor<8x16x24xf32> over %r : !route -> tensor<?x16xf32>
  %y = moe.combine %o : tensor<?x16xf32> over %r : !route
      weighted %weights : tensor<?x2xf32> -> tensor<?x16xf32>
  return %y, %z, %ids, %weights : tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x2xi32>, tensor<?x2xf32>
}
