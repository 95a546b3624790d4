// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What every bundle.json has, whatever its kernels run on -> its JSON.

#ifndef MOEC_CODEGEN_SEARCH_BUNDLETEXT_H
#define MOEC_CODEGEN_SEARCH_BUNDLETEXT_H

#include "codegen/tune/TuneRecord.h"

#include "llvm/Support/JSON.h"

namespace moec {

// 16 hexadecimal digits of the 64-bit FNV-1a hash.
std::string bundleHash(llvm::StringRef bytes);

// "moec_bundle", "name", "moec", "stamp", "tokens", "minimum_gain_ppm". `stamp` is what every record says.
void writeBundleHead(llvm::json::OStream &os, const TuneRecord &stamp, double minimumGain);

// "head" and "choice_head": the record, as a measurement and as a choice, up to its member "machine".
void writeRecordHeads(llvm::json::OStream &os, TuneRecord record);

} // namespace moec

#endif
