#!/usr/bin/env bash
# Sets up what is missing, builds everything, runs every test. Options are passed on to ctest: ./test.sh -R runtime
# ./test.sh --gpu builds for the GPU of this machine, runs every kernel case and whole experiments on it, and writes
# docs/results/gpu-<name>.md.
# In an unpacked archive nothing is built: the tests that came along run.
set -euo pipefail
cd "$(dirname "$0")"
archive=
if [[ -d libexec ]]; then
  archive=yes
  export HP_RUN=$PWD/bin/hp-run HP_SOURCE_DIR=$PWD
else
  .ci/install.sh packages.txt
fi
if [[ ${1:-} == --gpu ]]; then
  shift
  name=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1 | tr 'A-Z ' 'a-z-')
  tests=bin
  if [[ -z $archive ]]; then
    cmake --preset cuda -B build/gpu -DHP_CUDA_ARCHITECTURES=native
    cmake --build build/gpu --target cuda_gpu_test cuda_gpu_run_test bench_gpu hp-run
    tests=build/gpu/tests/cuda_gpu
  fi
  "$tests/cuda_gpu_test" "$@"
  "$tests/cuda_gpu_run_test"
  if command -v compute-sanitizer > /dev/null; then
    compute-sanitizer --target-processes all --error-exitcode 1 "$tests/cuda_gpu_test" --test-case="small*"
  else
    echo "skipped: no compute-sanitizer"
  fi
  "$tests/bench_gpu" > "docs/results/gpu-$name.md"
  echo "written: docs/results/gpu-$name.md"
  exit
fi
if [[ -n $archive ]]; then
  for test in runtime_test kernels_test; do "bin/$test" "$@"; done
  exit
fi
cmake --preset werror
cmake --build --preset werror
ctest --preset werror "$@"
