#include "tools/checkpoints/key_selection.h"

#include <algorithm>
#include <optional>

#include "models/backbone.h"
#include "runtime/error.h"
#include "runtime/text.h"
#include "tools/checkpoints/mistakes.h"

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

bool in(const std::vector<std::string>& patterns, const std::string& name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return matches(pattern, name); });
}

// Whether the source itself has this prefix, with or without its dictionary.
bool knows(const KeyMap& map, const std::string& prefix) {
  const auto same = [&](const std::string& own) { return !own.empty() && (own == prefix || own == prefix + "."); };
  for (const std::string& own : map.prefixes)
    if (same(own) || std::any_of(map.wrappers.begin(), map.wrappers.end(),
                                 [&](const std::string& wrapper) { return same(fmt::format("{}.{}", wrapper, own)); }))
      return true;
  return false;
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
    std::erase_if(maps, [&](const KeyMap& map) { return !in(map.architectures, options.architecture); });
    require(!maps.empty(), "[convert] no key map fits; source '{}' has no {}", options.source, options.architecture);
  }
  if (!options.prefix.empty()) {
    const bool known =
        std::any_of(maps.begin(), maps.end(), [&](const KeyMap& map) { return knows(map, options.prefix); });
    if (known) std::erase_if(maps, [&](const KeyMap& map) { return !knows(map, options.prefix); });
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

// Whether the names inside wrapper and prefix are such as the map asks for.
bool applies(const Checkpoint& checkpoint, const KeyMap& map, std::string_view wrapper, std::string_view prefix) {
  if (map.needs.empty() && map.lacks.empty()) return true;
  std::vector<bool> met(map.needs.size());
  for (const CheckpointTensor& tensor : checkpoint.tensors) {
    const std::optional<std::string_view> key = inside_wrapper(tensor.name, wrapper);
    if (!key || !key->starts_with(prefix)) continue;
    const std::string_view name = key->substr(prefix.size());
    for (size_t i = 0; i < met.size(); ++i) met[i] = met[i] || matches(map.needs[i], name);
    for (const std::string& pattern : map.lacks)
      if (matches(pattern, name)) return false;
  }
  return std::find(met.begin(), met.end(), false) == met.end();
}

class Search {
 public:
  Search(const Checkpoint& checkpoint, const ConversionOptions& options, Architectures& architectures)
      : checkpoint_(checkpoint), options_(options), architectures_(architectures) {}

  // Among the architectures that the shapes speak for; or, to find the nearest, among all.
  void look_at(const KeyMap& map, const std::string& wrapper, const std::string& prefix, bool all) {
    if (!applies(checkpoint_, map, wrapper, prefix)) return;
    const std::vector<MappedKey> keys = map_keys(checkpoint_, map, wrapper, prefix);
    std::map<std::string, Shape> found;
    for (const MappedKey& key : keys)
      if (key.canonical.name && !is_classifier(*key.canonical.name))
        found[*key.canonical.name] = shape_of(checkpoint_.tensors[key.tensor], key.canonical.transpose);
    if (found.empty()) return;
    for (const std::string& name : names(map, found, all)) {
      const Architecture& architecture = architectures_.examine(name);
      const Fit fit = fit_of(architecture, found);
      const auto worth = [](const Fit& of) { return std::pair(of.similarity(), of.matching); };
      if (best_ && worth(fit) < worth(fit_)) continue;
      KeySelection selection{map, wrapper, prefix, architecture, keys};
      if (best_ && worth(fit) == worth(fit_)) {
        add_rival(selection);
        continue;
      }
      best_ = std::move(selection);
      fit_ = fit;
      rivals_.clear();
    }
  }

  bool perfect() const { return best_ && fit_.similarity() == 1; }

  KeySelection take_best() {
    if (!best_) fail_without_names();
    if (options_.architecture.empty()) refuse_strangers();
    if (perfect()) refuse_rivals();
    return std::move(*best_);
  }

 private:
  std::vector<std::string> names(const KeyMap& map, const std::map<std::string, Shape>& found, bool all) const {
    if (!options_.architecture.empty()) return {options_.architecture};
    if (all) return matching_architectures(map.architectures);
    std::vector<std::string> names = architectures_of(found);
    std::erase_if(names, [&](const std::string& name) { return !in(map.architectures, name); });
    return names;
  }

  // The same meaning under another map, wrapper or prefix is no rival.
  void add_rival(const KeySelection& other) {
    const auto same = [&](const KeySelection& known) {
      return known.architecture.name == other.architecture.name && known.map.preprocessing == other.map.preprocessing;
    };
    const bool same_map = best_->map.name == other.map.name && best_->architecture.name == other.architecture.name;
    if (same_map || same(*best_)) return;
    rivals_.push_back(fmt::format("{} of {}", other.architecture.name, other.map.name));
    if (other.architecture.name != best_->architecture.name) rival_architecture_ = true;
  }

  void refuse_rivals() const {
    require(rivals_.empty(),
            "[convert] the names and shapes are those of more than one network: {} of {}, {}; give {} to say which",
            best_->architecture.name, best_->map.name, fmt::join(rivals_, ", "),
            rival_architecture_ ? "--arch" : "--source");
  }

  [[noreturn]] void fail_without_names() const {
    fail(
        "[convert] {}no tensor has a name that a key map knows; the file holds {} tensors; see --list, and give "
        "--prefix{}",
        mistake_in(checkpoint_), checkpoint_.tensors.size(), foreign_note(checkpoint_));
  }

  void refuse_strangers() const {
    const std::string mistake = 2 * fit_.matching < fit_.expected ? mistake_in(checkpoint_) : "";
    require(fit_.matching > 0 || fit_.named > 0,
            "[convert] {}no known architecture; none of the {} tensors fits one; see --list, and give --arch and "
            "--prefix{}",
            mistake, checkpoint_.tensors.size(), foreign_note(checkpoint_));
    const bool other_width = fit_.named == fit_.expected && 10 * fit_.matching < 9 * fit_.expected;
    require(
        !other_width,
        "[convert] no known architecture; the names are those of {}, but {} of its {} tensors have other shapes, {}; "
        "it is a network of another width, which no known architecture has",
        best_->architecture.name, fit_.named - fit_.matching, fit_.expected, first_other_shape());
    require(
        2 * fit_.matching >= fit_.expected,
        "[convert] {}no known architecture; the nearest is {}, of which {} of {} tensors are there; see --list, and "
        "give --arch and --prefix{}",
        mistake, best_->architecture.name, fit_.matching, fit_.expected, foreign_note(checkpoint_));
  }

  std::string first_other_shape() const {
    for (const ExpectedTensor& expected : best_->architecture.tensors)
      for (const MappedKey& key : best_->keys) {
        if (key.canonical.name != expected.name) continue;
        const Shape shape = shape_of(checkpoint_.tensors[key.tensor], key.canonical.transpose);
        if (!same_extents(shape, expected.shape))
          return fmt::format("the first {}: got {}; expected {}", expected.name, shape.str(), expected.shape.str());
      }
    return "";
  }

  const Checkpoint& checkpoint_;
  const ConversionOptions& options_;
  Architectures& architectures_;
  std::optional<KeySelection> best_;
  Fit fit_;
  std::vector<std::string> rivals_;  // that fit as well as the best
  bool rival_architecture_ = false;
};

}  // namespace

