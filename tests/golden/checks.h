// The comparisons with the golden files of a network. Networks whose weights are not here are skipped.
#pragma once

#include <string>
#include <vector>

namespace hp::golden {

// Node by node: every node runs alone on inputs made by formula, forward and back under each rule, with messages as
// multipliers and as relevance, and for inputs >= 0 both where the rule may know that and where it may not.
// `parts`: of the files' names.
void check_nodes(const std::string& network, const std::vector<std::string>& parts = {"nodes"});

// End to end, by the methods that users call, all images and both targets at once.
void check_gradients(const std::string& network);  // logits and gradient methods
void check_lrp(const std::string& network);        // every composite

}  // namespace hp::golden
