#include "tools/checkpoints/mistakes.h"

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

namespace hp {
namespace {

size_t count_of(const Checkpoint& checkpoint, std::string_view part) {
  return static_cast<size_t>(
      std::count_if(checkpoint.tensors.begin(), checkpoint.tensors.end(), [&](const CheckpointTensor& tensor) {
        return tensor.name.starts_with(part) || tensor.name.find("." + std::string(part)) != std::string::npos;
      }));
}

bool all_of(const Checkpoint& checkpoint, std::initializer_list<std::string_view> parts) {
  return std::all_of(checkpoint.tensors.begin(), checkpoint.tensors.end(), [&](const CheckpointTensor& tensor) {
    return std::any_of(parts.begin(), parts.end(),
                       [&](std::string_view part) { return tensor.name.find(part) != std::string::npos; });
  });
}

}  // namespace

std::string mistake_in(const Checkpoint& checkpoint) {
  if (all_of(checkpoint, {"exp_avg", "momentum_buffer", "square_avg", "optimizer", "optim"}))
    return "the file holds an optimiser's state and no weights; take the checkpoint that the training wrote beside "
           "it; ";
  if (count_of(checkpoint, "token_embedding.weight") > 0 && count_of(checkpoint, "visual.") == 0)
    return "the file holds CLIP's text tower alone; take the whole model, whose image tower is under 'visual.'; ";
  if (count_of(checkpoint, "vision_model.") > 0 || count_of(checkpoint, "text_model.") > 0)
    return "the file has the names of Hugging Face's transformers; take the original checkpoint, or open_clip's; ";
  if (count_of(checkpoint, "lora_") > 0)
    return "the file holds low-rank adapters and no backbone; merge them into the model and save its state_dict(); ";
  return "";
}

}  // namespace hp
