# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# awk -f classes.awk CLASSES KERNELS PRESET_CLASSES -> "ran CLASS" or "MISSING CLASS", for each class of the third file.
#
#   CLASSES         CASE KERNEL CLASS...    what class a kernel of a package is of
#   KERNELS         CASE KERNEL             what ran in cases that passed; cases of big and trained are packages of the folder bench
#   PRESET_CLASSES  CLASS...  [PRESET...]   what presets have, with the presets in brackets
{
  sub(/^(big|trained)\//, "bench/")
  sub(/^core-unwatched\//, "core/")
}
FILENAME == ARGV[1] {
  key = $1 " " $2
  sub(/^[^ ]+ [^ ]+ /, "")
  class_of[key] = $0
  next
}
FILENAME == ARGV[2] {
  ran[class_of[$1 " " $2]] = 1
  next
}
{
  class = $0
  sub(/  \[[^\]]*\]$/, "", class)
  print ((class in ran) ? "ran " : "MISSING ") $0
}
