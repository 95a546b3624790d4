// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Where ptxas is looked for, what is read from its -v text, what its failures become.

#include "codegen/cuda/Ptxas.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <fstream>
#include <gtest/gtest.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace moec;

namespace {

// A folder that is gone after the test.
class Folder {
public:
  Folder() { llvm::sys::fs::createUniqueDirectory("moec-ptxas", path); }
  ~Folder() { llvm::sys::fs::remove_directories(path); }
  std::string in(const std::string &name) const { return (path + "/" + name).str(); }
  void program(const std::string &name, const std::string &text, int mode = 0755) const {
    llvm::sys::fs::create_directories(llvm::sys::path::parent_path(in(name)));
    std::ofstream(in(name)) << "#!/bin/sh\n" << text << "\n";
    chmod(in(name).c_str(), mode_t(mode));
  }

private:
  llvm::SmallString<128> path;
};

const char *version = "echo 'Cuda compilation tools, release 12.8, V12.8.61'";

} // namespace

TEST(Ptxas, PlacesInOrder) {
  Folder folder;
  llvm::sys::fs::create_directories(folder.in("usr/local/lib/python3.11/dist-packages"));
  llvm::sys::fs::create_directories(folder.in("venv/lib/python3.12/site-packages"));
  PtxasPlaces places = {"/a:/b", "/cuda", folder.in("venv"), folder.in("home"), folder.in("")};
  std::string venv = folder.in("venv/lib/python3.12/site-packages/nvidia/");
  std::string system = folder.in("usr/local/lib/python3.11/dist-packages/nvidia/");
  EXPECT_EQ(ptxasFolders(places),
            (std::vector<std::string>{"/a", "/b", "/cuda/bin", folder.in("usr/local/cuda/bin"), venv + "cu13/bin",
                                      venv + "cuda_nvcc/bin", system + "cu13/bin", system + "cuda_nvcc/bin"}));
}

TEST(Ptxas, FirstThatCanRunIsTaken) {
  Folder folder;
  folder.program("one/ptxas", version, 0644); // not executable
  folder.program("cuda/bin/ptxas", version);
  folder.program("usr/local/cuda/bin/ptxas", version);
  PtxasPlaces places = {folder.in("one") + ":" + folder.in("none"), folder.in("cuda"), "", "", folder.in("")};
  std::optional<Ptxas> found = findPtxas(places);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->path, folder.in("cuda/bin/ptxas"));
  EXPECT_EQ(found->version, 12080u);
  places.cudaHome = "";
  EXPECT_EQ(findPtxas(places)->path, folder.in("usr/local/cuda/bin/ptxas"));
}

TEST(Ptxas, WheelIsFoundAndAbsenceIsSaid) {
  Folder folder;
  PtxasPlaces places = {"", "", "", folder.in("home"), folder.in("")};
  EXPECT_FALSE(findPtxas(places));
  folder.program("home/.local/lib/python3.11/site-packages/nvidia/cuda_nvcc/bin/ptxas", "echo none");
  std::optional<Ptxas> found = findPtxas(places);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->version, 0u);
  EXPECT_EQ(ptxasAdvice(),
            "install the CUDA toolkit 12.4 or newer, or the Python package nvidia-cuda-nvcc (pip install "
            "nvidia-cuda-nvcc), or set CUDA_HOME");
}

// ptxas gives other cubins at other addresses.
TEST(Ptxas, RunsAtTheSameAddressesEveryTime) {
  int before = personality(0xffffffff);
  if (personality((unsigned long)before | ADDR_NO_RANDOMIZE) == -1)
    GTEST_SKIP() << "this system does not let programs fix their addresses";
  int random = before & ~ADDR_NO_RANDOMIZE;
  personality((unsigned long)random);
  Folder folder;
  folder.program("ptxas", "while [ \"$1\" != -o ]; do shift; done\n"
                          "echo $(cat /proc/self/personality) ${#2} ${#3} >\"$2\"");
  std::vector<int> opened; // descriptors of one and of three digits
  std::string said;
  for (int run = 0; run < 2; ++run) {
    Result<Assembled> assembled = runPtxas({folder.in("ptxas"), 13000}, "", CudaArch::Sm80);
    ASSERT_TRUE(assembled) << assembled.error().message;
    EXPECT_TRUE(std::stoul(assembled->cubin, nullptr, 16) & ADDR_NO_RANDOMIZE) << assembled->cubin;
    if (run)
      EXPECT_EQ(assembled->cubin, said);
    said = assembled->cubin;
    while (opened.empty() || opened.back() < 110)
      opened.push_back(dup(0));
  }
  for (int descriptor : opened)
    close(descriptor);
  EXPECT_EQ(personality(0xffffffff), random);
  personality((unsigned long)before);
}

