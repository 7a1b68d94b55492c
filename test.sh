#!/usr/bin/env bash
# Sets up what is missing, builds everything, runs every test. Options are passed on to ctest: ./test.sh -R runtime
set -euo pipefail
cd "$(dirname "$0")"
.ci/install.sh packages.txt
cmake --preset werror
cmake --build --preset werror
ctest --preset werror "$@"
