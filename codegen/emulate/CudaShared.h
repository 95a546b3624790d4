// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Accesses to a block's shared memory -> the bytes, and a text for each access that the memory model forbids.
//
// Every 4-byte word has a shadow: who wrote it last, up to four readers since, which bytes were ever written, and
// whether an asynchronous operation holds it. Rules, each with its text in CudaShared.cpp:
//   - an access lies within the launch's shared memory and is aligned as the instruction requires
//   - bytes are written before they are read
//   - two accesses of the same bytes are ordered (CudaClocks) unless both are reads or both are atomic
//   - nobody accesses a word that cp.async or TMA will write until the operation is known to be complete
//   - nobody writes a word that a wgmma in flight reads
//   - wgmma reads only words that the asynchronous proxy wrote, or that a fence.proxy.async made visible to it
//   - only mbarrier instructions access the word of an mbarrier

#ifndef MOEC_CODEGEN_EMULATE_CUDASHARED_H
#define MOEC_CODEGEN_EMULATE_CUDASHARED_H

#include "codegen/emulate/CudaClocks.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace moec {

// Start of the arena, shared by all machines of the process: 256 KiB, at an address whose low 32 bits are 0, with no
// access for 2 GiB on both sides. Null when the system has no room. Thread-safe.
char *cudaSharedArena();
constexpr uint32_t cudaArenaBytes = 256 * 1024;

enum class CudaAccess : uint8_t { Read, Write, Atomic };

class CudaShared {
public:
  CudaShared(CudaClocks &clocks, std::function<void(unsigned thread, std::string)> report)
      : clocks(clocks), report(std::move(report)) {}

  // Poison everywhere, nothing written.
  void reset(uint32_t bytes);
  uint32_t bytes() const { return size; }
  char *at(uint32_t offset) const { return cudaSharedArena() + offset; }
  bool within(uint64_t offset, uint64_t count) const { return offset <= size && count <= size - offset; }

  // An access by `thread` of [offset, offset + count), which lies within the memory. `what` names it in messages.
  void access(unsigned thread, uint32_t offset, uint32_t count, CudaAccess kind, const char *what);

  // A 16-byte-granular asynchronous write: begin checks it as a write of `thread` and holds the words, end stamps them
  // as written at `epoch`, by the asynchronous proxy or not.
  void beginAsyncWrite(unsigned thread, uint32_t offset, uint32_t count, const char *what);
  void endAsyncWrite(uint32_t offset, uint32_t count, uint32_t epoch, bool asyncProxy);

  // wgmma: begin checks the read for `thread` and counts the words as in flight, end stamps the reader.
  void beginTensorRead(unsigned thread, uint32_t offset, uint32_t count);
  void endTensorRead(unsigned actor, uint32_t offset, uint32_t count);

  void markBarrier(uint32_t offset); // 8 bytes become an mbarrier

private:
  struct Word {
    uint32_t writer, readers[4];
    uint16_t readerMasks; // four bits per reader
    uint8_t written;      // bytes ever written
    uint8_t writerMask;   // bytes of the last write
    uint8_t held;         // an asynchronous write is under way
    uint8_t tensorReads;  // wgmmas in flight
    uint8_t flags;
  };
  enum : uint8_t { AtomicWriter = 1, Barrier = 2, AsyncProxy = 4, Reported = 8 };

  void accessWord(unsigned thread, uint32_t index, unsigned mask, CudaAccess kind, const char *what);
  void checkWrite(unsigned thread, Word &word, uint32_t index, unsigned mask, bool atomic, const char *what);
  bool checkTensorRead(unsigned thread, Word &word, uint32_t index); // false after a complaint
  void addReader(unsigned thread, Word &word, uint32_t epoch, unsigned mask);
  void race(unsigned thread, Word &word, uint32_t index, const char *what, const char *earlier, uint32_t epoch);
  void complain(unsigned thread, Word &word, uint32_t index, const std::string &text);

  CudaClocks &clocks;
  std::function<void(unsigned, std::string)> report;
  std::vector<Word> words;
  uint32_t size = 0, turn = 0;
  // The last writer that beginTensorRead accepted for this thread; most words of a tile have the same writer.
  unsigned allowedThread = 0;
  uint32_t allowedEpoch = 0;
};

} // namespace moec

#endif
