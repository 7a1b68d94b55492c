// The whole works that are timed: forward passes, attributions, grids, training, memory, and how long programs take to
// start.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "attribution/explanation.h"
#include "attribution/method.h"
#include "kernels/cpu/cpu_kernels.h"
#include "tests/bench/model.h"
#include "tests/bench/training.h"

namespace hp::bench {

// One line of the table of works. `images` have the side of single images, `grids` that of a grid of them.
struct WorkSpec {
  enum class Kind { forward, explain, memory, start, step, epochs };
  std::string name, text;
  Kind kind = Kind::forward;
  bool grid = false;
  int64_t batch = 1;
  int heads = 1, targets = 1;                 // of explain: targets per image and head; of epochs: probes, classes
  std::string method = {}, options = "null";  // of make_attribution(); of memory and start: the work of the process
  // F: the work whose time this one is stated in, and how many of them make one (0.0625: one of 16 images).
  std::string unit = {};
  double units = 1;
  double must = 0;  // the most units it may take; of a forward pass: the least share of the peak; 0: nothing is asked
  std::string network = {};  // of step: this architecture on images of 32 pixels instead of the model's own
  bool bcos = false;         // of B-cos networks alone
};

const std::vector<WorkSpec>& all_works();
const WorkSpec& work_named(const std::string& name);  // throws hp::Error with the nearest name
// Works of a network with `filter` in their names, and those that they are stated in.
std::vector<WorkSpec> works_matching(const std::string& filter, bool bcos);

struct Sides {
  int64_t image = 224, grid = 672;
  int64_t rows = 50000;  // of the features that probes are trained on
};

// What one call of a work sees: images, or rows of features as often as epochs read them.
int64_t images_of(const WorkSpec&, const Sides&);

// Runs forward passes, attributions and training on formula images. What a work needs is made on its first run and
// kept.
class Workshop {
 public:
  Workshop(Model model, Sides sides, CpuKernels& kernels);
  ~Workshop();

  void run(const WorkSpec&);  // not memory or start; throws hp::Error if the result is not finite
  // What the work finds out: logits [batch, classes], a map [rows, height, width], or losses, in host memory.
  Tensor result(const WorkSpec&);
  double flops(const WorkSpec&);  // of a forward work
  // Makes what `work` needs and forgets the file's weights, as a program that does nothing else would.
  void keep_only(const WorkSpec& work);
  // Gives back the memory of all works.
  void clear();

  const Model& model() const { return model_; }

 private:
  struct Place;    // one image size and number of heads
  struct Forward;  // executors of one forward pass
  Place& place(const WorkSpec&);
  Forward& forward(const WorkSpec&);
  const Tensor& image(const WorkSpec&);
  int64_t side(const WorkSpec& work) const { return work.grid ? sides_.grid : sides_.image; }
  Explanation explain(const WorkSpec&);
  StepSpec step(const WorkSpec& work) const;
  EpochSpec epochs(const WorkSpec& work) const { return {sides_.rows, work.targets, work.heads}; }

  Model model_;
  Sides sides_;
  CpuKernels& kernels_;
  std::map<int64_t, Folded> folded_;  // by side
  std::map<std::string, std::unique_ptr<Place>> places_;
  std::map<std::string, std::unique_ptr<Forward>> forwards_;
  std::map<std::string, Tensor> images_;
  std::map<std::string, AttributionPtr> methods_;
  TrainingShop training_;
};

}  // namespace hp::bench
