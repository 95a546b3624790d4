# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# A row of the benchmark -> device memory it takes beside the weights, known before it is tried.


def row_bytes(tokens, choices, hidden, intermediate, workspace):
    """{"layer": x, y, their copies, workspace and the check; "peer": PyTorch's tensors of one call}, in bytes.

    Graphs of all contenders share one pool, so the peers' tensors count once. A peer holds rows of x, of gate and up,
    of their product, of the result and of the weighted result, all bf16."""
    checked = min(tokens, 1024) * choices
    call = 4 * tokens * hidden * 2 + workspace
    check = checked * (hidden * 2 + 3 * intermediate * 2 + hidden * 2 + hidden * 8) + min(tokens, 1024) * hidden * 12
    peer = tokens * choices * (3 * hidden * 2 + 3 * intermediate * 2) + 3 * tokens * hidden * 2
    dense = 65536 * (hidden + 2 * intermediate) * 2 if tokens >= 1024 else 0
    return {"layer": 2 * call + check + dense, "peer": peer}
