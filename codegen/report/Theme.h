// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Nothing -> the style sheet of a report: light, dark (prefers-color-scheme) and print.

#ifndef MOEC_CODEGEN_REPORT_THEME_H
#define MOEC_CODEGEN_REPORT_THEME_H

namespace moec {

// Every text has a contrast of at least 4.5 to what is behind it, every mark of at least 3, in both themes.
extern const char *const reportStyle;

} // namespace moec

#endif
