// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// contiguous.mlir - grouped matmul on Hopper whose rows of A follow each other, both operands by TMA: one thread
// copies, one or two warpgroups multiply
//
//     out[r, c] = epilogue(acc_0 .. acc_{parts-1}),   acc_p = sum_k A[r, k] * B_p[group(r), c, k]
//
// Where the stage gathers, a launch before copies the rows of A into the order of the route, which writes and reads
// them once more; without a gather nothing is copied. A box of A may reach into the next group's rows: what is
// multiplied with these is not stored. The walk is that of warp_specialised.mlir.

#block_m   = 128 : index          // {64, 128}: rows of a tile
#block_n   = 256 : index          // {64, 128, 192, 256}: columns of a tile, all parts together
#block_k   = 64 : index           // {64}: depth of a step, 128 bytes
#stages    = 4 : index            // {3 .. 8}: slots of the ring
#lag       = 1 : index            // = 1: no copy of A is told of late
#consumers = 2 : index            // {1, 2}: warpgroups that multiply, 64 rows each
#early     = 1 : index            // {1, 2, 3}: done before its predecessor ends: 1 nothing, 2 mbarriers, 3 also weights
#vacant    = 1 : index            // {1, 2}: a consumer behind the last row of a tile: 1 multiplies, 2 returns slots
#warps_m   = 8 : index            // = 4 * consumers
#warps_n   = 1 : index            // = 1
#by_tma    = 1 : index            // = 1: rows of A come by TMA
#k_steps   = 4 : index            // = ceildiv(k, block_k)
!in        = bf16                 // {bf16, f16}: element of A
!weight    = bf16                 // {bf16, f16}: element of B, as A
!result    = f32                  // {bf16, f16, f32}: element of the output

!A    = !tile.rows<!in, #tile.access<contiguous>>
!B    = !tile.matrices<!weight>
!O    = !tile.rows<!result, #tile.access<direct>>
!ring = !tile.ring<!in, !weight, #block_m, #block_n, #block_k, #stages>
!acc  = !tile.fragment<#block_m, #block_n, #warps_m, #warps_n>

tile.kernel @contiguous for(sm_90a) (%a: !A, %b: !B, %out: !O, %items: !tile.items) attributes {early = #early} {
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
