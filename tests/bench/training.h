// The training works: steps of whole networks on formula images, and epochs of linear probes on made-up features.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/cpu/cpu_kernels.h"
#include "probes/features.h"
#include "probes/graph_training.h"
#include "probes/labels.h"

namespace hp::bench {

// The optimiser of all training works, as torch.optim.SGD(lr=0.1, momentum=0.9, weight_decay=1e-4) has it.
// Probes take a tenth of the rate, the second one of several half of that, and so on.
inline constexpr double training_rate = 0.1;
OptimizerSettings training_optimizer();

struct StepSpec {
  std::string network;  // an architecture; its classifier pools first: 1000 classes, 10 of a cifar_resnet
  int64_t batch = 1, side = 224;
};

// Three epochs over `rows` of 2048 pooled features in batches of 256, by cross entropy.
inline constexpr int64_t probe_epochs = 3;
struct EpochSpec {
  int64_t rows = 50000, classes = 1000;
  int probes = 1;
};

// Networks and features are made on the first run and kept.
class TrainingShop {
 public:
  explicit TrainingShop(CpuKernels& kernels);
  ~TrainingShop();

  void step(const StepSpec&);  // forward, backward and update; throws hp::Error if the loss is not finite
  void epochs(const EpochSpec&);
  // Losses of the first three steps from the formula's weights; peers.py compares them.
  Tensor first_losses(const StepSpec&) const;
  // Mean loss of the last epoch, of each probe.
  Tensor last_losses(const EpochSpec&);
  void clear();

 private:
  struct Network;
  struct Rows;
  std::unique_ptr<Network> make(const StepSpec&) const;
  const Rows& rows(const EpochSpec&);
  std::vector<double> train_probes(const EpochSpec&);

  CpuKernels& kernels_;
  std::map<std::string, std::unique_ptr<Network>> networks_;
  std::map<std::string, std::unique_ptr<Rows>> rows_;
  Tensor features_;
};

}  // namespace hp::bench
