// The emulated multiprocessor: runs the threads of a block as fibers, in an order that a test chooses.
//
// Threads run warp by warp and lane by lane, each as far as it can: until it ends, or waits for its warp (shuffle,
// __syncwarp) or its block (__syncthreads). That is the worst case for a missing barrier. When nothing can run and the
// live threads do not all stand at one and the same block barrier, the launch fails and names the lines.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda_runtime.h"
#include "tests/cuda_host/fiber.h"

namespace cuda_host {

// The order of blocks, of warps and of lanes between synchronisations. A kernel whose result depends on it has a race.
enum class Schedule { forward, reverse, shuffled };
void set_schedule(Schedule schedule, unsigned seed = 1);

class Machine {
 public:
  void set_schedule(Schedule schedule, unsigned seed);
  void run(const cudaLaunchConfig_t& config, const std::function<void()>& thread);  // throws std::runtime_error

  // Called by the running thread.
  void block_barrier(Where at);
  const uint64_t* warp_exchange(unsigned mask, uint64_t value, Where at);
  int lane() const { return static_cast<int>(current_ % 32); }
  void* dynamic_shared() { return shared_.data(); }

 private:
  enum class State { ready, at_warp, at_block, done };
  struct Thread {
    Fiber* fiber = nullptr;
    State state = State::ready;
    unsigned mask = 0;
    uint64_t value = 0;
    Where at{};
  };
  struct Warp {
    unsigned live = 0, arrived = 0;  // lanes that have not ended; lanes that wait at a warp operation
    uint64_t values[32] = {};
  };

  static void fiber_main();
  std::vector<unsigned> order(unsigned count);
  void prepare_block();
  void run_block();
  void run_warp(unsigned warp, const std::vector<unsigned>& lanes);
  bool release_block();  // false when every thread has ended
  void resume(size_t thread);
  void suspend() { threads_[current_].fiber->suspend(); }
  bool complete_exchange(size_t warp, unsigned mask);
  [[noreturn]] void report_divergence();

  Schedule schedule_ = Schedule::forward;
  std::mt19937 random_{1};
  const std::function<void()>* thread_ = nullptr;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::vector<std::byte> shared_;
  size_t current_ = 0;
};

Machine& machine();

}  // namespace cuda_host
