// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// RUN: moec-opt %s --verify-diagnostics --split-input-file

// expected-error @below {{'tile.kernel' op C3: target must be cpu, sm_80 or sm_90a, found sm_70}}
tile.kernel @t for(sm_70) (%a: !tile.rows<bf16, <direct>>, %b: !tile.matrices<bf16>, %o: !tile.rows<f32, <direct>>, %i: !tile.items) {
}

// -----

// expected-error @below {{'tile.kernel' op C1: arguments must begin with !tile.rows, !tile.matrices, !tile.rows, !tile.items}}
tile.kernel @t for(sm_80) (%a: !tile.rows<bf16, <direct>>, %b: !tile.panels<bf16, 1 : index, 32 : index>, %o: !tile.rows<f32, <direct>>, %i: !tile.items) {
}

// -----

// expected-error @below {{'tile.kernel' op C2: a kernel has one tile.ring and one tile.store, found 1 and 0}}
tile.kernel @t for(sm_90a) (%a: !tile.rows<bf16, <direct>>, %b: !tile.matrices<bf16>, %o: !tile.rows<f32, <direct>>, %i: !tile.items) {
  %r = tile.ring : !tile.ring<bf16, bf16, 64 : index, 64 : index, 64 : index, 4 : index>
}

// -----

func.func @row_bytes() {
  // expected-error @below {{'tile.ring' op C1: a row of 48 'bf16' has 96 bytes, must have 32, 64 or 128}}
  %r = tile.ring : !tile.ring<bf16, bf16, 64 : index, 64 : index, 48 : index, 4 : index>
  return
}

// -----

func.func @stages() {
  // expected-error @below {{'tile.ring' op C2: stages must be 2..8, found 9}}
  %r = tile.ring : !tile.ring<bf16, bf16, 64 : index, 64 : index, 64 : index, 9 : index>
  return
}

// -----

func.func @tile_size() {
  // expected-error @below {{'tile.ring' op C3: block_m (12) must be a multiple of 8 and block_n (64) of 16}}
  %r = tile.ring : !tile.ring<bf16, bf16, 12 : index, 64 : index, 64 : index, 4 : index>
  return
}

// -----

tile.kernel @splits for(sm_80) (%a: !tile.rows<bf16, <direct>>, %b: !tile.matrices<bf16>, %o: !tile.rows<f32, <direct>>, %i: !tile.items) {
  %r = tile.ring : !tile.ring<bf16, bf16, 16 : index, 64 : index, 64 : index, 4 : index>
  %c = tile.clear : !tile.fragment<16 : index, 64 : index, 1 : index, 2 : index>
  // expected-error @below {{'tile.for_tiles' op C1: splits must be 1..64, and 1 inside tile.roles, found 65}}
  tile.for_tiles %item, %n in %i splits 65 : index : !tile.items {
    tile.store %c[%item, %n] -> %o : !tile.fragment<16 : index, 64 : index, 1 : index, 2 : index>, !tile.rows<f32, <direct>>
  }
}

// -----

func.func @narrow_rows(%k: index) {
  %r = tile.ring : !tile.ring<bf16, bf16, 8 : index, 64 : index, 16 : index, 4 : index>
  %c = tile.clear : !tile.fragment<8 : index, 64 : index, 1 : index, 2 : index, 8 : index>
  // expected-error @below {{'tile.multiply' op C2: with columns first a row of a slot must have 64 or 128 bytes, found 32}}
  %d = tile.multiply %c, %r[%k] : !tile.fragment<8 : index, 64 : index, 1 : index, 2 : index, 8 : index>, !tile.ring<bf16, bf16, 8 : index, 64 : index, 16 : index, 4 : index>
  return
}

// -----

func.func @columns_of_consumers() {
  %r = tile.ring : !tile.ring<bf16, bf16, 8 : index, 64 : index, 64 : index, 4 : index>
  // expected-error @below {{'tile.roles' op C1: consumers must be 1 or 2 with 64 columns of B each, found 2 and 64 columns}}
  tile.roles %r consumers 2 lag 1 : !tile.ring<bf16, bf16, 8 : index, 64 : index, 64 : index, 4 : index> producer { %c = arith.constant 0 : index } consumer { %c = tile.clear : !tile.fragment<8 : index, 64 : index, 1 : index, 8 : index, 8 : index> }
  return
}

// -----

func.func @shapes(%k: index) {
  %r = tile.ring : !tile.ring<bf16, bf16, 64 : index, 64 : index, 64 : index, 4 : index>
  %c = tile.clear : !tile.fragment<32 : index, 64 : index, 1 : index, 2 : index>
  // expected-error @below {{'tile.multiply' op C1: the fragment is 32 x 64, the ring's tiles are 64 x 64}}
  %d = tile.multiply %c, %r[%k] : !tile.fragment<32 : index, 64 : index, 1 : index, 2 : index>, !tile.ring<bf16, bf16, 64 : index, 64 : index, 64 : index, 4 : index>
  return
}

// -----

func.func @consumers() {
  %r = tile.ring : !tile.ring<bf16, bf16, 128 : index, 128 : index, 64 : index, 4 : index>
  // expected-error @below {{'tile.roles' op C1: consumers must be 1 or 2 with 64 rows of A each, found 3 and 128 rows}}
  tile.roles %r consumers 3 lag 1 : !tile.ring<bf16, bf16, 128 : index, 128 : index, 64 : index, 4 : index> producer { %c = arith.constant 0 : index } consumer { %c = arith.constant 0 : index }
  return
}

// -----

