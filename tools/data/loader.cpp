#include "tools/data/loader.h"

#include <algorithm>
#include <utility>

#include "runtime/error.h"

namespace hp {

Loader::Loader(const Dataset& data, Preprocess preprocess, std::vector<int64_t> indices, LoaderOptions options)
    : data_(data), preprocess_(preprocess), indices_(std::move(indices)), options_(std::move(options)) {
  preprocess_.check();
  options_.augmentation.check();
  require(options_.batch >= 1 && options_.threads >= 1 && options_.batches_ahead >= 1,
          "[loader] batch {}, threads {}, batches ahead {}; expected 1 or more of each", options_.batch,
          options_.threads, options_.batches_ahead);
  for (const int64_t index : indices_) {
    require(index >= 0 && index < data_.size(), "[loader] index {} of a data set of {}", index, data_.size());
  }
  const size_t ahead = static_cast<size_t>(options_.batch) * static_cast<size_t>(options_.batches_ahead);
  slots_.resize(std::clamp<size_t>(indices_.size(), 1, ahead));
  for (int i = 0; i < options_.threads; ++i) {
    workers_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }
}

Loader::~Loader() {
  for (std::jthread& worker : workers_) worker.request_stop();  // all of them before the first is waited for
}

void Loader::work(const std::stop_token& stop) {
  for (;;) {
    size_t position = 0;
    {
      std::unique_lock lock(mutex_);
      const auto has_work = [&] { return started_ < std::min(indices_.size(), consumed_ + slots_.size()); };
      if (!room_.wait(lock, stop, has_work) || stop.stop_requested()) return;
      position = started_++;
    }
    try {
      finish(position, load(position));
    } catch (...) {
      const std::scoped_lock lock(mutex_);
      fatal_ = std::current_exception();
      ready_.notify_one();
      return;
    }
  }
}

Sample Loader::decode(int64_t index) const {
  const Observed observed(options_.observer, "data/decode");
  return data_.load(index);
}

Loader::Slot Loader::load(size_t position) const {
  Slot slot;
  slot.done = true;
  try {
    const int64_t index = indices_[position];
    const AugmentationKey key{options_.augmentation_seed, options_.epoch, index};
    Sample sample = decode(index);
    const Observed observed(options_.observer, "data/transform");
    slot.sample = augmented(preprocess_, options_.augmentation, key, std::move(sample));
  } catch (const Error& error) {
    slot.reason = error.what();
  }
  return slot;
}

void Loader::finish(size_t position, Slot slot) {
  const std::scoped_lock lock(mutex_);
  if (!slot.sample) failures_.push_back(slot.reason);
  slots_[position % slots_.size()] = std::move(slot);
  ready_.notify_one();
}

bool Loader::too_many_failures() const {
  return static_cast<double>(failures_.size()) > options_.unreadable_limit * static_cast<double>(indices_.size());
}

void Loader::fail_for_failures() const {
  constexpr size_t named = 3;
  const size_t count = std::min(failures_.size(), named);
  fail("[loader] {} of {} pictures are unreadable so far; expected at most {:g} %; the first: {}", failures_.size(),
       indices_.size(), options_.unreadable_limit * 100,
       fmt::join(failures_.begin(), failures_.begin() + static_cast<ptrdiff_t>(count), "; "));
}

std::vector<Loader::Slot> Loader::take_slots(size_t begin, size_t end) {
  const Observed observed(options_.observer, "data/wait");
  std::unique_lock lock(mutex_);
  const auto slot = [&](size_t position) -> Slot& { return slots_[position % slots_.size()]; };
  size_t complete = begin;
  ready_.wait(lock, [&] {
    while (complete < end && slot(complete).done) ++complete;
    return complete == end || fatal_ || too_many_failures();
  });
  if (fatal_) std::rethrow_exception(fatal_);
  if (too_many_failures()) fail_for_failures();
  std::vector<Slot> taken;
  for (size_t position = begin; position < end; ++position) taken.push_back(std::exchange(slot(position), Slot{}));
  consumed_ = end;
  room_.notify_all();
  return taken;
}

Batch Loader::assemble(size_t begin, std::vector<Slot> slots) {
  Batch batch;
  for (size_t i = 0; i < slots.size(); ++i) {
    const int64_t index = indices_[begin + i];
    if (!slots[i].sample) {
      unreadable_.push_back({index, data_.item(index).id, std::move(slots[i].reason)});
      if (options_.on_unreadable) options_.on_unreadable(unreadable_.back());
      continue;
    }
    Sample& sample = *slots[i].sample;
    if (height_ == 0) {
      height_ = sample.image.height;
      width_ = sample.image.width;
      first_id_ = sample.id;
    }
    require(sample.image.height == height_ && sample.image.width == width_,
            "[loader] {} has {} x {} pixels and {} has {} x {}; expected one size: set resize or crop", first_id_,
            width_, height_, sample.id, sample.image.width, sample.image.height);
    batch.samples.push_back(std::move(sample));
    batch.indices.push_back(index);
  }
  std::vector<const Image*> images;
  for (const Sample& sample : batch.samples) images.push_back(&sample.image);
  const Observed observed(options_.observer, "data/stack");
  if (!images.empty()) batch.images = to_float(images);
  return batch;
}

std::optional<Batch> Loader::next() {
  while (consumed_ < indices_.size()) {  // only this thread writes it
    const size_t begin = consumed_;
    const size_t end = std::min(begin + static_cast<size_t>(options_.batch), indices_.size());
    Batch batch = assemble(begin, take_slots(begin, end));
    if (!batch.samples.empty()) return batch;
  }
  return std::nullopt;
}

}  // namespace hp
