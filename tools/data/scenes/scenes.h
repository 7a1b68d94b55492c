// The procedural data set: pictures made by seed when they are asked for, with exact boxes and masks.
#pragma once

#include <memory>
#include <string>

#include "tools/data/dataset.h"
#include "tools/data/scenes/config.h"

namespace hp {

// `count` pictures of a split; splits of other names share none. Picture i depends on the configuration, the split's
// name and i alone, to the last bit. Items are named "<split>/000000" and so on. Throws hp::Error on a senseless
// configuration.
Listing list_scenes(const scenes::Config& config, const std::string& split, int64_t count);

// A data set of (a part of) such a listing.
std::unique_ptr<Dataset> make_scenes(Listing listing, const scenes::Config& config, const std::string& split);

}  // namespace hp
