#!/usr/bin/env bash
# That the archive runs on a machine of an older release without any package: .ci/archive.sh [BUILD [ROOT]]
# Makes the archive of a build folder (default: build/release, configured here), a Debian 11 root with debootstrap in the
# folder ROOT (default: a temporary one, removed at the end), and runs programs and tests from the archive inside. Needs
# root, debootstrap, and Debian's packages over the network.
set -euo pipefail
cd "$(dirname "$0")/.."
source .ci/root.sh

step "archive"
build=${1:-}
[[ -n $build ]] || { build=build/release && cmake --preset release; }
rm -f "$build"/hp-*.tar.gz
cmake --build "$build" --target archive
archive=$(realpath "$build"/hp-*.tar.gz)
bytes=$(stat -c %s "$archive")
echo "$(basename "$archive"): $bytes bytes"
[[ $bytes -le 60000000 ]] || complain "larger than 60 MB" 1

make_root bullseye "${2:-}"
tar -xzf "$archive" -C "$root/opt"
folder=/opt/$(basename "$archive" .tar.gz)

step "programs"
inside "$folder" "ldd --version | head -n 1"
inside "$folder" "bin/convert-weights weights/scenes-resnet.safetensors -o /tmp/backbone.safetensors"
if [[ -f $root$folder/libexec/hp-run.cuda ]]; then
  message=$(inside "$folder" "bin/hp-run --help" 2>&1 || true)
  echo "$message"
  [[ $message == *"is not on this machine"* ]] || complain "no word of CUDA's libraries" 1
else
  inside "$folder" \
    "bin/hp-run experiments/quickstart.json --output /tmp/run --set backbone.weights=/tmp/backbone.safetensors"
fi
step "tests"
inside "$folder" ./test.sh
step "done"
