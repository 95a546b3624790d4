// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// package.hpp - a linked package, or the path of a shared one, in -> what layers are made from.
#ifndef MOEC_PACKAGE_HPP
#define MOEC_PACKAGE_HPP

#include "result.hpp"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <dirent.h>
#include <dlfcn.h>
#include <sys/stat.h>

namespace moec {
inline namespace v0 {

// What NAME_package() returns. A linked package lives as long as the program, a loaded one as long as its last handle.
class Package {
public:
  Package(const moec_package *linked) : handle(linked, [](const moec_package *) {}) {}
  Package(const Package &) = default; // also for rvalues: a handle is never empty
  Package &operator=(const Package &) = default;

  // A shared package: its folder, or its lib/libNAME.so. Runs the library's code, so load only what you would link.
  // A package that was compiled again is opened as it is now; earlier handles keep the library that they opened. This
  // needs a new file, as moec compile makes one: never write into a library that is open.
  static Result<Package> open(const std::string &path) {
    std::string library = path;
    if (DIR *folder = ::opendir((path + "/lib").c_str())) {
      std::vector<std::string> found;
      while (const dirent *entry = ::readdir(folder))
        if (!name_in(entry->d_name).empty())
          found.push_back(path + "/lib/" + entry->d_name);
      ::closedir(folder);
      if (found.size() != 1)
        return Error{MOEC_FILE, path + ": " + std::to_string(found.size()) +
                                    " libraries lib/libNAME.so, expected 1; moec compile --emit shared makes it"};
      library = found[0];
    }
    std::string name = name_in(library.substr(library.rfind('/') + 1));
    if (name.empty())
      return Error{MOEC_FILE, library + ": expected a package's folder, or its lib/libNAME.so"};
    if (library.find('/') == std::string::npos)
      library = "./" + library; // otherwise the loader looks elsewhere
    void *opened = open_library(library);
    if (!opened)
      return Error{MOEC_FILE, std::string("cannot load the package: ") + ::dlerror()};
    std::shared_ptr<void> loaded(opened, [](void *at) { ::dlclose(at); });
    void *symbol = ::dlsym(opened, (name + "_package").c_str());
    if (!symbol)
      return Error{MOEC_FILE_FORMAT, library + ": not a package: it has no " + name + "_package"};
    const moec_package *(*entry)(void);
    std::memcpy(&entry, &symbol, sizeof entry);
    return Package(std::shared_ptr<const moec_package>(std::move(loaded), entry()));
  }
  const moec_package *get() const { return handle.get(); }

private:
  explicit Package(std::shared_ptr<const moec_package> loaded) : handle(std::move(loaded)) {}
  // "mixtral" of "libmixtral.so", "" of other names
  static std::string name_in(const std::string &file) {
    bool fits = file.size() > 6 && file.compare(0, 3, "lib") == 0 && file.compare(file.size() - 3, 3, ".so") == 0;
    return fits ? file.substr(3, file.size() - 6) : std::string();
  }
  // NOTE: the dynamic linker takes a name that it knows for the file that had it first, and compares files only for a
  // new name. So a known name is asked for again with the number of its file written in '/' (0) and '/.' (1).
  static void *open_library(const std::string &path) {
    void *known = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
    struct stat facts = {};
    if (!known || ::stat(path.c_str(), &facts) != 0)
      return known ? known : ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    size_t slash = path.rfind('/');
    std::string numbered = path.substr(0, slash);
    for (auto number = facts.st_ino; number; number >>= 1)
      numbered += number & 1 ? "/." : "/";
    void *opened = ::dlopen((numbered + path.substr(slash)).c_str(), RTLD_NOW | RTLD_LOCAL);
    ::dlclose(known);
    return opened;
  }
  std::shared_ptr<const moec_package> handle;
};

} // namespace v0
} // namespace moec
#endif
