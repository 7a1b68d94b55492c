// Changes: where two experiments differ, for a run that is to go on only if nothing did.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hp {

// "/training/epochs: 30 -> 40", one for each key that differs, in the order of keys; "none" stands for a key that is
// not there. Long values are cut.
std::vector<std::string> changes_between(const nlohmann::json& before, const nlohmann::json& now);

}  // namespace hp
