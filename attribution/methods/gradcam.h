// GradCAM: the channels of a layer, weighted by their mean gradient.
#pragma once

#include "attribution/method.h"

namespace hp {

struct GradCamOptions {
  // A node of the backbone: a feature map, or the tokens of a vision transformer, of which those of patches are the
  // map. The name of a convolution means its own output, also where its batch norm was folded into it; the batch norm's
  // name means the output of that. "features" that are one vector an image, as those of a class token, have no map: the
  // layer is then what the last self-attention reads, the last that all patches have a part in.
  std::string layer = "features";
  bool relu = false;  // max(map, 0), as in the paper; without it negative evidence stays
};

// The node that `layer` means in a backbone.
std::string gradcam_layer(const Graph& backbone, const std::string& layer);
// Is the node a feature map, or tokens whose patches lie on the graph's grid?
bool has_positions(const Graph& graph, int node);

// map = sum_k mean_hw(G_k) A_k (Selvaraju et al. 2017, equations 1 and 2), enlarged bilinearly with half-pixel centres.
// Before a folded batch norm, y = k z + b: sum_k mean(G_z) z = sum_k mean(G_y) (y - b), exact without unfolding
// (attribution.md C.2). `raw` is the map at the layer's size, [rows, height, width, 1].
class GradCam final : public Attribution {
 public:
  explicit GradCam(GradCamOptions options) : options_(std::move(options)) {}
  std::string name() const override { return "gradcam"; }
  MethodCost cost(const Graph& backbone) const override;

 private:
  Explanation run(const Question& question) const override;

  GradCamOptions options_;
};

}  // namespace hp
