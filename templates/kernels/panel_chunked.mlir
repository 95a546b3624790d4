// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// panel_chunked.mlir - grouped matmul for many rows per group, k cut into chunks that stay in L1:
//
//     out[r, c] = epilogue(acc_0 .. acc_{parts-1}),   acc_p = sum_chunk sum_{k in chunk} A[row(r), k] * B_p[group(r),
//     c, k]
//
// A chunk of a column panel is loaded into L1 once and used by every row block before the next chunk; accumulators wait
// in a small spill area meanwhile. A is read past L1 (a_hint nta) so that it does not push the chunk out.

#block_m        = 32 : index          // {6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 32}: rows of one block
#panel_m        = 128 : index         // multiple of block_m: rows of an item, packed at once
#block_k        = 32 : index          // {4, 8, 32}: depth of one step; 32 for 2-byte weights
#k_steps        = 32 : index          // = ceildiv(k, block_k)
#chunk          = 16 : index          // {8 .. 64}: steps of a chunk
#prefetch_block = 32 : index          // divides k_steps or is a multiple of it: steps of one prefetched block
#streams        = 8 : index           // {1, 2, 4, 8, 16}: places of that block fetched side by side
#share          = 1 : index           // {1 .. 64}: first row blocks of an item, which share the fetching
#tiles          = 2 : index           // {1, 2}: 16-column tiles of a panel side by side; 1: bf16 in one linear stream
#hint           = #tile.hint<t1>      // {none, t0, t1, nta}: where prefetched lines go
#a_hint         = #tile.hint<nta>     // {none, nta}: nta keeps A out of the way of B
#out_hint       = #tile.hint<none>    // {none, nta}: nta writes whole lines past the caches
#a_access       = #tile.access<direct> // {direct, gathered}
!in             = bf16                // {bf16, f32}: element of A
!weight         = bf16                // {bf16, f32}: element of B
!result         = f32                 // {bf16, f32}: element of the output

!A   = !tile.rows<!in, #a_access>
!B   = !tile.panels<!weight, #k_steps, #block_k>
!O   = !tile.rows<!result, #tile.access<direct>>
!P   = !tile.packed<#panel_m, #block_m, #k_steps, #block_k>
!S   = !tile.spill<#panel_m>
!acc = !tile.acc<#block_m>

tile.kernel @panel_chunked for(cpu) (%a: !A, %b: !B, %out: !O, %items: !tile.items) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %steps = arith.constant #k_steps
  %chunk = arith.constant #chunk
  %packed = tile.scratch : !P
  %spill = tile.scratch : !S
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %packed : !A, !P
    tile.for_columns %n in %item : !tile.item {
      scf.for %first = %c0 to %steps step %chunk {
        %next = arith.addi %first, %chunk : index
        %last = arith.minsi %next, %steps : index
        tile.for_rows %m in %packed : !P {
          %start = tile.restore %spill[%m] chunk %first : !S, !acc
          %acc = scf.for %k = %first to %last step %c1 iter_args(%c = %start) -> (!acc) {
            %d = tile.mma %c, %packed[%m, %k], %b[%item, %n] a_hint #a_hint tiles #tiles : !acc, !P, !B
            tile.prefetch %b[%item, %n, %m, %k] block #prefetch_block streams #streams share #share hint #hint : !B
            scf.yield %d : !acc
          }
          tile.save %acc, %spill[%m] : !acc, !S
        }
      }
      tile.for_rows %m in %packed : !P {
        %done = tile.restore %spill[%m] chunk %c1 : !S, !acc
        tile.epilogue %done[%item, %n, %m] -> %out out_hint #out_hint : !acc, !O
      }
    }
  }
}
