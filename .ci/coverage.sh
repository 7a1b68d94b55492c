#!/usr/bin/env bash
# How much of kernels/cuda its tests on the CPU run: prints the share of lines by file, and fails under 95 %.
# .ci/coverage.sh [build folder], which is configured and mostly built already.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/werror}
cmake --build "$build" --target cuda_host_coverage
find "$build/tests/cuda_host" -name '*.gcda' -delete
"$build/tests/cuda_host/cuda_host_coverage" --no-version --minimal
gcovr --root . --filter kernels/cuda/ --exclude-unreachable-branches --fail-under-line 95 \
  "$build/tests/cuda_host/CMakeFiles/hp_kernels_cuda_counted.dir"
