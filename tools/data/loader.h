// Loader: decodes and preprocesses pictures in worker threads beside the computation and hands them out in batches.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/observer.h"
#include "runtime/tensor.h"
#include "tools/data/augmentation.h"
#include "tools/data/dataset.h"
#include "tools/data/preprocess.h"

namespace hp {

// A picture that was skipped, and why.
struct Unreadable {
  int64_t index = 0;  // in the data set
  std::string id;
  std::string reason;
};

struct LoaderOptions {
  int batch = 32;
  int threads = 1;                 // workers beside the caller's thread
  int batches_ahead = 2;           // decoded at most before the caller asks for them; bounds the memory
  double unreadable_limit = 0.01;  // share of the pictures
  Augmentation augmentation{};     // none by default; a loader serves one epoch
  uint64_t augmentation_seed = 0, epoch = 0;
  std::function<void(const Unreadable&)> on_unreadable{};  // called in order, by the thread that calls next()
  // Told of data/decode and data/transform by the workers, of data/wait and data/stack by the thread that calls next().
  Observer* observer = nullptr;
};

struct Batch {
  Tensor images;                 // float32 [images, height, width, 3], RGB in [0, 1]
  std::vector<Sample> samples;   // the same pictures, in the same order, with their labels and boxes
  std::vector<int64_t> indices;  // in the data set
};

// Batches come in the order of `indices`, whatever the number of threads: batch k holds the readable ones of positions
// [k * batch, (k + 1) * batch), so an unreadable picture makes one batch shorter and shifts nothing. One thread may
// call next().
class Loader {
 public:
  // The data set must outlive the loader. Throws hp::Error on indices outside it and on senseless options.
  Loader(const Dataset& data, Preprocess preprocess, std::vector<int64_t> indices, LoaderOptions options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // The next batch, none at the end. Throws hp::Error as soon as more pictures are unreadable than the limit allows,
  // and where pictures differ in size after preprocessing. What a worker threw for another reason (memory) is thrown
  // here.
  std::optional<Batch> next();

  // Every picture skipped so far, in order.
  const std::vector<Unreadable>& unreadable() const { return unreadable_; }

 private:
  // One picture on its way from a worker to the caller.
  struct Slot {
    bool done = false;
    std::optional<Sample> sample;  // none: unreadable
    std::string reason;
  };

  void work(const std::stop_token& stop);
  Slot load(size_t position) const;
  Sample decode(int64_t index) const;
  void finish(size_t position, Slot slot);
  bool too_many_failures() const;
  [[noreturn]] void fail_for_failures() const;
  std::vector<Slot> take_slots(size_t begin, size_t end);
  Batch assemble(size_t begin, std::vector<Slot> slots);

  const Dataset& data_;
  const Preprocess preprocess_;
  const std::vector<int64_t> indices_;
  const LoaderOptions options_;
  std::vector<Unreadable> unreadable_;
  int height_ = 0, width_ = 0;  // of the first picture: all others must agree
  std::string first_id_;

  std::mutex mutex_;  // guards everything below
  std::condition_variable_any room_;
  std::condition_variable ready_;
  std::vector<Slot> slots_;            // a ring: position p lies at p % size
  size_t started_ = 0;                 // positions given to workers
  size_t consumed_ = 0;                // positions given to the caller
  std::vector<std::string> failures_;  // reasons, as the workers find them
  std::exception_ptr fatal_;

  std::vector<std::jthread> workers_;  // last: stopped and joined before the rest goes
};

}  // namespace hp
