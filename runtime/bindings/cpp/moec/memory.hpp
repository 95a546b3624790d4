// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// memory.hpp - the caller's containers and files in -> pointers with their type and number of elements; aligned memory.
#ifndef MOEC_MEMORY_HPP
#define MOEC_MEMORY_HPP

#include "result.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace moec {
inline namespace v0 {

// 16-bit elements as they are stored. For a type of your own, specialise Element.
struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  explicit bf16(float value) { // to the nearest, halves to even
    uint32_t word;
    std::memcpy(&word, &value, sizeof word);
    uint32_t rounded = word + 0x7fff + (word >> 16 & 1);
    bits = static_cast<uint16_t>(value != value ? (word >> 16) | 0x40 : rounded >> 16);
  }
  explicit operator float() const {
    uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
};
struct f16 {
  uint16_t bits = 0;
};

// The moec_dtype of a C++ type: Element<T>::dtype.
template <class T> struct Element;
template <> struct Element<float> {
  static constexpr moec_dtype dtype = MOEC_F32;
};
template <> struct Element<bf16> {
  static constexpr moec_dtype dtype = MOEC_BF16;
};
template <> struct Element<f16> {
  static constexpr moec_dtype dtype = MOEC_F16;
};
template <> struct Element<int32_t> {
  static constexpr moec_dtype dtype = MOEC_I32;
};
template <> struct Element<int64_t> {
  static constexpr moec_dtype dtype = MOEC_I64;
};

inline const char *dtype_name(moec_dtype dtype) {
  switch (dtype) {
  case MOEC_F32:
    return "f32";
  case MOEC_BF16:
    return "bf16";
  case MOEC_F16:
    return "f16";
  case MOEC_I32:
    return "i32";
  case MOEC_I64:
    return "i64";
  default:
    return "another type";
  }
}

// A pointer and a number of elements, made from whatever has data() and size() (std::vector, std::array, std::span), an
// array, or both. May name device memory: only its size is read.
template <class T> class Span {
public:
  Span() = default;
  Span(T *data, size_t size) : first(data), count(size) {}
  template <size_t N> Span(T (&array)[N]) : first(array), count(N) {}
  template <class C, class P = decltype(std::declval<C &>().data()),
            class = std::enable_if_t<std::is_convertible_v<P, T *>>, class = decltype(std::declval<C &>().size())>
  Span(C &&container) : first(container.data()), count(container.size()) {}
  T *data() const { return first; }
  size_t size() const { return count; }

private:
  T *first = nullptr;
  size_t count = 0;
};

// Elements of a type that is known at run time. Pointer is const void * or void *.
template <class Pointer> struct BasicView {
  Pointer data = nullptr;
  size_t count = 0;
  moec_dtype dtype = MOEC_F32;
  BasicView(Pointer first, size_t elements, moec_dtype type) : data(first), count(elements), dtype(type) {}
  template <class C, class P = decltype(std::declval<C &>().data()),
            class = std::enable_if_t<std::is_convertible_v<P, Pointer>>, class = decltype(std::declval<C &>().size())>
  BasicView(C &&container)
      : data(container.data()), count(container.size()),
        dtype(Element<std::remove_cv_t<std::remove_pointer_t<P>>>::dtype) {}
  template <class T, size_t N, class = std::enable_if_t<std::is_convertible_v<T *, Pointer>>>
  BasicView(T (&array)[N]) : data(array), count(N), dtype(Element<std::remove_cv_t<T>>::dtype) {}
};
using View = BasicView<const void *>;
using MutableView = BasicView<void *>;

// Host memory, 4096-byte aligned, not initialised.
class Buffer {
public:
  static constexpr size_t alignment = 4096;
  static Result<Buffer> allocate(size_t bytes) {
    size_t rounded = (std::max<size_t>(bytes, 1) + alignment - 1) / alignment * alignment;
    void *memory = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
    if (!memory)
      return Error{MOEC_OUT_OF_MEMORY, "no memory for " + std::to_string(bytes) + " bytes"};
    return Buffer(memory, bytes);
  }
  void *data() const { return memory.get(); }
  size_t size() const { return bytes; }

private:
  struct Free {
    void operator()(void *pointer) const { std::free(pointer); }
  };
  Buffer(void *pointer, size_t size) : memory(pointer), bytes(size) {}
  std::unique_ptr<void, Free> memory;
  size_t bytes = 0;
};

// A whole file in memory, read only. The file may not become shorter while it is used.
class MappedFile {
public:
  static Result<MappedFile> open(const std::string &path) {
    int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat facts = {};
    void *memory = MAP_FAILED;
    if (file >= 0 && ::fstat(file, &facts) == 0 && facts.st_size > 0)
      memory = ::mmap(nullptr, static_cast<size_t>(facts.st_size), PROT_READ, MAP_SHARED, file, 0);
    int reason = errno;
    if (file >= 0)
      ::close(file);
    if (memory == MAP_FAILED)
      return Error{MOEC_FILE, path + ": cannot map it: " +
                                  (file >= 0 && facts.st_size == 0 ? "it is empty" : std::strerror(reason))};
    size_t bytes = static_cast<size_t>(facts.st_size);
    return MappedFile(
        std::shared_ptr<const void>(memory, [bytes](const void *at) { ::munmap(const_cast<void *>(at), bytes); }),
        bytes);
  }
  const void *data() const { return memory.get(); }
  size_t size() const { return bytes; }

private:
  MappedFile(std::shared_ptr<const void> mapped, size_t size) : memory(std::move(mapped)), bytes(size) {}
  std::shared_ptr<const void> memory;
  size_t bytes;
};

} // namespace v0
} // namespace moec
#endif
