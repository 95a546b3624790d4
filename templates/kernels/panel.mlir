// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// panel.mlir - grouped matmul, the rows of an item packed once and multiplied with one column panel after another:
//
//     out[r, c] = epilogue(acc_0 .. acc_{parts-1}),   acc_p = sum_k A[row(r), k] * B_p[group(r), c, k]
//
// B is read once per item in the one order it has in memory; while a panel is used the block that follows is fetched.
// All k of a block stay in registers, so nothing is spilled: right while panel_m rows of A and two panels fit in L2.

#block_m        = 32 : index // {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 32, 48}: rows of a block
#panel_m        = 32 : index          // multiple of block_m: rows of an item, packed at once
#block_k        = 32 : index          // {4, 8, 32}: depth of one step; 32 for 2-byte weights
#k_steps        = 4 : index           // = ceildiv(k, block_k)
#prefetch_block = 4 : index           // divides k_steps or is a multiple of it: steps of one prefetched block
#streams        = 8 : index           // {1, 2, 4, 8, 16}: places of that block fetched side by side
#share          = 1 : index           // {1 .. 64}: first row blocks of an item, which share the fetching
#heights        = 1 : index           // {1, 2}: 2 spreads an item's rows over blocks of block_m and block_m - 1 rows
#tiles          = 2 : index           // {1, 2}: 16-column tiles of a panel side by side; 1: bf16 in one linear stream
#hint           = #tile.hint<t1>      // {none, t0, t1, nta}: where prefetched lines go
#a_hint         = #tile.hint<none>    // {none, nta}: nta keeps A out of the way of B
#out_hint       = #tile.hint<none>    // {none, nta}: nta writes whole lines past the caches
#a_access       = #tile.access<direct> // {direct, gathered}
!in             = bf16                // {bf16, f32}: element of A
!weight         = bf16                // {bf16, f32}: element of B
!result         = f32                 // {bf16, f32}: element of the output

!A   = !tile.rows<!in, #a_access>
!B   = !tile.panels<!weight, #k_steps, #block_k>
!O   = !tile.rows<!result, #tile.access<direct>>
!P   = !tile.packed<#panel_m, #block_m, #k_steps, #block_k>
!acc = !tile.acc<#block_m>

tile.kernel @panel for(cpu) (%a: !A, %b: !B, %out: !O, %items: !tile.items) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %steps = arith.constant #k_steps
  %packed = tile.scratch : !P
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %packed : !A, !P
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %packed heights #heights : !P {
        %zero = tile.zero : !acc
        %acc = scf.for %k = %c0 to %steps step %c1 iter_args(%c = %zero) -> (!acc) {
          %d = tile.mma %c, %packed[%m, %k], %b[%item, %n] a_hint #a_hint tiles #tiles : !acc, !P, !B
          tile.prefetch %b[%item, %n, %m, %k] block #prefetch_block streams #streams share #share hint #hint : !B
          scf.yield %d : !acc
        }
        tile.epilogue %acc[%item, %n, %m] -> %out out_hint #out_hint : !acc, !O
      }
    }
  }
}
