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
    examine_architecture(options.architecture);  // names the known ones if it is unknown
    std::erase_if(maps, [&](const KeyMap& map) {
      const std::vector<std::string> known = matching_architectures(map.architectures);
      return std::find(known.begin(), known.end(), options.architecture) == known.end();
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

// Where weights belong, an object that only foreign code could have made is the likely reason why none are found.
std::string foreign_note(const Checkpoint& checkpoint) {
  const std::vector<KeyMap> maps = key_maps();
  const auto holds_weights = [&](std::string_view name) {
    return name.empty() || std::any_of(maps.begin(), maps.end(), [&](const KeyMap& map) {
             return std::any_of(map.wrappers.begin(), map.wrappers.end(), [&](const std::string& wrapper) {
               return !wrapper.empty() && (name == wrapper || inside_wrapper(name, wrapper));
             });
           });
  };
  for (const CheckpointItem& item : checkpoint.items)
    if (item.foreign && holds_weights(item.name))
      return fmt::format("; {} is {}, which is not read because nothing in a checkpoint is executed",
                         printable(item.name), item.what);
  return "";
}

class Search {
 public:
  Search(const Checkpoint& checkpoint, const ConversionOptions& options) : checkpoint_(checkpoint), options_(options) {}

  void look_at(const KeyMap& map, const std::string& wrapper, const std::string& prefix) {
    const std::vector<MappedKey> keys = map_keys(checkpoint_, map, wrapper, prefix);
    std::map<std::string, Shape> found;
    for (const MappedKey& key : keys)
      if (key.canonical.name && !is_classifier(*key.canonical.name))
        found[*key.canonical.name] = checkpoint_.tensors[key.tensor].view.shape;
    if (found.empty()) return;
    for (const std::string& name : matching_architectures(map.architectures)) {
      if (!options_.architecture.empty() && name != options_.architecture) continue;
      const Architecture& architecture = examined(name);
      const Fit fit = fit_of(architecture, found);
      if (best_ && fit.similarity() <= fit_.similarity()) continue;
      best_ = KeySelection{map, wrapper, prefix, architecture, keys};
      fit_ = fit;
    }
  }

  KeySelection take_best() {
    require(best_.has_value(),
            "[convert] no tensor has a name that a key map knows; the file holds {} tensors; see --list, and give "
            "--prefix{}",
            checkpoint_.tensors.size(), foreign_note(checkpoint_));
    require(
        !options_.architecture.empty() || fit_.matching > 0,
        "[convert] no known architecture; none of the {} tensors fits one; see --list, and give --arch and --prefix{}",
        checkpoint_.tensors.size(), foreign_note(checkpoint_));
    require(!options_.architecture.empty() || 2 * fit_.matching >= fit_.expected,
            "[convert] no known architecture; the nearest is {}, of which {} of {} tensors are there; see --list, and "
            "give --arch and --prefix{}",
            best_->architecture.name, fit_.matching, fit_.expected, foreign_note(checkpoint_));
    return std::move(*best_);
  }

 private:
  const Architecture& examined(const std::string& name) {
    const auto known = architectures_.find(name);
    return known != architectures_.end() ? known->second
                                         : architectures_.emplace(name, examine_architecture(name)).first->second;
  }

  const Checkpoint& checkpoint_;
  const ConversionOptions& options_;
  std::map<std::string, Architecture> architectures_;
  std::optional<KeySelection> best_;
  Fit fit_;
};

}  // namespace

bool is_classifier(const std::string& canonical) { return canonical == "head.weight" || canonical == "head.bias"; }

KeySelection select_keys(const Checkpoint& checkpoint, const ConversionOptions& options) {
  const bool open = options.architecture.empty() && options.source.empty() && options.prefix.empty();
  const std::optional<KeyMap> canonical = open ? canonical_key_map(checkpoint.metadata) : std::nullopt;
  if (canonical)
    return {*canonical, "", "", examine_architecture(canonical->architectures.front()),
            map_keys(checkpoint, *canonical, "", "")};
  Search search(checkpoint, options);
  for (const KeyMap& map : candidates(options))
    for (const std::string& wrapper : map.wrappers)
      for (const std::string& prefix : map.prefixes) search.look_at(map, wrapper, prefix);
  return search.take_best();
}

}  // namespace hp
