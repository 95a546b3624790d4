// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The shadow of shared memory and its rules; a word that broke one is reported once per block.

#include "codegen/emulate/CudaShared.h"

#include <cstring>
#include <sys/mman.h>

namespace moec {

char *cudaSharedArena() {
  static char *const arena = []() -> char * {
    constexpr uint64_t unit = uint64_t(1) << 32;
    for (uint64_t high = 0x1a00; high < 0x1a40; ++high) {
      char *wanted = reinterpret_cast<char *>(high * unit - unit / 2);
      void *mapped = mmap(wanted, unit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (mapped == MAP_FAILED)
        continue;
      if (mapped == wanted && mprotect(wanted + unit / 2, cudaArenaBytes, PROT_READ | PROT_WRITE) == 0)
        return wanted + unit / 2;
      munmap(mapped, unit);
    }
    return nullptr;
  }();
  return arena;
}

void CudaShared::reset(uint32_t bytes) {
  size = bytes;
  allowedEpoch = 0;
  words.assign((bytes + 3) / 4, Word{});
  std::memset(cudaSharedArena(), 0xFF, (bytes + 15) / 16 * 16);
}

void CudaShared::complain(unsigned thread, Word &word, uint32_t index, const std::string &text) {
  if (word.flags & Reported)
    return;
  word.flags |= Reported;
  report(thread, text + " (shared offset " + std::to_string(index * 4) + ")");
}

void CudaShared::race(unsigned thread, Word &word, uint32_t index, const char *what, const char *earlier,
                      uint32_t epoch) {
  unsigned actor = CudaClocks::actorOf(epoch);
  std::string who = clocks.isThread(epoch) ? earlier + (" thread " + std::to_string(actor))
                    : actor < clocks.tensorActor(0)
                        ? "a TMA load wrote"
                        : "a wgmma of warp " + std::to_string(actor - clocks.tensorActor(0)) + " read";
  complain(thread, word, index, std::string("race: ") + what + " what " + who + ", with no barrier between");
}

void CudaShared::addReader(unsigned thread, Word &word, uint32_t epoch, unsigned mask) {
  unsigned actor = CudaClocks::actorOf(epoch), slot = 4;
  for (unsigned i = 0; i < 4; ++i) {
    uint32_t reader = word.readers[i];
    if (reader == 0 || CudaClocks::actorOf(reader) == actor) {
      slot = i;
      break;
    }
    if (slot == 4 && thread != ~0u && clocks.ordered(thread, reader))
      slot = i;
  }
  if (slot == 4)
    slot = turn++ % 4;
  unsigned shift = slot * 4;
  unsigned kept = word.readers[slot] == epoch ? word.readerMasks >> shift & 15u : 0;
  word.readers[slot] = epoch;
  word.readerMasks = uint16_t((word.readerMasks & ~(15u << shift)) | (mask | kept) << shift);
}

void CudaShared::checkWrite(unsigned thread, Word &word, uint32_t index, unsigned mask, bool atomic, const char *what) {
  if (word.tensorReads)
    complain(thread, word, index, std::string(what) + " what a wgmma in flight reads");
  if (word.writer && (word.writerMask & mask) && !(atomic && (word.flags & AtomicWriter)) &&
      !clocks.ordered(thread, word.writer))
    race(thread, word, index, what, "was written by", word.writer);
  for (unsigned i = 0; i < 4 && word.readers[i]; ++i)
    if ((word.readerMasks >> (4 * i) & mask) && !clocks.ordered(thread, word.readers[i]))
      race(thread, word, index, what, "was read by", word.readers[i]);
}

void CudaShared::accessWord(unsigned thread, uint32_t index, unsigned mask, CudaAccess kind, const char *what) {
  Word &word = words[index];
  if (word.flags & Barrier)
    complain(thread, word, index, std::string(what) + " an mbarrier");
  if (word.held)
    complain(thread, word, index, std::string(what) + " what an asynchronous copy in flight writes");
  if (kind != CudaAccess::Write && (word.written & mask) != mask)
    complain(thread, word, index, std::string(what) + " what was never written");
  uint32_t epoch = clocks.epoch(thread);
  if (kind == CudaAccess::Read) {
    if (word.writer && (word.writerMask & mask) && !clocks.ordered(thread, word.writer))
      race(thread, word, index, what, "was written by", word.writer);
    if (word.readers[0] != epoch || (word.readerMasks & mask) != mask)
      addReader(thread, word, epoch, mask);
    return;
  }
  checkWrite(thread, word, index, mask, kind == CudaAccess::Atomic, what);
  // Other bytes of the word keep their readers; the last writer of other bytes is forgotten, which hides a race at
  // most.
  for (unsigned i = 0; i < 4; ++i)
    if ((word.readerMasks >> (4 * i) & 15u & ~mask) == 0)
      word.readerMasks &= uint16_t(~(15u << (4 * i)));
  if (word.readerMasks == 0)
    std::memset(word.readers, 0, sizeof word.readers);
  word.writerMask = word.writer == epoch ? word.writerMask | mask : mask;
  word.writer = epoch;
  word.written |= mask;
  word.flags = uint8_t((word.flags & ~(AtomicWriter | AsyncProxy)) | (kind == CudaAccess::Atomic ? AtomicWriter : 0));
}

void CudaShared::access(unsigned thread, uint32_t offset, uint32_t count, CudaAccess kind, const char *what) {
  uint32_t end = offset + count;
  while (offset < end) {
    unsigned first = offset % 4, last = end - (offset - first) < 4 ? end - (offset - first) : 4;
    accessWord(thread, offset / 4, ((1u << last) - 1) & ~((1u << first) - 1), kind, what);
    offset += last - first;
  }
}

void CudaShared::beginAsyncWrite(unsigned thread, uint32_t offset, uint32_t count, const char *what) {
  for (uint32_t index = offset / 4; index < (offset + count) / 4; ++index) {
    Word &word = words[index];
    if (word.flags & Barrier)
      complain(thread, word, index, std::string(what) + " an mbarrier");
    if (word.held)
      complain(thread, word, index, std::string(what) + " what another asynchronous copy in flight writes");
    checkWrite(thread, word, index, 15, /*atomic=*/false, what);
    word.held = 1;
  }
}

void CudaShared::endAsyncWrite(uint32_t offset, uint32_t count, uint32_t epoch, bool asyncProxy) {
  for (uint32_t index = offset / 4; index < (offset + count) / 4; ++index) {
    Word &word = words[index];
    uint8_t flags = uint8_t((word.flags & (Reported | Barrier)) | (asyncProxy ? AsyncProxy : 0));
    word = Word{};
    word.writer = epoch;
    word.writerMask = word.written = 15;
    word.flags = flags;
  }
}

void CudaShared::beginTensorRead(unsigned thread, uint32_t offset, uint32_t count) {
  if (allowedThread != thread)
    allowedEpoch = 0;
  allowedThread = thread;
  for (uint32_t index = offset / 4; index < (offset + count) / 4; ++index) {
    Word &word = words[index];
    ++word.tensorReads;
    if (word.writer && word.writer == allowedEpoch && !(word.flags & Barrier) && !word.held && word.written == 15)
      continue;
    if (checkTensorRead(thread, word, index))
      allowedEpoch = word.writer;
  }
}

bool CudaShared::checkTensorRead(unsigned thread, Word &word, uint32_t index) {
  static const char *const what = "wgmma reads";
  if (word.flags & Barrier)
    complain(thread, word, index, "wgmma reads an mbarrier");
  else if (word.held)
    complain(thread, word, index, "wgmma reads what an asynchronous copy in flight writes");
  else if (word.written != 15)
    complain(thread, word, index, "wgmma reads what was never written");
  else if (!clocks.ordered(thread, word.writer))
    race(thread, word, index, what, "was written by", word.writer);
  else if (!(word.flags & AsyncProxy) && !clocks.visibleToAsyncProxy(thread, word.writer))
    complain(thread, word, index,
             "wgmma reads what thread " + std::to_string(CudaClocks::actorOf(word.writer)) +
                 " wrote, with no fence_async between");
  else
    return true;
  return false;
}

void CudaShared::endTensorRead(unsigned actor, uint32_t offset, uint32_t count) {
  uint32_t epoch = clocks.epoch(actor);
  for (uint32_t index = offset / 4; index < (offset + count) / 4; ++index) {
    Word &word = words[index];
    --word.tensorReads;
    if (word.readers[0] != epoch || (word.readerMasks & 15) != 15)
      addReader(~0u, word, epoch, 15);
  }
}

void CudaShared::markBarrier(uint32_t offset) {
  for (uint32_t index = offset / 4; index < offset / 4 + 2; ++index)
    words[index].flags |= Barrier;
}

} // namespace moec
