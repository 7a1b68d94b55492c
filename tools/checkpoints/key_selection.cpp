#include "tools/checkpoints/key_selection.h"

#include <algorithm>
#include <optional>

#include "runtime/error.h"
#include "runtime/text.h"

namespace hp {
namespace {

// The part of `name` behind `wrapper` and its dot; nothing if the name lies elsewhere.
std::optional<std::string_view> inside_wrapper(std::string_view name, std::string_view wrapper) {
  if (wrapper.empty()) return name;
  if (name.size() <= wrapper.size() || !name.starts_with(wrapper) || name[wrapper.size()] != '.') return std::nullopt;
  return name.substr(wrapper.size() + 1);
}

Renamed canonical_name(std::string_view name, const KeyMap& map, std::string_view wrapper, std::string_view prefix) {
  const std::optional<std::string_view> key = inside_wrapper(name, wrapper);
  if (!key) return {std::nullopt, fmt::format("not in '{}'", wrapper)};
  if (key->starts_with(prefix)) return rename(map.inside, key->substr(prefix.size()));
  const Renamed other = rename(map.outside, *key);
  return other.name || !other.reason.empty() ? other : Renamed{std::nullopt, fmt::format("not under '{}'", prefix)};
}

std::vector<MappedKey> map_keys(const Checkpoint& checkpoint, const KeyMap& map, std::string_view wrapper,
                                std::string_view prefix) {
  std::vector<MappedKey> keys;
  for (size_t i = 0; i < checkpoint.tensors.size(); ++i)
    keys.push_back({i, canonical_name(checkpoint.tensors[i].name, map, wrapper, prefix)});
  return keys;
}

std::vector<KeyMap> candidates(const ConversionOptions& options) {
  std::vector<KeyMap> maps = key_maps();
  std::string names;
  for (const KeyMap& map : maps) names += (names.empty() ? "" : ", ") + map.name;
  if (!options.source.empty()) {
    std::erase_if(maps, [&](const KeyMap& map) { return map.name != options.source; });
    require(!maps.empty(), "[convert] unknown source; got '{}'; expected one of {}", options.source, names);
  }
  if (!options.architecture.empty()) {
    const std::string family = family_of(options.architecture);
    std::erase_if(maps, [&](const KeyMap& map) {
      return std::find(map.families.begin(), map.families.end(), family) == map.families.end();
    });
    require(!maps.empty(), "[convert] no key map fits; source '{}' has no {}", options.source, options.architecture);
  }
  if (!options.prefix.empty()) {
    for (KeyMap& map : maps) {
      map.prefixes = {options.prefix == "." ? "" : options.prefix + (options.prefix.ends_with('.') ? "" : ".")};
      if (std::find(map.wrappers.begin(), map.wrappers.end(), "") == map.wrappers.end()) map.wrappers.emplace_back();
    }
  }
  return maps;
}

Fit fit_of(const std::map<std::string, Shape>& found, const KeyMap& map, const std::string& architecture) {
  if (architecture.empty()) return nearest_architecture(found, map.families);
  Fit fit{architecture, 0, 0};
  for (const ExpectedTensor& tensor : expected_tensors(architecture)) {
    const auto have = found.find(tensor.name);
    ++(have != found.end() && have->second == tensor.shape ? fit.matching : fit.wrong);
  }
  return fit;
}

}  // namespace

bool is_classifier(const std::string& canonical) { return canonical == "head.weight" || canonical == "head.bias"; }

KeySelection select_keys(const Checkpoint& checkpoint, const ConversionOptions& options) {
  KeySelection best;
  Fit best_fit;
  size_t best_distance = 0;
  for (const KeyMap& map : candidates(options)) {
    for (const std::string& wrapper : map.wrappers) {
      for (const std::string& prefix : map.prefixes) {
        std::vector<MappedKey> keys = map_keys(checkpoint, map, wrapper, prefix);
        std::map<std::string, Shape> found;
        for (const MappedKey& key : keys)
          if (key.canonical.name && !is_classifier(*key.canonical.name))
            found[*key.canonical.name] = checkpoint.tensors[key.tensor].view.shape;
        if (found.empty()) continue;
        const Fit fit = fit_of(found, map, options.architecture);
        const size_t distance = fit.distance(found.size());
        if (!best.architecture.empty() && distance >= best_distance) continue;
        best = {map, wrapper, prefix, fit.architecture, std::move(keys)};
        best_fit = fit;
        best_distance = distance;
      }
    }
  }
  require(
      !best.architecture.empty(),
      "[convert] no tensor has a name that a key map knows; the file holds {} tensors; see --list, and give --prefix",
      checkpoint.tensors.size());
  const size_t expected = best_fit.matching + best_fit.wrong;
  require(!options.architecture.empty() || 2 * best_fit.matching >= expected,
          "[convert] no known architecture; the nearest is {}, of which {} of {} tensors are there; see --list, and "
          "give --arch and --prefix",
          best.architecture, best_fit.matching, expected);
  return best;
}

}  // namespace hp
