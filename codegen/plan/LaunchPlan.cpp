// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Layout and text of a launch plan. The blob's map is drawn in runtime/moec_abi.h.

#include "codegen/plan/LaunchPlan.h"

#include "runtime/plan/weight_layout.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace moec {

namespace {

const char *const bufferKinds[] = {"input", "output", "weight", "workspace", "optional", "route"};
const char *const stacks[] = {"single", "per_expert", "stacked", "flat_rows", "interleaved_columns"};
const char *const axisOrders[] = {"out_in", "in_out"};
const char *const partNames[] = {"all", "first_half", "second_half", "even", "odd"};
const char *const typeNames[] = {"f32", "bf16", "f16",   "i32", "fp8_e4m3", "fp8_e5m2",
                                 "i8",  "i4",   "mxfp4", "u8",  "i64",      "f64"};
const char *const placesModes[] = {"fixed", "share", "given"};
const char *const roundNames[] = {"floor", "ceil", "nearest"};
const char *const scopeNames[] = {"batch", "sequence", "group"};
const char *const isaNames[] = {"baseline", "avx2", "avx512", "avx512_bf16", "amx"};

template <size_t N> const char *nameIn(const char *const (&names)[N], size_t i) { return i < N ? names[i] : "?"; }

std::string extentText(moec_extent extent) {
  std::string text;
  if (extent.per_token)
    text = std::to_string(extent.per_token) + "*T";
  if (extent.per_sequence)
    text += (text.empty() ? "" : "+") + std::to_string(extent.per_sequence) + "*B";
  if (extent.fixed || text.empty())
    text += (text.empty() ? "" : "+") + std::to_string(extent.fixed);
  return text;
}

template <typename T> moec_span append(std::vector<char> &blob, const std::vector<T> &values) {
  blob.resize(llvm::alignTo(blob.size(), 8));
  moec_span span = {uint32_t(blob.size()), uint32_t(values.size())};
  const char *bytes = reinterpret_cast<const char *>(values.data());
  blob.insert(blob.end(), bytes, bytes + values.size() * sizeof(T));
  return span;
}

void printRoles(const LaunchPlan &plan, llvm::raw_ostream &os) {
  os << "roles\n";
  for (auto [i, role] : llvm::enumerate(plan.roles)) {
    os << "  " << i << ' ' << plan.string(role.name) << " [";
    llvm::interleaveComma(llvm::ArrayRef(role.dims, role.rank), os);
    os << "] " << (role.matrix ? "matrix" : "vector") << (role.expert_axis ? " per expert" : "") << " from \""
       << plan.string(role.tensor) << "\" " << nameIn(stacks, role.stack) << ' ' << nameIn(axisOrders, role.axes) << ' '
       << nameIn(partNames, role.part) << '\n';
  }
}

void printWeights(const LaunchPlan &plan, llvm::raw_ostream &os) {
  os << "weights\n";
  for (auto [i, weight] : llvm::enumerate(plan.weights)) {
    os << "  " << i << (weight.layout == MOEC_LAYOUT_PANELS ? " panels " : " vector ")
       << nameIn(typeNames, weight.dtype);
    for (unsigned part = 0; part < weight.parts; ++part)
      os << ' ' << plan.string(plan.roles[weight.role[part]].name);
    os << (weight.transposed ? " transposed" : "") << " groups " << weight.groups << " n " << weight.n << " k "
       << weight.k << " padded " << weight.n_padded << 'x' << weight.k_padded << " panels " << weight.panels << " at "
       << weight.offset << " bytes " << weight.bytes << '\n';
  }
}

void printBuffers(const LaunchPlan &plan, llvm::raw_ostream &os) {
  os << "buffers\n";
  for (auto [i, buffer] : llvm::enumerate(plan.buffers)) {
    os << "  " << i << ' ' << plan.string(buffer.name) << ' ' << nameIn(bufferKinds, buffer.kind) << ' ';
    if (buffer.kind == MOEC_BUFFER_WEIGHT)
      os << buffer.slot << ' ';
    if (buffer.kind == MOEC_BUFFER_WORKSPACE || buffer.kind == MOEC_BUFFER_OPT_OUTPUT)
      os << "slot " << buffer.slot << ' ';
    if (buffer.kind == MOEC_BUFFER_ROUTE)
      os << "of step " << buffer.route << ' ';
    os << nameIn(typeNames, buffer.dtype) << " bytes " << extentText(buffer.bytes);
    if (buffer.row_stride)
      os << " stride " << buffer.row_stride;
    os << '\n';
  }
}

void printPlaces(const moec_places &places, llvm::raw_ostream &os) {
  os << " places " << nameIn(placesModes, places.mode) << ' ' << llvm::format("%g", places.value);
  if (places.mode == MOEC_PLACES_SHARE)
    os << '*' << places.times << '/' << places.over;
  os << ' ' << nameIn(roundNames, places.round) << " in " << places.least << ".." << places.most << " scope "
     << nameIn(scopeNames, places.scope);
  if (places.scope == MOEC_SCOPE_GROUP)
    os << " of " << places.group_tokens;
}

void printStep(const LaunchPlan &plan, const moec_step &step, llvm::raw_ostream &os) {
  os << plan.string(step.name) << ' ' << stepKindName(step) << " (";
  llvm::interleaveComma(plan.argsOf(step), os, [&](uint16_t arg) { os << plan.string(plan.buffers[arg].name); });
  os << ')';
  if (step.route != MOEC_NO_ROUTE)
    os << " over step " << step.route;
  if (step.kind == MOEC_STEP_DISPATCH || step.kind == MOEC_STEP_SLOTS || step.kind == MOEC_STEP_CAPACITY)
    os << " groups " << step.num_groups << " choices " << step.choices;
  if (step.kind == MOEC_STEP_MATMUL)
    os << " groups " << step.num_groups << " panels " << step.num_panels << " flops/row " << step.flops_per_row
       << " bytes/group " << step.bytes_per_group;
  if (step.kind == MOEC_STEP_CAPACITY || step.kind == MOEC_STEP_TOP_TOKENS)
    printPlaces(step.places, os);
  if (step.kind == MOEC_STEP_COLUMNS)
    os << " blocks " << step.choices << " scope " << nameIn(scopeNames, step.places.scope);
  if (step.kind == MOEC_STEP_ROWS)
    os << " rows/task " << step.rows_per_task;
  if (step.asked)
    os << " if asked";
  os << '\n';
  for (unsigned isa = 0; isa < MOEC_NUM_ISAS; ++isa)
    if (step.isa[isa].num_variants)
      os << "      " << isaNames[isa] << " functions " << step.isa[isa].first_fn << ".."
         << step.isa[isa].first_fn + step.isa[isa].num_variants - 1 << " max_rows " << step.isa[isa].max_rows
         << " row_multiple " << step.isa[isa].row_multiple << '\n';
}

} // namespace

