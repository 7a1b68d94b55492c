#!/usr/bin/env bash
# Sets up what is missing, builds everything, runs every test. Options are passed on to ctest: ./test.sh -R runtime
# ./test.sh --gpu builds for the GPU of this machine, runs every kernel case and whole experiments on it, and writes
# docs/results/gpu-<name>.md.
set -euo pipefail
cd "$(dirname "$0")"
.ci/install.sh packages.txt
if [[ ${1:-} == --gpu ]]; then
  shift
  name=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1 | tr 'A-Z ' 'a-z-')
  cmake --preset cuda -B build/gpu -DHP_CUDA_ARCHITECTURES=native
  cmake --build build/gpu --target cuda_gpu_test cuda_gpu_run_test bench_gpu hp-run
  build/gpu/tests/cuda_gpu/cuda_gpu_test "$@"
  build/gpu/tests/cuda_gpu/cuda_gpu_run_test
  if command -v compute-sanitizer > /dev/null; then
    compute-sanitizer --error-exitcode 1 build/gpu/tests/cuda_gpu/cuda_gpu_test --test-case="small*"
  else
    echo "skipped: no compute-sanitizer"
  fi
  build/gpu/tests/cuda_gpu/bench_gpu > "docs/results/gpu-$name.md"
  echo "written: docs/results/gpu-$name.md"
  exit
fi
cmake --preset werror
cmake --build --preset werror
ctest --preset werror "$@"
