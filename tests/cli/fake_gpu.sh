# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# For tests of a bundle's runner without a GPU: two drivers that stand for the machine's, and the runner with one of them.
# fake: kernels do nothing. agrees: besides, what poisons memory clears it, so outputs are 0 in every call. WRONG=N: from
# the N-th download of a process on, the first byte of what is read back is another.
mkdir fake agrees
cat >agrees.c <<'EOC'
#define cuMemsetD8_v2 fake_memset
#define cuMemcpyDtoH_v2 fake_download
#include "tests/cuda/fake/libcuda.c"
#undef cuMemsetD8_v2
#undef cuMemcpyDtoH_v2
int cuMemsetD8_v2(moec_cuda_pointer to, unsigned char value, size_t bytes) { return fake_memset(to, 0, bytes); }
int cuMemcpyDtoH_v2(void *to, moec_cuda_pointer from, size_t bytes) {
  static int downloads;
  int result = fake_download(to, from, bytes);
  const char *wrong = getenv("WRONG");
  if (wrong && ++downloads == atoi(wrong))
    *(char *)to = 1;
  return result;
}
EOC
include="-D_GNU_SOURCE -I$source_dir -I$source_dir/runtime"
cc -shared -fPIC $include -o fake/libcuda.so.1 "$source_dir/tests/cuda/fake/libcuda.c" || complain 'the fake driver compiles'
cc -shared -fPIC $include -o agrees/libcuda.so.1 agrees.c || complain 'agrees.c compiles'
run_runner() { # run_runner DRIVER SETTING WORD...
  last="run ($1 $2) $3 $4"
  env "LD_LIBRARY_PATH=$work/$1" "$2" bundle/run "$3" "$4" >out 2>err </dev/null
  status=$?
}
