#include "tests/cuda_host/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <stdexcept>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_host {

Machine& machine() {
  static Machine the_machine;
  return the_machine;
}

void set_schedule(Schedule schedule, unsigned seed) { machine().set_schedule(schedule, seed); }
void block_barrier(Where at) { machine().block_barrier(at); }
const uint64_t* warp_exchange(unsigned mask, uint64_t value, Where at) {
  return machine().warp_exchange(mask, value, at);
}
int lane() { return machine().lane(); }
void* dynamic_shared() { return machine().dynamic_shared(); }

void Machine::set_schedule(Schedule schedule, unsigned seed) {
  schedule_ = schedule;
  random_.seed(seed);
}

std::vector<unsigned> Machine::order(unsigned count) {
  std::vector<unsigned> order(count);
  for (unsigned i = 0; i < count; ++i) order[i] = schedule_ == Schedule::reverse ? count - 1 - i : i;
  if (schedule_ == Schedule::shuffled) std::ranges::shuffle(order, random_);
  return order;
}

// A fiber serves one thread after another.
void Machine::fiber_main() {
  Fiber::entered();
  Machine& self = machine();
  for (;;) {
    (*self.thread_)();
    Thread& thread = self.threads_[self.current_];
    thread.state = State::done;
    self.warps_[self.current_ / 32].live &= ~(1U << self.current_ % 32);
    self.idle_.push_back(thread.fiber);
    thread.fiber->suspend();
  }
}

void Machine::resume(size_t index) {
  Thread& thread = threads_[index];
  if (!thread.fiber) {
    if (idle_.empty()) {
      fibers_.push_back(std::make_unique<Fiber>(fiber_main));
      idle_.push_back(fibers_.back().get());
    }
    thread.fiber = idle_.back();
    idle_.pop_back();
  }
  current_ = index;
  const auto i = static_cast<unsigned>(index);
  threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
  thread.fiber->resume();
}

void Machine::block_barrier(Where at) {
  Thread& thread = threads_[current_];
  thread.state = State::at_block;
  thread.at = at;
  suspend();
}

const uint64_t* Machine::warp_exchange(unsigned mask, uint64_t value, Where at) {
  const size_t warp = current_ / 32;
  Thread& thread = threads_[current_];
  thread.state = State::at_warp;
  thread.mask = mask;
  thread.value = value;
  thread.at = at;
  warps_[warp].arrived |= 1U << current_ % 32;
  if (!complete_exchange(warp, mask)) suspend();
  return warps_[warp].values;
}

// True when every live lane of the mask waits at a warp operation with this very mask: they all go on.
bool Machine::complete_exchange(size_t index, unsigned mask) {
  Warp& warp = warps_[index];
  const unsigned lanes = mask & warp.live;
  if ((lanes & ~warp.arrived) != 0) return false;
  for (unsigned lane = 0; lane < 32; ++lane) {
    if ((lanes >> lane & 1) && threads_[index * 32 + lane].mask != mask) return false;
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (!(lanes >> lane & 1)) continue;
    Thread& thread = threads_[index * 32 + lane];
    warp.values[lane] = thread.value;
    thread.state = State::ready;
  }
  warp.arrived &= ~lanes;
  return true;
}

void Machine::report_divergence() {
  std::map<std::string, int> places;
  for (const Thread& thread : threads_) {
    if (thread.state == State::done) continue;
    ++places[thread.state == State::at_block
                 ? fmt::format("__syncthreads at {}:{}", thread.at.file, thread.at.line)
                 : fmt::format("a warp operation at {}:{} (mask {:#x})", thread.at.file, thread.at.line, thread.mask)];
  }
  std::string text = fmt::format("divergent synchronisation in block {},{},{}:", blockIdx.x, blockIdx.y, blockIdx.z);
  for (const auto& [place, count] : places) text += fmt::format(" {} threads wait in {};", count, place);
  fibers_.clear();  // their stacks hold threads that have not ended
  idle_.clear();
  throw std::runtime_error(text);
}

void Machine::prepare_block() {
  std::ranges::fill(shared_, std::byte{0xff});  // what has not been written reads as NaN
  std::ranges::fill(threads_, Thread());
  for (size_t warp = 0; warp < warps_.size(); ++warp) {
    const size_t lanes = std::min<size_t>(32, threads_.size() - warp * 32);
    warps_[warp] = Warp{.live = lanes == 32 ? ~0U : (1U << lanes) - 1};
  }
}

void Machine::run_warp(unsigned warp, const std::vector<unsigned>& lanes) {
  for (bool ran = true; ran;) {
    ran = false;
    for (const unsigned lane : lanes) {
      const size_t thread = warp * 32 + lane;
      if (thread >= threads_.size() || threads_[thread].state != State::ready) continue;
      resume(thread);
      ran = true;
    }
    for (const unsigned lane : lanes) {  // a lane that others waited for may have ended instead
      const size_t thread = warp * 32 + lane;
      if (thread >= threads_.size() || threads_[thread].state != State::at_warp) continue;
      if (complete_exchange(warp, threads_[thread].mask)) ran = true;
    }
  }
}

bool Machine::release_block() {
  const Thread* first = nullptr;
  for (const Thread& thread : threads_) {
    if (thread.state == State::done) continue;
    if (!first) first = &thread;
    if (thread.state != State::at_block || thread.at.line != first->at.line) report_divergence();
  }
  for (Thread& thread : threads_) {
    if (thread.state == State::at_block) thread.state = State::ready;
  }
  return first != nullptr;
}

void Machine::run_block() {
  prepare_block();
  const std::vector<unsigned> warps = order(static_cast<unsigned>(warps_.size())), lanes = order(32);
  do {
    for (const unsigned warp : warps) run_warp(warp, lanes);
  } while (release_block());
}

void Machine::run(const cudaLaunchConfig_t& config, const std::function<void()>& thread) {
  thread_ = &thread;
  gridDim = config.gridDim;
  blockDim = config.blockDim;
  threads_.resize(size_t{blockDim.x} * blockDim.y * blockDim.z);
  warps_.resize((threads_.size() + 31) / 32);
  shared_.resize(config.dynamicSmemBytes);
  for (const unsigned block : order(gridDim.x * gridDim.y * gridDim.z)) {
    blockIdx = {block % gridDim.x, block / gridDim.x % gridDim.y, block / gridDim.x / gridDim.y};
    run_block();
  }
}

}  // namespace cuda_host
