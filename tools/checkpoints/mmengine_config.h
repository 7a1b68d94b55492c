// What the configuration in an mmengine checkpoint (meta.cfg, the text of a Python file) says of the head.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tools/checkpoints/checkpoint.h"

namespace hp {

struct HeadConfig {
  std::string type;                  // "BcosLinearClsHead"
  std::optional<double> logit_bias;  // nothing: unset or None
  std::optional<double> logit_temperature;
  bool logit_layer_flag = false;
};

// Reads "head=dict(...)" as text; nothing of it is run. Nothing if the text has no such part or no head's class in it.
std::optional<HeadConfig> parse_head_config(std::string_view config);
std::optional<HeadConfig> head_config(const Checkpoint& checkpoint);

// protocol.md 3.2: what a head of this class adds to its logits. Throws hp::Error for a class that it does not list and
// for a temperature, which none of the reference's configurations has.
float logit_constant(const HeadConfig& config, int64_t classes);

}  // namespace hp
