// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The package's objects, loaded, and its CUDA images in place of those in the plan object.

#include "codegen/emulate/LoadedPackage.h"

#include "codegen/emulate/LoadedObject.h"
#include "codegen/package/LoadedLibrary.h"

namespace moec {

struct LoadedPackage::Impl {
  std::unique_ptr<LoadedObject> objects; // or a library
  std::unique_ptr<LoadedLibrary> library;
  // A copy of the object's package of one pass with other images.
  struct Pass {
    std::vector<std::string> images;
    std::vector<moec_cuda_image> imageTable;
    moec_package package;

    void take(const moec_package &linked, const std::vector<std::string> &from) {
      package = linked;
      images = from;
      for (const std::string &image : images)
        imageTable.push_back({image.data(), image.size()});
      package.images = imageTable.empty() ? nullptr : imageTable.data();
      package.num_images = imageTable.size();
    }
  };
  Pass forward, backward;
};

LoadedPackage::~LoadedPackage() = default;

Result<std::unique_ptr<LoadedPackage>> LoadedPackage::load(const CompiledPackage &compiled) {
  std::unique_ptr<LoadedPackage> loaded(new LoadedPackage);
  loaded->impl = std::make_unique<Impl>();
  std::vector<const ObjectFile *> files;
  for (const ObjectFile &object : compiled.objects)
    files.push_back(&object);
  Result<std::unique_ptr<LoadedObject>> objects = LoadedObject::load(files);
  if (!objects)
    return objects.takeError();
  loaded->impl->objects = std::move(*objects);
  Result<void *> getter = loaded->impl->objects->address(compiled.name + "_package");
  if (!getter)
    return getter.takeError();
  Impl &impl = *loaded->impl;
  const moec_package &linked = *reinterpret_cast<const moec_package *(*)()>(*getter)();
  impl.forward.take(linked, compiled.images);
  if (compiled.backward && linked.backward) {
    impl.backward.take(*linked.backward, compiled.backward->images);
    impl.forward.package.backward = &impl.backward.package;
  }
  loaded->package = &impl.forward.package;
  return loaded;
}

Result<std::unique_ptr<LoadedPackage>> LoadedPackage::open(const std::string &path, const std::string &name) {
  Result<std::unique_ptr<LoadedLibrary>> library = LoadedLibrary::open(path, name);
  if (!library)
    return library.takeError();
  std::unique_ptr<LoadedPackage> loaded(new LoadedPackage);
  loaded->impl = std::make_unique<Impl>();
  loaded->impl->library = std::move(*library);
  loaded->package = loaded->impl->library->package();
  return loaded;
}

} // namespace moec
