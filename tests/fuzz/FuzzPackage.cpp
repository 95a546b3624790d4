// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// manifest.json of a package folder -> openPackage. The folder, made here once, holds files that a manifest may name.

#include "FuzzTarget.h"

#include "codegen/emulate/PackageOnDisk.h"

#include <filesystem>
#include <fstream>

using namespace moec;
using namespace moec::fuzz;
namespace fs = std::filesystem;

namespace {
class Folder {
public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "moec-fuzz-XXXXXX").string();
    require(mkdtemp(pattern.data()) != nullptr, "a temporary folder can be made", pattern);
    path = pattern;
    for (const char *part : {"share/tiny", "lib", "include"})
      fs::create_directories(path + "/" + part);
    write("lib/libtiny.a", "!<arch>\n");
    write("share/tiny/spec.json", "{}\n");
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
  void write(const std::string &name, const std::string &text) const {
    std::ofstream(path + "/" + name, std::ios::binary) << text;
  }
  std::string path;
};
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const Folder folder;
  folder.write("share/tiny/manifest.json", textOf(data, size));
  Result<std::unique_ptr<PackageOnDisk>> package = openPackage(folder.path);
  if (package) // an archive without objects has no plan
    require(false, "a package without a plan is refused");
  require(!package.error().message.empty(), "an error says something");
  requirePrintable(package.error().message, "a message is printable");
  return 0;
}
