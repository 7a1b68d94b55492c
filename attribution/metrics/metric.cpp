#include "attribution/metrics/metric.h"

#include <fmt/ranges.h>

#include <functional>
#include <map>

#include "attribution/metrics/pointing.h"
#include "attribution/metrics/sparseness.h"
#include "attribution/options.h"
#include "runtime/error.h"

namespace hp {

namespace {

Smoothing smoothing_option(Options& options) {
  constexpr Smoothing kinds[] = {Smoothing::box5, Smoothing::gauss129, Smoothing::none};
  return kinds[options.choice("smoothing", 0, {"box5", "gauss129", "none"})];
}

using MetricBuilder = std::function<MetricPtr(Options&)>;

const std::map<std::string, MetricBuilder>& metric_builders() {
  static const std::map<std::string, MetricBuilder> builders = {
      {"grid_pointing",
       [](Options& options) {
         const int64_t cells = options.integer("cells", 0, 2, 16);
         require(cells > 0, "[grid_pointing] 'cells' is missing; expected 2 to 16 cells a side");
         return std::make_unique<const GridPointing>(cells, smoothing_option(options));
       }},
      {"energy_pointing",
       [](Options& options) {
         using Part = EnergyPointing::Part;
         constexpr Part parts[] = {Part::all, Part::boxes, Part::mask};
         const Smoothing smoothing = smoothing_option(options);
         return std::make_unique<const EnergyPointing>(smoothing,
                                                       parts[options.choice("region", 0, {"all", "box", "mask"})]);
       }},
      {"entropy", [](Options&) { return std::make_unique<const Entropy>(); }},
      {"gini", [](Options&) { return std::make_unique<const Gini>(); }},
  };
  return builders;
}

}  // namespace

std::vector<Record> Metric::score(Context context, const Tensor& maps, std::span<const Subject> subjects) const {
  require(maps.shape().rank() == 3 && maps.shape()[0] == static_cast<int64_t>(subjects.size()),
          "[{}] maps do not fit the subjects; got {} for {}; expected [count, height, width]", name(),
          maps.shape().str(), subjects.size());
  std::vector<Record> records;
  if (subjects.empty()) return records;
  const std::vector<double> values = this->values(context, maps, subjects);
  records.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    records.push_back({subjects[i].sample, subjects[i].target, subjects[i].cell, values[i]});
  }
  return records;
}

MetricPtr make_metric(const std::string& name, const nlohmann::json& options) {
  const auto found = metric_builders().find(name);
  require(found != metric_builders().end(), "[metric] unknown metric; got '{}'; expected one of {}", name,
          fmt::join(metric_names(), ", "));
  Options reader(options, name);
  MetricPtr metric = found->second(reader);
  reader.finish();
  return metric;
}

std::vector<std::string> metric_names() {
  std::vector<std::string> names;
  for (const auto& [name, builder] : metric_builders()) names.push_back(name);
  return names;
}

Tensor smoothed(Context context, const Tensor& maps, Smoothing smoothing) {
  if (smoothing == Smoothing::none) return maps;
  const Maps extents{maps.shape()[0], maps.shape()[1], maps.shape()[2]};
  Tensor result = context.scratch.take(maps.shape());
  if (smoothing == Smoothing::box5) {
    context.kernels.box_smooth(extents, 5, maps.floats(), result.floats());
    return result;
  }
  constexpr int64_t taps = 129;
  constexpr float sigma = 129.0f / 4;
  require(extents.height >= taps && extents.width >= taps,
          "[metric] smoothing gauss129 needs maps of at least {} pixels a side; got {} x {}; expected larger images, "
          "or smoothing box5",
          taps, extents.height, extents.width);
  context.kernels.gauss_smooth(extents, taps, sigma, maps.floats(), result.floats());
  return result;
}

}  // namespace hp