bool is_classifier(const std::string& canonical) {
  return canonical == "head.weight" || canonical == "head.bias" || canonical == bcos_classifier;
}

Shape shape_of(const CheckpointTensor& tensor, bool transpose) {
  const Shape& shape = tensor.view.shape;
  return transpose && shape.rank() == 2 ? Shape{shape[1], shape[0]} : shape;
}

KeySelection select_keys(const Checkpoint& checkpoint, const ConversionOptions& options, Architectures& architectures) {
  const bool open = options.architecture.empty() && options.source.empty() && options.prefix.empty();
  const std::optional<KeyMap> canonical = open ? canonical_key_map(checkpoint.metadata) : std::nullopt;
  if (canonical)
    return {*canonical, "", "", architectures.examine(canonical->architectures.front()),
            map_keys(checkpoint, *canonical, "", "")};
  Search search(checkpoint, options, architectures);
  const std::vector<KeyMap> maps = candidates(options);
  for (const bool all : {false, true}) {
    for (const KeyMap& map : maps)
      for (const std::string& wrapper : map.wrappers)
        for (const std::string& prefix : map.prefixes) search.look_at(map, wrapper, prefix, all);
    if (search.perfect() || !options.architecture.empty()) break;
  }
  return search.take_best();
}

}  // namespace hp
