# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Layers and calls that are larger than the machine or its limits: said before the memory is used, and never a mistake of
# moec or of a kernel.
. "$2/tests/cli/expect.sh"

run --memory-limit 4000 -q verify mixtral-8x7b --tokens 1 --target cpu:avx2
expect_status 9
expect_in err 'moec: error[E-MEMORY]: verify needs about 5'
expect_in err ' of memory for weights and a call, the limit of address space leaves '

# 3 * 2^40 elements.
printf '{"moec": 1, "name": "big", "hidden": 1048576, "router": {"top_k": 1},
  "experts": {"count": 1, "intermediate": 1048576}}' >big.json
for verb in verify bench; do
  run -q $verb big.json --tokens 1 --target cpu:avx2
  expect_status 6
  expect_in err "moec: error[E-MACHINE]: $verb needs about "
  expect_in err 'this machine has '
done
"$moec" -q compile big.json --target cpu:baseline --stop-after build >big.mlir
for verb in verify bench; do
  run -q $verb big.mlir --tokens 1 --target cpu:baseline
  expect_status 6
done

# Packages, by moec and by the program without the compiler.
tool=$moec
run -q compile big.json --target cpu:avx2 --emit shared -o big_package
expect_status 0
for program in moec moec-run; do
  moec=$(dirname "$tool")/$program
  for verb in verify bench; do
    run $verb big_package --tokens 1
    expect_status 6
    expect_in err "$program: error[E-MACHINE]: $verb needs about "
  done
done
moec=$tool

# A workspace that cannot be had is not a wrong result.
printf '{"moec": 1, "name": "taken", "hidden": 8, "router": {"kind": "expert_choice", "select": {"tokens": 1073741824}},
  "experts": {"count": 4, "intermediate": 6}}' >taken.json
run --memory-limit 8000 -q verify taken.json --tokens 1,3 --target cpu:avx2
expect_status 9
expect_in err 'moec: error[E-MEMORY]: '
expect_out ''

# Thousands of small tensors.
python3 -c '
import json
print(json.dumps({"moec": 1, "name": "mixed", "hidden": 8, "router": {"top_k": 2},
                  "experts": {"count": 1200, "intermediate": [6 + i % 2 for i in range(1200)]}}))' >mixed.json
run --memory-limit 3000 -q verify mixed.json --tokens 1 --threads 1 --target cpu:baseline
expect_status 0

# Limits follow the length of the sums.
for sizes in '262144 6' '1048576 2' '2 1048576'; do
  set -- $sizes
  printf '{"moec": 1, "name": "long", "hidden": %s, "router": {"top_k": 2}, "experts": {"count": 2, "intermediate": %s}}' \
    "$1" "$2" >long.json
  run -q verify long.json --tokens 1,3 --threads 1 --target cpu:avx2
  expect_status 0
done

printf '{"moec": 1, "name": "soft", "hidden": 8, "router": {"kind": "soft", "slots": 4096},
  "experts": {"count": 4096, "intermediate": 6}}' >soft.json
for verb in check explain compile; do
  run $verb soft.json
  expect_status 4
  expect_in err 'error[E-UNSUPPORTED]: 4096 experts of 4096 slots are 16777216 slots, at most 1048576 are built'
done
sed 's/"slots": 4096/"slots": 2/; s/"count": 4096/"count": 4/' soft.json >few.json
run check few.json
expect_out 'few.json: valid, 4 experts, 2 slots each, H 8, I 6, f32'

# Recorded routings take little more memory than their file has bytes.
mkdir routings
python3 -c '
import array, json, struct
tokens = 8 << 20
header = json.dumps({"ids": {"dtype": "I32", "shape": [tokens, 2], "data_offsets": [0, 8 * tokens]}}).encode()
with open("routings/a.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(header)) + header)
    for _ in range(tokens >> 12):
        file.write(array.array("i", [0, 1, 2, 3] * (1 << 11)).tobytes())'
last='explain --routings'
cp "$source_dir/examples/tiny.json" tiny.json
python3 - "$moec" <<'PY' >out 2>err
import resource, subprocess, sys
def peak(*words):
    p = subprocess.Popen([sys.argv[1], *words], stdout=subprocess.DEVNULL)
    import os
    _, status, used = os.wait4(p.pid, 0)
    assert status == 0, status
    return used.ru_maxrss / 1024
alone = peak("-q", "explain", "tiny.json")
with_file = peak("-q", "explain", "tiny.json", "--routings", "routings")
print(alone, with_file)
assert with_file - alone < 1.5 * 64, (alone, with_file)
PY
status=$?
expect_status 0
done_testing
