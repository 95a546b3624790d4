# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Programs that moec runs and that do not do their work: exit 5, with the reason, and nothing left behind.
. "$2/tests/cli/expect.sh"
cp "$source_dir/examples/tiny.json" tiny.json
mkdir bin

broken() { # broken TOOL REASON SCRIPT: the tool is this script
  flags='--emit shared --target cpu:avx2'
  [ "$1" != ptxas ] || flags='--target cuda:sm_80'
  printf '%s\n' "$3" >"bin/$1"
  chmod +x "bin/$1"
  # shellcheck disable=SC2086 # one word per flag
  PATH=$work/bin:$PATH run compile tiny.json -q -o none $flags
  expect_status 5
  expect_in err "error[E-TOOL]"
  expect_in err "$2"
  expect_in err 'hint: moec doctor'
  expect_that 'nothing is left' test "$(ls)" = 'bin
err
out
tiny.json'
}

for tool in ptxas ld.lld-22; do
  rm -f bin/*
  broken $tool "bin/$tool was ended by a signal (Killed), most likely for lack of memory" '#!/bin/sh
kill -9 $$'
  broken $tool "bin/$tool failed with code 3: no licence; ask \x1b[31mthe vendor" "$(printf '#!/bin/sh\necho no licence\necho; printf "ask \\033[31mthe vendor\\n"\nexit 3')"
  broken $tool "bin/$tool cannot be started: No such file or directory" '#!/nonexistent/sh'
  broken $tool "bin/$tool ended without an error and wrote no " '#!/bin/sh
exit 0'
  broken $tool 'wrote is no ' '#!/bin/sh
while [ "$1" != -o ]; do shift; done
head -c 100 /dev/urandom >"$2"'
done

# A cubin of other kernels.
rm -f bin/*
broken ptxas 'what ptxas wrote is no cubin: it is for another machine' "#!/bin/sh
while [ \"\$1\" != -o ]; do shift; done
cat '$moec' >\"\$2\""
done_testing
