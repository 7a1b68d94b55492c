#include "tools/experiment/split.h"

#include <algorithm>
#include <numeric>

#include "probes/digest.h"
#include "runtime/error.h"

namespace hp {

namespace {

// Readable images of a cache's batch, on the device, with their positions in the data set.
struct ImageBatch {
  Tensor images;
  std::vector<int64_t> indices;
};

// The images of a cache in the order in which it asks for them, from wherever it starts.
class BatchReader {
 public:
  BatchReader(const SplitData& split, const FeatureRun& run, FeatureExtractor& extractor)
      : split_(split), run_(run), extractor_(extractor) {}

  // The readable images of begin..end-1.
  ImageBatch read(int64_t begin, int64_t end) {
    if (!loader_ || begin != next_) restart(begin);
    next_ = end;
    if (!waiting_) take();
    // A batch without a readable image is passed over by the loader: what comes then belongs to a later call.
    if (!waiting_ || waiting_->indices.front() >= end) return {};
    ImageBatch batch = std::move(*waiting_);
    waiting_.reset();
    return batch;
  }

  // Takes the next batch to the device while it computes the last. What goes wrong is thrown when the batch is read:
  // the last one's features count.
  void look_ahead() {
    try {
      if (!waiting_) take();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }

 private:
  void restart(int64_t begin) {
    std::vector<int64_t> indices(static_cast<size_t>(split_.images->size() - begin));
    std::iota(indices.begin(), indices.end(), begin);
    LoaderOptions options;
    options.batch = run_.experiment.batch_size;
    options.threads = run_.experiment.workers;
    // The limit is a share of the whole split, also where an earlier run left its beginning.
    const double whole = static_cast<double>(split_.images->size());
    options.unreadable_limit = std::min(1.0, options.unreadable_limit * whole / static_cast<double>(indices.size()));
    options.observer = run_.kernels.observer();
    options.on_unreadable = [this](const Unreadable& image) {
      run_.journal.warn(fmt::format("skipped {}: {}", image.id, image.reason));
    };
    waiting_.reset();
    failure_ = nullptr;
    loader_ = std::make_unique<Loader>(*split_.images, run_.network.preprocess, std::move(indices), options);
  }

  void take() {
    if (failure_) std::rethrow_exception(failure_);
    if (std::optional<Batch> batch = loader_->next()) {
      waiting_ = ImageBatch{extractor_.uploaded(batch->images), std::move(batch->indices)};
    }
  }

  const SplitData& split_;
  const FeatureRun& run_;
  FeatureExtractor& extractor_;
  std::unique_ptr<Loader> loader_;
  std::optional<ImageBatch> waiting_;
  std::exception_ptr failure_;
  int64_t next_ = 0;
};

FeatureBatch compute_batch(const ImageBatch& batch, int64_t begin, int64_t end, FeatureExtractor& extractor,
                           Context context, const Shape& map) {
  FeatureBatch result;
  result.maps = context.scratch.take({end - begin, map[0], map[1], map[2]});
  std::vector<bool> read(static_cast<size_t>(end - begin), false);
  if (!batch.indices.empty()) {
    const Tensor features = extractor.features(batch.images);
    for (size_t i = 0; i < batch.indices.size(); ++i) {
      const int64_t row = batch.indices[i] - begin;
      read[static_cast<size_t>(row)] = true;
      const Tensor from = features.rows(static_cast<int64_t>(i), static_cast<int64_t>(i) + 1),
                   to = result.maps.rows(row, row + 1);
      context.kernels.copy(from.floats(), from.bytes(), to.floats());
    }
  }
  for (int64_t row = 0; row < end - begin; ++row) {
    if (read[static_cast<size_t>(row)]) continue;
    const Tensor missing = result.maps.rows(row, row + 1);
    context.kernels.fill(missing.count(), 0, missing.floats());
    result.skipped.push_back(begin + row);
  }
  return result;
}

}  // namespace

SplitData open_split(const Experiment& experiment, Split split) {
  SplitData data;
  data.name = split == Split::train ? "train" : "test";
  data.images = open_dataset(experiment.data, split);
  data.labels = Labels(static_cast<int64_t>(data.images->classes().size()), data.images->multi_label());
  for (int64_t i = 0; i < data.images->size(); ++i)
    data.labels.add(data.images->item(i).labels, data.images->item(i).difficult);
  return data;
}

bool pooled_features(const Experiment& experiment) {
  if (experiment.feature_form == "maps") return false;
  for (const ProbeSpec& probe : experiment.probes) {
    if (reads_pooled(probe.head)) continue;
    require(experiment.feature_form == "auto",
            "[experiment] /features/form: does not fit probe {}; got \"pooled\"; expected \"maps\" or \"auto\", since "
            "head {} reads every position of the map",
            probe.name, name_of(probe.head));
    return false;
  }
  return true;
}

bool needs_train_features(const Experiment& experiment) {
  return !experiment.augmentation.active() ||
         (experiment.shift && experiment.shift->direction == ShiftDirection::mean_feature);
}

FeatureKey feature_key(const Experiment& experiment, const Network& network, const SplitData& split,
                       const std::string& engine) {
  std::string list;
  for (int64_t i = 0; i < split.images->size(); ++i) list += split.images->stamp(i, experiment.data.root) + "\n";
  FeatureKey key;
  key.weights = network.sha256;
  key.data = sha256_of(list);
  const auto preprocessing = network.weights.metadata.find("preprocessing");
  key.preprocessing = network.preprocess.str() + " " + preprocessing->second;
  key.node = network.features == "auto" ? "features" : "features: " + network.features;
  key.engine = engine;
  key.dtype = experiment.half_features ? DType::float16 : DType::float32;
  key.pooled = pooled_features(experiment);
  return key;
}

bool compute_features(SplitData& split, const FeatureRun& run, std::vector<std::string>& notes) {
  const Observed observed(run.kernels.observer(), "run/features");
  FeatureExtractor extractor(run.network, run.kernels);
  ArenaPool pool(run.kernels);
  const Context context{run.kernels, pool};
  BatchReader reader(split, run, extractor);
  const Shape map = run.network.feature_shape();
  FillOptions options;
  options.batch = run.experiment.batch_size;
  options.cancelled = &run.cancelled;
  options.source = [&](int64_t begin, int64_t end) {
    FeatureBatch features = compute_batch(reader.read(begin, end), begin, end, extractor, context, map);
    reader.look_ahead();
    return features;
  };
  options.progress = [&](int64_t done, int64_t) { run.journal.advance(done); };
  run.journal.start(fmt::format("features ({})", split.name), split.images->size(), "images");
  const FeatureKey key = feature_key(run.experiment, run.network, split, run.engine);
  split.features = FeatureCache::open(run.cache, key, split.images->size(), map, run.kernels, options);
  if (!split.features) return false;
  if (split.features->discarded()) {
    run.journal.warn(fmt::format(
        "features ({}): the cache in {} is damaged or of another version; what does not fit was computed again",
        split.name, FeatureCache::folder_of(run.cache, key).string()));
  }
  if (split.features->shards_computed() == 0) {
    run.journal.say(fmt::format("features ({}): {} images from the cache", split.name, split.features->size()));
  } else {
    run.journal.advance(split.images->size());
    run.journal.finish();
  }
  const std::vector<int64_t> skipped = split.features->skipped();
  if (!skipped.empty()) {
    std::string names;
    for (size_t i = 0; i < std::min<size_t>(skipped.size(), 5); ++i) names += " " + split.images->item(skipped[i]).id;
    notes.push_back(fmt::format("{} unreadable {} image(s) skipped:{}{}", skipped.size(), split.name, names,
                                skipped.size() > 5 ? " ..." : ""));
  }
  return true;
}

}  // namespace hp
