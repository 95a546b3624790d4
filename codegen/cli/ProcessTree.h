// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A process that ends -> the programs that it started end too.
//
// A killed child cannot end its own children. The process that adopts orphans becomes their parent, so that it can.

#ifndef MOEC_CODEGEN_CLI_PROCESSTREE_H
#define MOEC_CODEGEN_CLI_PROCESSTREE_H

#include <sys/types.h>
#include <vector>

namespace moec {

class ProcessTree {
public:
  // From now on this process adopts the orphans among its descendants. Children that it has already are not of the
  // tree: a shell may have become this program, and its background jobs with it.
  ProcessTree();

  // Kills what the tree's processes have left behind, and waits for its end, at most a second.
  void endOrphans();

private:
  std::vector<pid_t> others;
};

} // namespace moec

#endif