TEST(Ptxas, LogIsRead) {
  Assembled out;
  parsePtxasLog("ptxas info    : 0 bytes gmem\n"
                "ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored in function 'one'\n"
                "ptxas info    : Compiling entry function 'one' for 'sm_80'\n"
                "ptxas info    : Function properties for one\n"
                "    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads\n"
                "ptxas info    : Used 40 registers, used 1 barriers, 16 bytes cumulative stack size\n"
                "ptxas info    : Compiling entry function 'two' for 'sm_80'\n"
                "ptxas info    : Function properties for two\n"
                "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
                "ptxas info    : Used 255 registers, used 0 barriers\n",
                out);
  ASSERT_EQ(out.kernels.size(), 2u);
  EXPECT_EQ(out.kernels["one"].registers, 40u);
  EXPECT_EQ(out.kernels["one"].spillBytes, 12u);
  EXPECT_EQ(out.kernels["one"].localBytes, 16u);
  EXPECT_EQ(out.kernels["two"].registers, 255u);
  EXPECT_EQ(out.kernels["two"].spillBytes, 0u);
  EXPECT_EQ(out.messages,
            (std::vector<std::string>{
                "ptxas info    : (C7508) Potential Performance Loss: 'setmaxnreg' ignored in function 'one'"}));
}

TEST(Ptxas, FailureSaysWhatItSaid) {
  Folder folder;
  folder.program("ptxas",
                 "echo 'ptxas info    : something'; echo 'ptxas in.ptx, line 3; error   : Unknown symbol'; exit 255");
  Result<Assembled> out = runPtxas({folder.in("ptxas"), 0}, ".version 8.0", CudaArch::Sm80);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, "E-INTERNAL");
  EXPECT_EQ(out.error().message,
            folder.in("ptxas") + " failed with code 255: ptxas in.ptx, line 3; error   : Unknown symbol");
}

TEST(Ptxas, ThatWritesNothingHasFailed) {
  Folder folder;
  folder.program("ptxas", "exit 0");
  Result<Assembled> out = runPtxas({folder.in("ptxas"), 0}, ".version 8.0", CudaArch::Sm80);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, "E-TOOL");
  EXPECT_EQ(out.error().message, folder.in("ptxas") + " ended without an error and wrote no cubin");
}

// PTX is moec's; that ptxas was killed or did not start is not.
TEST(Ptxas, WhatIsNotThePtxIsTheToolsFailure) {
  Folder folder;
  folder.program("ptxas", "echo 'ptxas fatal   : Value sm_999 is not defined'; exit 255");
  EXPECT_EQ(runPtxas({folder.in("ptxas"), 0}, "", CudaArch::Sm80).error().code, "E-TOOL");
  folder.program("ptxas", "kill -9 $$");
  Result<Assembled> killed = runPtxas({folder.in("ptxas"), 0}, "", CudaArch::Sm80);
  ASSERT_FALSE(killed);
  EXPECT_EQ(killed.error().code, "E-TOOL");
  EXPECT_EQ(killed.error().message,
            folder.in("ptxas") + " was ended by a signal (Killed), most likely for lack of memory");
  EXPECT_EQ(runPtxas({folder.in("none"), 0}, "", CudaArch::Sm80).error().message,
            folder.in("none") + " cannot be started: No such file or directory");
}

TEST(Ptxas, CubinIsLookedAt) {
  EXPECT_FALSE(checkCubin("", ""));
  EXPECT_FALSE(checkCubin(std::string(100, 'x'), ""));
  std::optional<Ptxas> ptxas = findPtxas();
  if (!ptxas)
    GTEST_SKIP() << "there is no ptxas";
  std::string ptx = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry one() { ret; }\n";
  Result<Assembled> out = runPtxas(*ptxas, ptx, CudaArch::Sm80);
  ASSERT_TRUE(out) << out.error().message;
  EXPECT_TRUE(checkCubin(out->cubin, ptx)) << checkCubin(out->cubin, ptx).error().message;
  Result<> other = checkCubin(out->cubin, ptx + ".visible .entry two() { ret; }\n");
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().message, "what ptxas wrote is no cubin: kernel two is missing");
  EXPECT_FALSE(checkCubin(llvm::StringRef(out->cubin).drop_back(200), ptx)) << "cut short";
}

TEST(Ptxas, RealOneRefusesBrokenText) {
  std::optional<Ptxas> ptxas = findPtxas();
  if (!ptxas)
    GTEST_SKIP() << "there is no ptxas";
  Result<Assembled> out =
      runPtxas(*ptxas, ".version 8.0\n.target sm_80\n.address_size 64\n.entry k() { nonsense; }\n", CudaArch::Sm80);
  ASSERT_FALSE(out);
  std::string error = out.error().message;
  EXPECT_NE(error.find("failed with code"), std::string::npos) << error;
  EXPECT_NE(error.find("line 4"), std::string::npos) << error;
}
