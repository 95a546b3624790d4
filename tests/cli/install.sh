# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# tests/install.sh without the right to install and without sudo: which command to run, and exit 1.
. "$2/tests/cli/expect.sh"
mkdir bin
printf '#!/bin/sh\nexit 1\n' >bin/dpkg-query # nothing is installed
printf '#!/bin/sh\necho 1000\n' >bin/id
printf '#!/bin/sh\nexit 99\n' >bin/apt-get
chmod +x bin/*
last='moec_install'
shell=$(command -v sh)
PATH=$work/bin "$shell" -euc '. "$1/tests/install.sh"; moec_install' sh "$source_dir" >out 2>err
status=$?
packages=$(sed -n "/^moec_packages='/,/'\$/p" "$source_dir/tests/install.sh" | sed "s/^moec_packages='//; s/'\$//" | tr '\n' ' ' | sed 's/ $//')
expect_status 1
expect_out ''
expect_err "installing: $packages
sudo is not installed; run this as root, then start again:
  apt-get update && apt-get install -y --no-install-recommends $packages"
done_testing
