#include <fmt/format.h>

#include "attribution/method.h"
#include "kernels/cpu/cpu_kernels.h"
#include "tests/golden/checks.h"
#include "tests/golden/reference_network.h"

namespace hp::golden {

namespace {

using nlohmann::json;

constexpr const char* roles[] = {"predicted", "fixed"};

// What a golden file is about, ready to be asked: its network, its images as one batch, both targets of each image.
class GoldenSession {
 public:
  GoldenSession(const GoldenFile& file, const ReferenceNetwork& network)
      : comparison_(file), images_(golden_images(file)) {
    const Head head = network.head();
    session_ = std::make_unique<Session>(fold_norms(network.backbone.graph, network.parameters), std::span(&head, 1),
                                         kernels_);
    std::vector<int> fixed;
    for (const json& image : file.header().at("images")) {
      targets_.push_back(image.at("predicted"));
      fixed.push_back(targets_.back() == 3 ? 4 : 3);
    }
    targets_.insert(targets_.end(), fixed.begin(), fixed.end());
  }

  void check_logits() {
    const Pass pass = session_->forward(images_, {"gradient", {}, {}});
    const Tensor logits = Tensor::host({images_.shape()[0], session_->classes(0)}, session_->logits(pass, 0));
    for (int64_t i = 0; i < images_.shape()[0]; ++i) {
      comparison_.check(fmt::format("image{}/logits", i), logits.rows(i, i + 1));
    }
  }

  Explanation explain(const std::string& method, const json& options, const Watch& watch = {}) {
    return make_attribution(method, options)->explain(*session_, images_, targets_, watch);
  }

  // Rows [target * images + image, ...] with the entries imageI/TARGET/`what`.
  void check_rows(const std::string& what, const Tensor& rows) {
    const int64_t batch = images_.shape()[0];
    for (int64_t row = 0; row < 2 * batch; ++row) {
      comparison_.check(fmt::format("image{}/{}/{}", row % batch, roles[row / batch], what), rows.rows(row, row + 1));
    }
  }

  void finish() const { comparison_.finish(); }

 private:
  Comparison comparison_;
  CpuKernels kernels_;
  std::unique_ptr<Session> session_;
  Tensor images_;
  std::vector<int> targets_;
};

// The nodes inside the network whose relevance a file has.
std::vector<std::string> layers_of(const GoldenFile& file) {
  std::set<std::string> layers;
  for (const auto& [name, entry] : file.entries()) {
    const std::string node = entry.text("node");
    if (!node.starts_with("input")) layers.insert(node);
  }
  return {layers.begin(), layers.end()};
}

void check_composite(const ReferenceNetwork& network, const std::string& composite, const json& options) {
  const GoldenFile file(network.name + "_lrp_" + composite);
  GoldenSession session(file, network);
  const Explanation explanation = session.explain("lrp", options, {layers_of(file), false});
  session.check_rows("input", explanation.raw);
  session.check_rows("input_map", explanation.map);
  for (const auto& [layer, relevance] : explanation.layers) session.check_rows(layer, relevance);
  session.finish();
}

}  // namespace

void check_gradients(const std::string& name) {
  const std::optional<ReferenceNetwork> network = reference_network(name);
  if (!network) return;
  const GoldenFile file(name + "_gradients");
  GoldenSession session(file, *network);
  session.check_logits();
  session.check_rows("gradient", session.explain("gradient", {}).raw);
  session.check_rows("input_x_gradient", session.explain("ixg", {}).raw);
  session.check_rows("guided_backpropagation", session.explain("guided_backprop", {}).raw);
  for (const int nodes : {16, 50}) {
    session.check_rows(fmt::format("integrated_gradients_{}", nodes),
                       session.explain("intgrad", {{"nodes", nodes}}).raw);
  }
  for (const std::string place : {"convolution", "block"}) {
    const Explanation explanation = session.explain("gradcam", {{"layer", file.header().at(place)}});
    session.check_rows("gradcam_" + place, explanation.raw);
    session.check_rows("gradcam_" + place + "_upsampled", explanation.map);
  }
  session.finish();
}

void check_lrp(const std::string& name) {
  const std::optional<ReferenceNetwork> network = reference_network(name);
  if (!network) return;
  for (const std::string composite :
       {"epsilon_gamma_box", "epsilon_plus", "epsilon_alpha2_beta1", "epsilon_plus_flat"}) {
    check_composite(*network, composite, {{"composite", composite}});
  }
  check_composite(*network, "epsilon_gamma_box_copy", {{"composite", "epsilon_gamma_box"}, {"residual", "copy"}});
}

}  // namespace hp::golden