uint32_t LaunchPlan::addString(llvm::StringRef text) {
  for (size_t at = 0; at < strings.size(); at += std::strlen(strings.c_str() + at) + 1)
    if (text == strings.c_str() + at)
      return uint32_t(at);
  return appendString(text);
}

uint32_t LaunchPlan::appendString(llvm::StringRef text) {
  uint32_t offset = uint32_t(strings.size());
  strings.append(text.data(), text.size());
  strings.push_back('\0');
  return offset;
}

llvm::ArrayRef<uint16_t> LaunchPlan::argsOf(const moec_step &step) const {
  return llvm::ArrayRef(args).slice(step.first_arg, step.num_args);
}

std::vector<char> LaunchPlan::serialize() {
  std::vector<char> blob(sizeof(moec_plan_header));
  header.magic = MOEC_ABI_MAGIC;
  header.abi_major = MOEC_ABI_MAJOR;
  header.abi_minor = MOEC_ABI_MINOR;
  header.header_bytes = sizeof(moec_plan_header);
  header.buffer_bytes = sizeof(moec_buffer);
  header.step_bytes = sizeof(moec_step);
  header.role_bytes = sizeof(moec_role);
  header.weight_bytes = sizeof(moec_weight);
  header.buffers = append(blob, buffers);
  header.steps = append(blob, steps);
  header.args = append(blob, args);
  header.covers = append(blob, covers);
  header.roles = append(blob, roles);
  header.weights = append(blob, weights);
  header.strings = append(blob, std::vector<char>(strings.begin(), strings.end()));
  header.total_bytes = uint32_t(blob.size());
  std::memcpy(blob.data(), &header, sizeof(header));
  // The only implicit padding of the structs; equal plans must have equal bytes.
  constexpr size_t padding = offsetof(moec_plan_header, top_k) + sizeof(header.top_k);
  std::fill(blob.begin() + padding, blob.begin() + offsetof(moec_plan_header, hidden), '\0');
  return blob;
}

