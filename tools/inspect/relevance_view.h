// What hp-inspect relevance prints, and the files that it writes.
#pragma once

#include <filesystem>
#include <string>

#include "tools/inspect/relevance.h"
#include "tools/inspect/views.h"

namespace hp {

struct RelevanceRequest {
  std::filesystem::path image;
  std::string target;  // a class by number or name; empty: the class of the highest logit
  std::string composite = "epsilon_gamma_box";
  std::string layer;             // a pattern of nodes to show; empty: one cut a stage
  std::filesystem::path output;  // folder for files; empty: none
  ViewOptions view;
};

// Explains the image and returns the text; writes the files where they are asked for. Throws hp::Error on whatever does
// not fit.
std::string relevance_view(const Model& model, const RelevanceRequest& request);

// Which nodes a text or a folder shows: those that fit the pattern; every node; or, of each stage, the cut that is
// nearest to the logit. In the order of the walk.
std::vector<const NodeRelevance*> shown_nodes(const RelevanceReport& report, const Graph& backbone, const Graph& head,
                                              const std::string& layer, bool all);

// Where relevance is lost or created: a sentence, and a table of the `most` nodes that lose or create most.
std::string conservation_text(const RelevanceReport& report, size_t most = 3);

// What each softmax creates or loses, and all of them together; empty where relevance passes none.
std::string softmax_text(const RelevanceReport& report);

// Per node <number>_<node>.npy and, for maps, a picture of the sum over channels (.png, red for the class, blue
// against it); besides input.png, overview.png (the input and all maps side by side) and relevance.json.
void write_relevance(const std::filesystem::path& folder, const Model& model, const Tensor& image,
                     const RelevanceReport& report, std::span<const NodeRelevance* const> nodes);

// Everything but the maps, as JSON.
std::string relevance_json(const Model& model, const RelevanceReport& report);

}  // namespace hp
