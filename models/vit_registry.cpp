#include "models/vit_registry.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "models/builder.h"
#include "runtime/error.h"

namespace hp {

namespace {

enum class Family { vit, dino, clip, simple, conv_stem };

struct Base {
  Family family = Family::vit;
  bool bcos = false;
  int64_t patch = 16, width = 768, depth = 12, embedding = 0;
};

struct Size {
  const char* name;
  int64_t width, depth;
};

constexpr std::array<Size, 4> sizes{{{"ti", 192, 12}, {"s", 384, 12}, {"b", 768, 12}, {"l", 1024, 24}}};
constexpr int64_t head_width = 64, own_side = 224, most_blocks = 64, largest_grid = 256;

std::map<std::string, Base> make_bases() {
  std::map<std::string, Base> bases;
  for (const Size& size : sizes) {
    for (const int64_t patch : {8, 14, 16, 32}) {
      bases[fmt::format("vit_{}_{}", size.name, patch)] = {Family::vit, false, patch, size.width, size.depth};
    }
    const int64_t depth = size.depth == 24 ? 14 : 12;
    for (const bool bcos : {false, true}) {
      const std::string prefix = bcos ? "bcos_" : "";
      bases[fmt::format("{}simple_vit_{}", prefix, size.name)] = {Family::simple, bcos, 16, size.width, depth};
      bases[fmt::format("{}vitc_{}", prefix, size.name)] = {Family::conv_stem, bcos, 1, size.width, depth - 1};
    }
    if (size.depth == 24) continue;
    for (const int64_t patch : {8, 16}) {
      bases[fmt::format("dino_vit{}{}", size.name[0], patch)] = {Family::dino, false, patch, size.width, size.depth};
    }
  }
  bases["clip_vit_b_32"] = {Family::clip, false, 32, 768, 12, 512};
  bases["clip_vit_b_16"] = {Family::clip, false, 16, 768, 12, 512};
  bases["clip_vit_l_14"] = {Family::clip, false, 14, 1024, 24, 768};
  return bases;
}

const std::map<std::string, Base>& bases() {
  static const std::map<std::string, Base> all = make_bases();
  return all;
}

const char* letters_of(Family family) {
  switch (family) {
    case Family::clip:
      return "wdhpre";
    case Family::simple:
      return "wdhp";
    case Family::conv_stem:
      return "wdh";
    default:
      return "wdhpr";
  }
}

// protocol.md 1.4: the two small sizes double their channels up to the width, the two large ones have a stem of their
// own.
std::vector<int64_t> stem_of(int64_t own_width, int64_t width) {
  if (own_width >= 768) return {64, 128, 128, 256, 256, 512};
  return {width / 8, width / 4, width / 2, width};
}

VitParams params_of(const Base& base, const ModelName& name) {
  VitParams params;
  params.patch = name.get('p', base.patch);
  params.width = name.get('w', base.width);
  params.depth = name.get('d', base.depth);
  params.heads = name.get('h', std::max<int64_t>(1, params.width / head_width));
  params.bcos = base.bcos;
  if (base.family == Family::simple || base.family == Family::conv_stem) {
    params.class_token = false;
    params.epsilon = 1e-5f;
    if (base.family == Family::conv_stem) params.stem = stem_of(base.width, params.width);
    return params;
  }
  const int64_t side = name.get('r', own_side);
  require(side % params.patch == 0, "[models] {}: unusable native side; got {}; expected a multiple of the patch, {}",
          name.base, side, params.patch);
  params.grid = side / params.patch;
  params.resize = base.family == Family::dino  ? PositionResize::dino
                  : base.family == Family::vit ? PositionResize::antialiased
                                               : PositionResize::size;
  if (base.family == Family::clip) {
    params.patch_bias = false;
    params.pre_norm = true;
    params.embedding = name.get('e', base.embedding);
    params.epsilon = 1e-5f;
    params.activation = OpKind::quick_gelu;
  }
  return params;
}

// Reading a network off its tensors.
class Detection {
 public:
  explicit Detection(const std::map<std::string, Shape>& tensors) : tensors_(tensors) {}

  std::vector<std::string> names() const {
    const Shape* qkv = find("blocks.0.attn.qkv.weight");
    const int64_t width = qkv && qkv->rank() == 2 ? (*qkv)[1] : 0;
    const int64_t depth = blocks();
    if (width < head_width || width % head_width != 0 || depth == 0) return {};
    if (find("pos_embed")) return with_class_token(width, depth);
    const Shape* patch = find("patch_embed.proj.weight");
    const Shape* bcos_patch = find("patch_embed.proj.linear.weight");
    const Shape* weight = bcos_patch ? bcos_patch : patch;
    if (!weight || weight->rank() != 2) return {};
    const std::string prefix = bcos_patch ? "bcos_" : "";
    if (find(bcos_patch ? "patch_embed.stem.0.linear.weight" : "patch_embed.stem.0.weight")) {
      return {named(prefix + "vitc_" + size_of(width), width, depth, 1, 0, 0)};
    }
    const int64_t side = root((*weight)[1] / (bcos_patch ? 6 : 3));
    if (side == 0) return {};
    return {named(prefix + "simple_vit_" + size_of(width), width, depth, side, 0, 0)};
  }

