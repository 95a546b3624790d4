// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// warp_specialised.mlir - grouped matmul on Hopper: one warpgroup copies, the others multiply.
//
//     out[r, c] = epilogue(acc_0 .. acc_{parts-1}),   acc_p = sum_k A[row(r), k] * B_p[group(r), c, k]
//
//     producer    wait until slot s is empty; B by TMA, A rows by cp.async (a gather has no TMA); say full, `lag` steps
//                 late
//     consumers   wait until slot s is full; wgmma on 64 rows each; say that the slot of the step before is empty
//
// Steps are counted over all tiles of a block, so the ring never drains between tiles: the producer is ahead by up to
// `stages` steps while consumers store. One wgmma covers the columns of all parts, which puts gate and up of an output
// into the same thread.

#block_m   = 128 : index          // {64, 128}: rows of a tile
#block_n   = 256 : index          // {64, 128, 192, 256}: columns of a tile, all parts together
#block_k   = 64 : index           // {64}: depth of a step, 128 bytes
#stages    = 4 : index            // {3 .. 8}: slots of the ring
#lag       = 2 : index            // {1 .. 4}: steps whose copies of A are in flight, at most stages - 2
#consumers = 2 : index            // {1, 2}: warpgroups that multiply, 64 rows each
#early     = 1 : index            // {1, 2, 3}: done before its predecessor ends: 1 nothing, 2 mbarriers, 3 also weights
#vacant    = 1 : index            // {1, 2}: a consumer behind the last row of a tile: 1 multiplies, 2 returns slots
#warps_m   = 8 : index            // = 4 * consumers
#warps_n   = 1 : index            // = 1
#k_steps   = 4 : index            // = ceildiv(k, block_k)
#a_access  = #tile.access<direct> // {direct, gathered}
!in        = bf16                 // {bf16, f16}: element of A
!weight    = bf16                 // {bf16, f16}: element of B, as A
!result    = f32                  // {bf16, f16, f32}: element of the output

!A    = !tile.rows<!in, #a_access>
!B    = !tile.matrices<!weight>
!O    = !tile.rows<!result, #tile.access<direct>>
!ring = !tile.ring<!in, !weight, #block_m, #block_n, #block_k, #stages>
!acc  = !tile.fragment<#block_m, #block_n, #warps_m, #warps_n>

tile.kernel @warp_specialised for(sm_90a) (%a: !A, %b: !B, %out: !O, %items: !tile.items) attributes {early = #early} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %steps = arith.constant #k_steps
  %ring = tile.ring : !ring
  tile.roles %ring consumers #consumers lag #lag vacant #vacant : !ring producer {
    tile.for_tiles %item, %n in %items : !tile.items {
      scf.for %k = %c0 to %steps step %c1 {
        tile.fill %a, %b[%item, %n] step %k -> %ring : !A, !B, !ring
      }
    }
    tile.flush %ring : !ring
  } consumer {
    tile.for_tiles %item, %n in %items : !tile.items {
      %zero = tile.clear : !acc
      %acc = scf.for %k = %c0 to %steps step %c1 iter_args(%c = %zero) -> (!acc) {
        %d = tile.consume %c, %ring[%k] : !acc, !ring
        scf.yield %d : !acc
      }
      %sum = tile.finish %acc, %ring : !acc, !ring
      tile.store %sum[%item, %n] -> %out : !acc, !O
    }
  }
}
