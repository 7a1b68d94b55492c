// parallel_for and parallel_chunks: split a range among OpenMP threads, always in the same way.
//
// The split depends on the range, the grain and the number of threads alone, never on timing, so that sums which are
// collected per chunk come out the same in every run. `f` must not throw.
#pragma once

#include <algorithm>
#include <cstdint>

namespace hp {

// What makes a chunk worth its thread: a few microseconds of reading.
inline constexpr int64_t floats_per_thread = 16384;

// How many chunks parallel_chunks will make: at most one per thread, none smaller than `grain` (at least one).
inline int chunk_count(int threads, int64_t n, int64_t grain) {
  const int64_t by_grain = n / std::max<int64_t>(grain, 1);
  return static_cast<int>(std::clamp<int64_t>(by_grain, 1, threads));
}

// f(chunk, begin, end) for chunk_count(...) consecutive pieces of [0, n); an empty range calls nothing.
template <class F>
void parallel_chunks(int threads, int64_t n, int64_t grain, F&& f) {
  if (n <= 0) return;
  const int chunks = chunk_count(threads, n, grain);
  if (chunks == 1) {
    f(0, int64_t{0}, n);
    return;
  }
#pragma omp parallel for schedule(static, 1) num_threads(chunks)
  for (int chunk = 0; chunk < chunks; ++chunk) f(chunk, n * chunk / chunks, n * (chunk + 1) / chunks);
}

// f(begin, end) likewise.
template <class F>
void parallel_for(int threads, int64_t n, int64_t grain, F&& f) {
  parallel_chunks(threads, n, grain, [&f](int, int64_t begin, int64_t end) { f(begin, end); });
}

}  // namespace hp
