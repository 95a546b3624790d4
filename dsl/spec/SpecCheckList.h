// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shared by the files of SpecChecks: the spec, the places of its keys, and the list of check functions.

#ifndef MOEC_DSL_SPEC_SPECCHECKLIST_H
#define MOEC_DSL_SPEC_SPECCHECKLIST_H

#include "dsl/spec/SpecChecks.h"
#include "dsl/spec/SpecFields.h"

#include <initializer_list>
#include <string>

namespace moec {

class SpecCheckList {
public:
  SpecCheckList(const LayerSpec &spec, const SpecSource &source, DiagnosticList &diagnostics)
      : spec(spec), source(source), diagnostics(diagnostics) {}

  void checkRouting();
  void checkExperts();
  void checkCapacity();
  void checkTraining();
  void checkLayer();
  void checkStorage();
  void checkUnused();

private:
  // SpecChecksRouting.cpp
  void checkTopK();            // E-K
  void checkGroups();          // E-GROUP-DIV, E-GROUP-SELECTED
  void checkEachGroup();       // E-GROUP-EACH
  void checkTokenGroups();     // E-TOKEN-GROUPS, E-GROUP-DIV
  void checkScoreNorm();       // E-SCORE-NORM
  void checkSparseMixer();     // E-BIAS-SPARSEMIXER
  void checkExpertDropout();   // E-DROPOUT
  void checkTokensTaken();     // E-TOKENS
  void checkVariableChoices(); // E-MISSING, E-K
  void checkTransforms();      // E-TRANSFORM
  void checkLevels();          // E-LEVELS
  void checkProductKey();      // E-LEVELS
  void checkCausal();          // E-CAUSAL
  void checkTableIds();        // E-TABLE-IDS
  // SpecChecksExperts.cpp
  void checkWidths();      // E-MISSING, E-HETERO
  void checkZeroExperts(); // E-ZERO
  void checkApplyInput();  // E-APPLY-INPUT
  void checkShared();      // E-SHARED-DIM, E-SHARED-ROUTER
  void checkTypes();       // E-DTYPE
  void checkQuant();       // E-QUANT-SHAPE, E-QUANT-BWD
  void checkLora();        // E-LORA-QUANT
  // SpecChecksLayer.cpp
  void checkCapacityValue(); // E-CAP-VALUE, E-CAP-DYN
  void checkCapacityKind();  // E-CAP-KIND, E-CAP-NEXT
  void checkLosses();        // E-LOSS-NOGRAD, E-LOSS-LOAD, E-LOSS-KIND
  void checkLossQuantities(const LossSpec &loss, const std::string &path, bool logits);
  void checkReports(); // E-REPORT
  void checkPasses();  // E-PASSES, E-TRAIN-SPARSEMIXER
  void checkUpdate();  // E-UPDATE
  void checkWrap();    // E-WRAP
  // SpecChecksStorage.cpp
  void checkFrozen(const std::vector<Role> &roles);                      // E-FROZEN
  void checkWeightRoles(const std::vector<Role> &roles);                 // E-WEIGHTS
  void checkStorageForm(const Role &role, const WeightStorage &storage); // E-WEIGHTS
  void checkSiblings(const std::vector<Role> &roles);                    // E-WEIGHTS
  void checkSharedTensors();                                             // E-WEIGHTS
  void checkHeteroStorage(const std::vector<Role> &roles);               // E-HETERO
  // SpecChecksUnused.cpp
  void checkUnusedSelect(); // E-UNUSED, all of them
  void checkUnusedLogits();
  void checkUnusedRouter();
  void checkUnusedNoise();
  void checkUnusedLevels();
  void checkUnusedExperts();
  void checkUnusedFeedForward(const std::string &path, const FeedForward &block);
  void checkUnusedNorm(const std::string &path, const std::optional<NormSpec> &norm);
  void checkUnusedLayer();
  void unused(const std::string &path, bool isDefault, const std::string &reason);

  void fail(std::string_view code, const std::string &path, std::string message, std::string hint = {});
  bool readable(std::initializer_list<const char *> paths) const;
  std::string rowsText() const; // "experts.count (8)", or the sum with zero experts

  const LayerSpec &spec;
  const SpecSource &source;
  DiagnosticList &diagnostics;
};

// "router.kind is soft": the reason in many messages.
std::string kindText(RouterKind kind);

} // namespace moec

#endif