void LaunchPlan::print(llvm::raw_ostream &os) const {
  os << "plan " << string(header.name) << " x " << nameIn(typeNames, header.x_dtype) << " y "
     << nameIn(typeNames, header.y_dtype) << (header.pass == MOEC_PASS_BACKWARD ? " backward" : "") << " hidden "
     << header.hidden << " experts " << header.num_experts << " top_k " << header.top_k << " max_tokens "
     << header.max_tokens << (header.chunk_tokens ? " chunk_tokens " + std::to_string(header.chunk_tokens) : "") << '\n'
     << "slots " << header.num_slots << " scratch " << header.scratch_bytes << " packed " << header.packed_bytes
     << " items " << extentText(header.items) << '\n';
  printRoles(*this, os);
  printWeights(*this, os);
  printBuffers(*this, os);
  os << "steps\n";
  for (auto [i, step] : llvm::enumerate(steps)) {
    os << "  " << i << ' ';
    printStep(*this, step, os);
  }
}

std::optional<SharedMatrices> sharedMatrices(llvm::ArrayRef<moec_weight> weights, const moec_weight &weight) {
  for (auto [i, owner] : llvm::enumerate(weights)) {
    bool same = owner.layout == weight.layout && owner.derived == MOEC_DERIVED_NONE && !owner.transposed &&
                owner.dtype == weight.dtype && owner.groups == weight.groups &&
                owner.role_per_group == weight.role_per_group;
    for (unsigned part = 0; same && part + weight.parts <= owner.parts; ++part)
      if (std::equal(weight.role, weight.role + weight.parts, owner.role + part))
        return SharedMatrices{i, part};
  }
  return std::nullopt;
}

void finishWeightLayout(moec_weight &weight) {
  uint64_t elementBytes = uint64_t(moec_dtype_bytes(weight.dtype));
  if (weight.layout == MOEC_LAYOUT_VECTOR) {
    weight.panels = 0;
    weight.n_padded = uint32_t(llvm::alignTo(weight.n, MOEC_PANEL_COLUMNS));
    weight.k_padded = 1;
    weight.bytes = uint64_t(weight.groups) * weight.n_padded * elementBytes;
    return;
  }
  uint32_t columns = MOEC_PANEL_COLUMNS / weight.parts;
  weight.panels = uint32_t(llvm::divideCeil(weight.n, columns));
  weight.n_padded = weight.panels * columns;
  weight.k_padded = uint32_t(llvm::alignTo(weight.k, elementBytes == 2 ? MOEC_BLOCK_K : 8));
  weight.bytes = uint64_t(weight.groups) * weight.panels * weight.k_padded * MOEC_PANEL_COLUMNS * elementBytes;
}

} // namespace moec
