// Findings: the paired differences of a run said in words, and numbers as text, for the terminal and the report alike.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tools/experiment/results.h"

namespace hp {

// How to speak of a metric. Unknown metrics get words that claim nothing: "scores higher than".
struct MetricWords {
  std::string_view name;          // also how Row::metric may call it
  std::string_view title, said;   // as a heading and within a sentence: "Entropy", "entropy"
  std::string_view meaning;       // one sentence for a caption
  std::string_view above, below;  // a value above (below) another's: "localises better", "localises worse"
  bool localises = false;         // says where evidence lies
};
MetricWords metric_words(std::string_view metric);

// "Entropy", or "on-grids (entropy)" where the evaluation has a name of its own.
std::string evaluation_title(std::string_view evaluation, std::string_view metric);

// One evaluation and one pair of probes, all methods together: "On GridPG, linear-bce localises better than linear-ce
// with gradcam (+0.123 [0.101, 0.145]); no significant difference with ixg."
struct Finding {
  std::string evaluation, text;
  bool significant = false;  // at least one of its differences is
};
std::vector<Finding> findings(const Results& results);

// One sentence for each pair of probes on where evidence lies, all evaluations by GridPG and EPG together: "linear-bce
// localises better than linear-ce with gradcam and lrp; worse with ixg." A method counts as better (worse) if at least
// one evaluation says so significantly and none the contrary.
std::vector<std::string> conclusions(const Results& results);

// One sentence on all differences: how many there are and how many are significant.
std::string verdict(const Results& results);

// Of the intervals, as the experiment says: "95 %".
std::string confidence_text(const Results& results);

// The distinct names in the order of their first appearance.
struct EvaluationNames {
  std::string evaluation, metric;
  std::vector<std::string> methods, probes;
};
std::vector<EvaluationNames> evaluations_of(const Results& results);
const Row* find_row(const Results& results, const EvaluationNames& evaluation, std::string_view method,
                    std::string_view probe);

// Three decimals, or two digits where that would show nothing; "n/a" for values that are not finite.
std::string value_text(double value);
std::string signed_text(double value);             // "+0.123"
std::string interval_text(const Interval& value);  // "[0.101, 0.145]"
std::string percent_text(double share);            // 0.8635: "86.35 %"
std::string rate_text(double rate);                // shortest: "0.1"
// Half the width of the interval; none without one, or where it is not finite.
std::optional<double> half_width(const Summary& summary);

}  // namespace hp
