// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// multistage.mlir - grouped matmul on a grid of tiles, both operands copied ahead into a ring of stages:
//
//     out[r, c] = epilogue(acc_0 .. acc_{parts-1}),   acc_p = sum_k A[row(r), k] * B_p[group(r), c, k]
//
// stages - 1 steps are in flight while one is multiplied; the one barrier of a step says both that its data have
// arrived and that the slot of the step before is free. Small block_m for few rows per group: weights are the traffic
// then, and what hides memory is the number of bytes in flight, stages * block_n * block_k over all resident blocks.

#block_m  = 64 : index            // {16, 32, 64, 128}: rows of a tile
#block_n  = 128 : index           // {32, 64, 128, 256}: columns of a tile, all parts together
#block_k  = 64 : index            // {16, 32, 64}: depth of a step
#stages   = 4 : index             // {2 .. 8}: slots of the ring
#early    = 1 : index             // {1, 3}: before it waits for its predecessor: 1 nothing, 3 the first weights
#warps_m  = 2 : index             // {1, 2, 4}: warps over the rows of a tile
#warps_n  = 4 : index             // {1, 2, 4, 8}: warps over its columns
#splits   = 1 : index             // {1 .. 64}: blocks that share the depth of a tile; 1 with a route
#k_steps  = 4 : index             // = ceildiv(k, block_k * splits)
#ahead    = 3 : index             // = stages - 1
#a_access = #tile.access<direct>  // {direct, gathered}
!in       = bf16                  // {bf16, f16, f32}: element of A
!weight   = bf16                  // {bf16, f16, f32}: element of B
!result   = f32                   // {bf16, f16, f32}: element of the output

!A    = !tile.rows<!in, #a_access>
!B    = !tile.matrices<!weight>
!O    = !tile.rows<!result, #tile.access<direct>>
!ring = !tile.ring<!in, !weight, #block_m, #block_n, #block_k, #stages>
!acc  = !tile.fragment<#block_m, #block_n, #warps_m, #warps_n>

tile.kernel @multistage for(sm_80) (%a: !A, %b: !B, %out: !O, %items: !tile.items) attributes {early = #early} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %steps = arith.constant #k_steps
  %ahead = arith.constant #ahead
  %ring = tile.ring : !ring
  tile.for_tiles %item, %n in %items splits #splits : !tile.items {
    scf.for %s = %c0 to %ahead step %c1 {
      tile.copy %a, %b[%item, %n] step %s -> %ring : !A, !B, !ring
    }
    %zero = tile.clear : !acc
    %acc = scf.for %k = %c0 to %steps step %c1 iter_args(%c = %zero) -> (!acc) {
      tile.await %ring : !ring
      %next = arith.addi %k, %ahead : index
      tile.copy %a, %b[%item, %n] step %next -> %ring : !A, !B, !ring
      %d = tile.multiply %c, %ring[%k] : !acc, !ring
      scf.yield %d : !acc
    }
    tile.drain %ring : !ring
    tile.store %acc[%item, %n] -> %out : !acc, !O
  }
}
