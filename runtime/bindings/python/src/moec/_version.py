# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The version of this package, which is that of the runtime that it needs."""

VERSION = "0.1.0"
