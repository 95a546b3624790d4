// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the labels of the tile dialect refuse.
// RUN: moec-opt %s -split-input-file -verify-diagnostics

// expected-error @below {{'tile.kernel' op C1: arguments must begin with !tile.rows, !tile.panels, !tile.rows, !tile.items}}
tile.kernel @kernel_c1_missing for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>) {
}

// -----
// expected-error @below {{'tile.kernel' op C1: arguments must begin with !tile.rows, !tile.panels, !tile.rows, !tile.items}}
tile.kernel @kernel_c1_order for(cpu) (%b: !tile.panels<f32, 4 : index, 8 : index>, %a: !tile.rows<f32, #tile.access<direct>>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
}

// -----
// expected-error @below {{'tile.kernel' op C2: a kernel has one tile.pack and one tile.epilogue, found 0 and 1}}
tile.kernel @kernel_c2_no_pack for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
// expected-error @below {{'tile.kernel' op C2: a kernel has one tile.pack and one tile.epilogue, found 2 and 1}}
tile.kernel @kernel_c2_two_packs for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
// expected-error @below {{'tile.kernel' op C2: a kernel has one tile.pack and one tile.epilogue, found 1 and 0}}
tile.kernel @kernel_c2_no_epilogue for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
      }
    }
  }
}

// -----
// expected-error @below {{'tile.kernel' op C2: a kernel has one tile.pack and one tile.epilogue, found 1 and 2}}
tile.kernel @kernel_c2_two_epilogues for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @scratch_c1_type for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  // expected-error @below {{'tile.scratch' op C1: result must be !tile.packed or !tile.spill, found '!tile.acc<2 : index>'}}
  %s = tile.scratch : !tile.acc<2 : index>
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @pack_c1_ragged for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<5 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    // expected-error @below {{'tile.pack' op C1: panel_m (5) must be a positive multiple of block_m (2)}}
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<5 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<5 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @pack_c1_no_rows for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<0 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    // expected-error @below {{'tile.pack' op C1: panel_m (0) must be a positive multiple of block_m (2)}}
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<0 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<0 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @pack_c1_no_block for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 0 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    // expected-error @below {{'tile.pack' op C1: panel_m (4) must be a positive multiple of block_m (0)}}
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 0 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 0 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @prefetch_c1_ragged for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        // expected-error @below {{'tile.prefetch' op C1: block (3) must divide k_steps (4) or be a multiple of it}}
        tile.prefetch %b[%item, %n, %m, %n] block 3 streams 8 share 1 hint <t1> : !tile.panels<f32, 4 : index, 8 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @prefetch_c1_zero for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        // expected-error @below {{'tile.prefetch' op C1: block (0) must divide k_steps (4) or be a multiple of it}}
        tile.prefetch %b[%item, %n, %m, %n] block 0 streams 8 share 1 hint <t1> : !tile.panels<f32, 4 : index, 8 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @prefetch_c1_ragged_multiple for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        // expected-error @below {{'tile.prefetch' op C1: block (6) must divide k_steps (4) or be a multiple of it}}
        tile.prefetch %b[%item, %n, %m, %n] block 6 streams 8 share 1 hint <t1> : !tile.panels<f32, 4 : index, 8 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @prefetch_c2_streams for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        // expected-error @below {{'tile.prefetch' op C2: streams must be 1, 2, 4, 8 or 16, found 3}}
        tile.prefetch %b[%item, %n, %m, %n] block 4 streams 3 share 1 hint <t1> : !tile.panels<f32, 4 : index, 8 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @mma_c1_rows for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<3 : index>
        // expected-error @below {{'tile.mma' op C1: accumulator has 3 rows, the packed operand's blocks 2}}
        %d = tile.mma %c, %p[%m, %n], %b[%item, %n] a_hint <none> tiles 2 : !tile.acc<3 : index>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>, !tile.panels<f32, 4 : index, 8 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<3 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @mma_c2_steps for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 5 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        // expected-error @below {{'tile.mma' op C2: packed operand has 4 steps of 8, panels 5 of 8}}
        %d = tile.mma %c, %p[%m, %n], %b[%item, %n] a_hint <none> tiles 2 : !tile.acc<2 : index>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>, !tile.panels<f32, 5 : index, 8 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @mma_c2_depth for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 4 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        // expected-error @below {{'tile.mma' op C2: packed operand has 4 steps of 8, panels 4 of 4}}
        %d = tile.mma %c, %p[%m, %n], %b[%item, %n] a_hint <none> tiles 2 : !tile.acc<2 : index>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>, !tile.panels<f32, 4 : index, 4 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @mma_c3 for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      tile.for_rows %m in %p : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        // expected-error @below {{'tile.mma' op C3: tiles is 3, expected 1 or 2}}
        %d = tile.mma %c, %p[%m, %n], %b[%item, %n] a_hint <none> tiles 3 : !tile.acc<2 : index>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>, !tile.panels<f32, 4 : index, 8 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}

// -----
tile.kernel @for_rows_c1 for(cpu) (%a: !tile.rows<f32, #tile.access<direct>>, %b: !tile.panels<f32, 4 : index, 8 : index>, %out: !tile.rows<f32, #tile.access<direct>>, %items: !tile.items) {
  %p = tile.scratch : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
  tile.for_items %item in %items : !tile.items {
    tile.pack %a[%item] -> %p : !tile.rows<f32, #tile.access<direct>>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>
    tile.for_columns %n in %item : !tile.item {
      // expected-error @below {{'tile.for_rows' op C1: heights is 3 for blocks of 2 rows, expected 1 or 2}}
      tile.for_rows %m in %p heights 3 : !tile.packed<4 : index, 2 : index, 4 : index, 8 : index> {
        %c = tile.zero : !tile.acc<2 : index>
        %d = tile.mma %c, %p[%m, %n], %b[%item, %n] a_hint <none> tiles 2 : !tile.acc<2 : index>, !tile.packed<4 : index, 2 : index, 4 : index, 8 : index>, !tile.panels<f32, 4 : index, 8 : index>
        tile.epilogue %c[%item, %n, %m] -> %out : !tile.acc<2 : index>, !tile.rows<f32, #tile.access<direct>>
      }
    }
  }
}
