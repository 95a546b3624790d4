// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// swapped.mlir - grouped matmul for few rows per group: weights are the first operand of the tensor cores, rows the
// second
//
//     out[r, c] = epilogue(acc_0 .. acc_{parts-1}),   acc_p = sum_k A[row(r), k] * B_p[group(r), c, k]
//
// m16n8k16 multiplies 16 rows of its first operand with 8 of its second. With 1 to 8 rows per group, A as the first
// would leave half of every instruction, of the ring's rows and of the sums to padding: here 16 columns of B are the
// first and 8 rows of A the second. Gate and up of an output are in one thread all the same. The walk is that of
// multistage.mlir.

#block_m  = 8 : index             // {8, 16, 32}: rows of a tile
#block_n  = 128 : index           // {16, 32, 64, 128, 256}: columns of a tile, all parts together
#block_k  = 64 : index            // {16, 32, 64}: depth of a step, 64 or 128 bytes
#stages   = 5 : index             // {2 .. 8}: slots of the ring
#early    = 1 : index             // {1, 3}: before it waits for its predecessor: 1 nothing, 3 the first weights
#warps_m  = 1 : index             // {1}: warps over the rows of a tile
#warps_n  = 4 : index             // {1, 2, 4, 8}: warps over its columns
#unit_m   = 8 : index             // = 8: rows of an instruction
#splits   = 1 : index             // {1 .. 64}: blocks that share the depth of a tile; 1 with a route
#k_steps  = 4 : index             // = ceildiv(k, block_k * splits)
#ahead    = 4 : index             // = stages - 1
#a_access = #tile.access<direct>  // {direct, gathered}
!in       = bf16                  // {bf16, f16, f32}: element of A
!weight   = bf16                  // {bf16, f16, f32}: element of B, as A
!result   = f32                   // {bf16, f16, f32}: element of the output

!A    = !tile.rows<!in, #a_access>
!B    = !tile.matrices<!weight>
!O    = !tile.rows<!result, #tile.access<direct>>
!ring = !tile.ring<!in, !weight, #block_m, #block_n, #block_k, #stages>
!acc  = !tile.fragment<#block_m, #block_n, #warps_m, #warps_n, #unit_m>

tile.kernel @swapped for(sm_80) (%a: !A, %b: !B, %out: !O, %items: !tile.items) attributes {early = #early} {
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