func.func @rows_of_consumers() {
  %r = tile.ring : !tile.ring<bf16, bf16, 64 : index, 128 : index, 64 : index, 4 : index>
  // expected-error @below {{'tile.roles' op C1: consumers must be 1 or 2 with 64 rows of A each, found 2 and 64 rows}}
  tile.roles %r consumers 2 lag 1 : !tile.ring<bf16, bf16, 64 : index, 128 : index, 64 : index, 4 : index> producer { %c = arith.constant 0 : index } consumer { %c = arith.constant 0 : index }
  return
}

// -----

func.func @lag() {
  %r = tile.ring : !tile.ring<bf16, bf16, 64 : index, 128 : index, 64 : index, 4 : index>
  // expected-error @below {{'tile.roles' op C2: lag must be 1..stages-2 (2), found 3}}
  tile.roles %r consumers 1 lag 3 : !tile.ring<bf16, bf16, 64 : index, 128 : index, 64 : index, 4 : index> producer { %c = arith.constant 0 : index } consumer { %c = arith.constant 0 : index }
  return
}

// -----

func.func @no_lag() {
  %r = tile.ring : !tile.ring<bf16, bf16, 64 : index, 128 : index, 64 : index, 4 : index>
  // expected-error @below {{'tile.roles' op C2: lag must be 1..stages-2 (2), found 0}}
  tile.roles %r consumers 1 lag 0 : !tile.ring<bf16, bf16, 64 : index, 128 : index, 64 : index, 4 : index> producer { %c = arith.constant 0 : index } consumer { %c = arith.constant 0 : index }
  return
}

// -----

func.func @types() {
  %r = tile.ring : !tile.ring<bf16, f16, 64 : index, 128 : index, 64 : index, 4 : index>
  // expected-error @below {{'tile.roles' op C3: A and B must have one 2-byte type and rows of 64 elements, found 'bf16', 'f16' and 64}}
  tile.roles %r consumers 1 lag 1 : !tile.ring<bf16, f16, 64 : index, 128 : index, 64 : index, 4 : index> producer { %c = arith.constant 0 : index } consumer { %c = arith.constant 0 : index }
  return
}

// -----

func.func @depth() {
  %r = tile.ring : !tile.ring<bf16, bf16, 64 : index, 128 : index, 32 : index, 4 : index>
  // expected-error @below {{'tile.roles' op C3: A and B must have one 2-byte type and rows of 64 elements, found 'bf16', 'bf16' and 32}}
  tile.roles %r consumers 1 lag 1 : !tile.ring<bf16, bf16, 64 : index, 128 : index, 32 : index, 4 : index> producer { %c = arith.constant 0 : index } consumer { %c = arith.constant 0 : index }
  return
}

// -----

// expected-error @below {{'tile.kernel' op C4: early must be 1..3 of a CUDA kernel, and 2 only with tile.roles, found 2}}
tile.kernel @early for(sm_80) (%a: !tile.rows<bf16, <direct>>, %b: !tile.matrices<bf16>, %o: !tile.rows<f32, <direct>>, %i: !tile.items) attributes {early = 2 : index} {
  %r = tile.ring : !tile.ring<bf16, bf16, 16 : index, 64 : index, 64 : index, 4 : index>
  %c = tile.clear : !tile.fragment<16 : index, 64 : index, 1 : index, 2 : index>
  tile.for_tiles %item, %n in %i : !tile.items {
    tile.store %c[%item, %n] -> %o : !tile.fragment<16 : index, 64 : index, 1 : index, 2 : index>, !tile.rows<f32, <direct>>
  }
}

// -----

func.func @vacant() {
  %r = tile.ring : !tile.ring<bf16, bf16, 128 : index, 256 : index, 64 : index, 4 : index>
  // expected-error @below {{'tile.roles' op C4: vacant must be 1 or 2, and 1 where consumers share the columns, found 3}}
  tile.roles %r consumers 2 lag 1 vacant 3 : !tile.ring<bf16, bf16, 128 : index, 256 : index, 64 : index, 4 : index> producer { %c = arith.constant 0 : index } consumer { %c = arith.constant 0 : index }
  return
}

// -----

// expected-error @below {{'tile.kernel' op C5: n, k, parts, panels, panel_bytes, a_stride and out_stride must come together, n, k and parts positive}}
tile.kernel @shapes for(sm_80) (%a: !tile.rows<bf16, <direct>>, %b: !tile.matrices<bf16>, %o: !tile.rows<f32, <direct>>, %i: !tile.items) attributes {n = 8 : index, k = 16 : index} {
  %r = tile.ring : !tile.ring<bf16, bf16, 16 : index, 64 : index, 64 : index, 4 : index>
  %c = tile.clear : !tile.fragment<16 : index, 64 : index, 1 : index, 2 : index>
  tile.for_tiles %item, %n in %i : !tile.items {
    tile.store %c[%item, %n] -> %o : !tile.fragment<16 : index, 64 : index, 1 : index, 2 : index>, !tile.rows<f32, <direct>>
  }
}

// -----

// expected-error @below {{'tile.kernel' op C6: tf32, unordered, weighted, joined and transposed must be of CUDA kernels, weighted of unordered ones, unordered and joined of routed ones, split_rows of kernels without a route}}
tile.kernel @mode for(sm_80) (%a: !tile.rows<bf16, <direct>>, %b: !tile.matrices<bf16>, %o: !tile.rows<f32, <direct>>, %i: !tile.items) attributes {routed, weighted} {
  %r = tile.ring : !tile.ring<bf16, bf16, 16 : index, 64 : index, 64 : index, 4 : index>
  %c = tile.clear : !tile.fragment<16 : index, 64 : index, 1 : index, 2 : index>
  tile.for_tiles %item, %n in %i : !tile.items {
    tile.store %c[%item, %n] -> %o : !tile.fragment<16 : index, 64 : index, 1 : index, 2 : index>, !tile.rows<f32, <direct>>
  }
}
