// WalkMethod: methods that are one walk to the model input by some rules: gradient, Input x Gradient, Guided
// Backpropagation.
#pragma once

#include "attribution/method.h"

namespace hp {

enum class Reading { multiplier, relevance };  // the message itself, or the message times the model input

class WalkMethod : public Attribution {
 public:
  WalkMethod(std::string name, WalkPlan plan, Reading reading)
      : name_(std::move(name)), plan_(std::move(plan)), reading_(reading) {}
  std::string name() const override { return name_; }
  MethodCost cost(const Graph& backbone) const override;

 protected:
  Explanation run(const Question& question) const override;

 private:
  std::string name_;
  WalkPlan plan_;
  Reading reading_;
};

// The plan of everything that is the gradient of the logits.
WalkPlan gradient_walk();

AttributionPtr gradient_method();
AttributionPtr input_x_gradient_method();
AttributionPtr guided_backprop_method();

// The map of a walk at the model input, into `explanation`.
void read_map(const Question& question, const Pass& pass, Reading reading, Explanation& explanation);

}  // namespace hp