 private:
  const Shape* find(const std::string& name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : &found->second;
  }

  int64_t blocks() const {
    int64_t count = 0;
    while (count <= most_blocks && find(fmt::format("blocks.{}.norm1.weight", count))) ++count;
    return count <= most_blocks ? count : 0;
  }

  // 0 where the number is no square of a plausible side.
  static int64_t root(int64_t number) {
    int64_t side = 0;
    while (side <= largest_grid && side * side < number) ++side;
    return side <= largest_grid && side * side == number ? side : 0;
  }

  static std::string size_of(int64_t width) {
    for (const Size& size : sizes)
      if (size.width == width) return size.name;
    return "ti";
  }

  static std::string named(const std::string& base, int64_t width, int64_t depth, int64_t patch, int64_t side,
                           int64_t embedding) {
    const Base& own = bases().at(base);
    std::string name = with_setting(base, 'w', width, own.width);
    name = with_setting(name, 'd', depth, own.depth);
    name = with_setting(name, 'p', patch, own.patch);
    if (side > 0) name = with_setting(name, 'r', side, own_side);
    return embedding > 0 ? with_setting(name, 'e', embedding, own.embedding) : name;
  }

  std::vector<std::string> with_class_token(int64_t width, int64_t depth) const {
    const Shape* weight = find("patch_embed.proj.weight");
    const Shape& positions = *find("pos_embed");
    if (!weight || weight->rank() != 4 || (*weight)[2] != (*weight)[3] || positions.rank() < 2) return {};
    const int64_t patch = (*weight)[2], grid = root(positions[positions.rank() - 2] - 1);
    if (grid == 0 || patch < 1 || patch > largest_grid) return {};
    if (find("norm_pre.weight")) {
      const Shape* projection = find("proj.weight");
      if (!projection || projection->rank() != 2) return {};
      const std::string base = width == 1024 ? "clip_vit_l_14" : patch == 16 ? "clip_vit_b_16" : "clip_vit_b_32";
      return {named(base, width, depth, patch, patch * grid, (*projection)[0])};
    }
    const bool listed = patch == 8 || patch == 14 || patch == 16 || patch == 32;
    std::vector<std::string> names = {
        named(fmt::format("vit_{}_{}", size_of(width), listed ? patch : 16), width, depth, patch, patch * grid, 0)};
    if (size_of(width) != "l") {
      names.push_back(named(fmt::format("dino_vit{}{}", size_of(width)[0], patch == 8 ? 8 : 16), width, depth, patch,
                            patch * grid, 0));
    }
    return names;
  }

  const std::map<std::string, Shape>& tensors_;
};

}  // namespace

std::vector<std::string> vit_architectures() {
  std::vector<std::string> names;
  for (const auto& [name, base] : bases()) names.push_back(name);
  return names;
}

std::optional<VitParams> vit_params(const ModelName& name) {
  const auto found = bases().find(name.base);
  if (found == bases().end()) return std::nullopt;
  require_settings(name, letters_of(found->second.family), name.base);
  VitParams params = params_of(found->second, name);
  require(params.width % params.heads == 0, "[models] {}: unusable heads; got {} of {} channels; expected a divisor",
          name.base, params.heads, params.width);
  require(params.depth <= most_blocks && (params.class_token || params.width >= 8),
          "[models] {}: unusable depth or width; got {} and {}; expected at most {} and at least 8", name.base,
          params.depth, params.width, most_blocks);
  return params;
}

std::optional<Backbone> build_vit(const std::string& architecture, const ModelName& name, ImageShape shape,
                                  const std::string& features) {
  const std::optional<VitParams> params = vit_params(name);
  if (!params) return std::nullopt;
  const VitFeatures wanted = vit_features(features);
  Backbone backbone{architecture, {}};
  if (params->class_token) backbone.native_side = params->grid * params->patch;
  Graph& graph = backbone.graph;
  const Value image = graph.input("image", {shape.batch, shape.height, shape.width, 3}, true);
  const Value x = params->bcos ? inverse(graph, image, "model_input") : normalise(graph, image, "model_input");
  graph.alias("features", append_vit(graph, x, *params, wanted));
  return backbone;
}

std::vector<std::string> vit_architectures_of(const std::map<std::string, Shape>& tensors) {
  return Detection(tensors).names();
}

}  // namespace hp
