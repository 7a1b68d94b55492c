// The part that the checkpoint targets share: whatever a container gives is listed, planned and read.
#pragma once

#include "tools/checkpoints/conversion.h"

namespace hp::fuzz {

inline void use(const Checkpoint& checkpoint) {
  listing(checkpoint);
  constexpr int64_t most = 65536;  // a tensor may be stretched to any size: that is for whoever reads it to look at
  for (const CheckpointTensor& tensor : checkpoint.tensors)
    if (tensor.view.shape.count() <= most) checkpoint.read(tensor);
  // One network, because to build them all takes longer than to read the file.
  ConversionOptions options;
  options.architecture = "cifar_resnet20";
  report(checkpoint, plan_conversion(checkpoint, options));
}

}  // namespace hp::fuzz
