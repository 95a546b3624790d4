// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Entries of a schedule <-> the texts that records hold: "panel { block_m = 6, ... } numeric fma" is what printSchedule
// prints for an entry, without its range.

#ifndef MOEC_CODEGEN_TUNE_TUNECANDIDATE_H
#define MOEC_CODEGEN_TUNE_TUNECANDIDATE_H

#include "codegen/schedule/Schedule.h"
#include "codegen/tune/TuneRecord.h"

namespace moec {

// "cpu:avx512" -> Avx512, "cuda:sm_90a" -> Sm90a; nullopt: this version does not know the name.
std::optional<Isa> isaOfTarget(llvm::StringRef target);
std::optional<CudaArch> archOfTarget(llvm::StringRef target);
std::string targetOf(Isa isa);
std::string targetOf(CudaArch arch);

// The facts of a stage by which records are looked up. `spec` is the layer's hash as 64 hex digits.
TuneStage tuneStageOf(const MatmulStage &facts, llvm::StringRef spec, llvm::StringRef layer);

// The reverse, as far as a record goes: shape and types, without regions, strides and groups. The rules of CPU entries
// look at nothing else. nullopt: this version does not compute with one of the types.
std::optional<MatmulStage> matmulStageOf(const TuneStage &stage);

// Equal texts are equal kernels.
std::string candidateText(const ScheduleEntry &entry);
std::string candidateText(const CudaEntry &entry);

// The reverse; parameters that the text leaves out get the template's default. The error, E-SCHEDULE without a place,
// says what parseSchedule found.
Result<ScheduleEntry> cpuCandidate(llvm::StringRef text, TuneClass rows, llvm::StringRef templatesDir = "");
Result<CudaEntry> cudaCandidate(llvm::StringRef text, TuneClass tokens, llvm::StringRef templatesDir = "");

// The text as candidateText prints its entry: for comparing texts of different versions. `text` itself if it has no
// such entry.
std::string canonicalCandidate(llvm::StringRef text, bool cuda, llvm::StringRef templatesDir = "");
// The same without panel_m of a CPU kernel, which sizes its packed rows: kernels of one text compute alike.
std::string codeOfCandidate(llvm::StringRef text, bool cuda, llvm::StringRef templatesDir = "");
std::string codeOfCandidate(ScheduleEntry entry);

// What changes from the default to a candidate, for people: "block_m 12 -> 6, hint t1 -> none"; empty if nothing does.
// The candidate's text if one of the two has no such entry.
std::string changesText(llvm::StringRef standard, llvm::StringRef candidate, bool cuda,
                        llvm::StringRef templatesDir = "");

// SHA-256 of the template that the kernel is made of, 64 hex digits; empty: it is moec's own, or there is none.
std::string overlayHash(llvm::StringRef text, bool cuda, llvm::StringRef templatesDir);

// "fma" of "... numeric fma"; empty for CUDA.
std::string numericOf(llvm::StringRef text);

} // namespace moec

#endif
