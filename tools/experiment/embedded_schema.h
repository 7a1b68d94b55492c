// docs/experiment.schema.json as text, put here by the build.
#pragma once

#include <string_view>

namespace hp {

extern const std::string_view embedded_experiment_schema;

}  // namespace hp
