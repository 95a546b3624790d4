// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// moec.hpp on the fake CUDA driver: device memory, streams, and what needs a buffer of the caller.

#include "CppLayer.h"
#include "TinyCuda.h"

using namespace moec;
using namespace moec::test;

TEST(CppCuda, a_call_in_device_memory_on_a_stream) {
  FakeDriver driver;
  addTinyKernels(driver);
  TinyWeights source(1);
  LayerOptions options;
  options.cuda = true;
  options.cuda_device = 1;
  options.cuda_driver = &driver.table;
  Layer layer = *Layer::create(tiny_cuda_package(), options);
  EXPECT_EQ(layer.info().device, MOEC_DEVICE_CUDA);
  EXPECT_EQ(layer.info().cuda_sm, 90);

  EXPECT_EQ(messageOf(layer.pack(tensorsOf(source))),
            "MOEC_UNSUPPORTED_DEVICE: the layer runs on CUDA: pass a buffer in memory of its device");
  EXPECT_EQ(layer.map_file("/nowhere").error().status, MOEC_UNSUPPORTED_DEVICE);
  DeviceBytes packed(driver, layer.weights_bytes());
  Weights weights = *layer.pack_into(packed.data(), packed.size(), tensorsOf(source));

  std::vector<float> host = randomInput(6, 2);
  DeviceBytes x(driver, host.size() * sizeof(float)), y(driver, x.size()), workspace(driver, *layer.workspace_bytes(6));
  std::memcpy(x.data(), host.data(), x.size());
  int stream = 0;
  Forward call = layer.forward(weights)
                     .x(Span<const float>(static_cast<const float *>(x.data()), host.size()))
                     .y(Span<float>(static_cast<float *>(y.data()), host.size()))
                     .stream(&stream);
  Result<void> ran = call.run(workspace.data(), workspace.size());
  ASSERT_TRUE(ran) << messageOf(ran);
  EXPECT_EQ(driver.launches.back().stream, &stream);
  TinyLayer cpu(source);
  std::vector<float> want = runTiny(cpu, host).y;
  for (size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(static_cast<float *>(y.data())[i], want[i], 1e-5);
}

TEST(CppCuda, no_driver_is_an_error) {
  LayerOptions options;
  options.cuda = true;
  FakeDriver driver;
  driver.numDevices = 0;
  options.cuda_driver = &driver.table;
  EXPECT_EQ(Layer::create(tiny_cuda_package(), options).error().status, MOEC_UNSUPPORTED_DEVICE);
}
