// Network: the frozen backbone of an experiment, read from its weights file and ready to run.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "models/backbone.h"
#include "runtime/fold.h"
#include "runtime/sliced_executor.h"
#include "tools/experiment/experiment.h"

namespace hp {

struct Network {
  std::string architecture, sha256;
  Parameters weights;  // as the file has them, with the classifier, if any, as head.*
  Folded folded;       // batch norm folded, for images of `shape`
  ImageShape shape;
  Preprocess preprocess;
  int64_t channels = 0;           // of the features
  std::string features = "auto";  // which ones they are: of build_backbone()

  Shape feature_shape() const;        // [height, width, channels] for images of `shape`
  bool nonnegative_features() const;  // whatever the image
};

// Reads and checks everything. Where the preprocessing leaves images as they are, their size is that of the first
// readable image. Throws hp::Error naming the file if it is no converted backbone, lacks a tensor or holds a NaN.
Network load_network(const Experiment& experiment, const Dataset& images);
// The same from weights in memory, as a file of experiment.weights would hold them, metadata included.
Network make_network(Parameters weights, const Experiment& experiment, const Dataset& images);

// Any converted backbone: `overrides` as in preprocess_of(), `shape_of` says for which images it is to be built.
Network load_network(const std::filesystem::path& weights, const nlohmann::json& overrides,
                     const std::function<ImageShape(const Preprocess&)>& shape_of,
                     const std::string& features = "auto");

// Features of images of any batch size, one graph and executor per size.
class FeatureExtractor {
 public:
  FeatureExtractor(const Network& network, Kernels& kernels);
  // Images [n, height, width, 3] from host memory on their way to the device, beside what it computes.
  Tensor uploaded(const Tensor& images);
  // images [n, height, width, 3] on the device -> [n, h, w, channels], valid until the next call.
  Tensor features(const Tensor& images);

 private:
  SlicedExecutor& executor_for(const Shape& images);

  const Network& network_;
  Kernels& kernels_;
  Parameters parameters_;
  std::map<int64_t, std::unique_ptr<SlicedExecutor>> by_batch_;
};

}  // namespace hp
