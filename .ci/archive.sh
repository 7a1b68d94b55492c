#!/usr/bin/env bash
# That the archive runs on a machine of an older release without any package: .ci/archive.sh [BUILD [ROOT]]
# Makes the archive of a build folder (default: build/release, configured here), a Debian 11 root with debootstrap in the
# folder ROOT (default: a temporary one, removed at the end), and runs programs and tests from the archive inside. Needs
# root, debootstrap, and Debian's packages over the network.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s (%s)\n' "$1" "$(date -u +%H:%M:%S)"; }
[[ $(id -u) -eq 0 ]] || { echo "archive.sh: needs root for chroot" >&2; exit 2; }
command -v debootstrap > /dev/null || { echo "archive.sh: install debootstrap first" >&2; exit 2; }

step "archive"
build=${1:-}
[[ -n $build ]] || { build=build/release && cmake --preset release; }
rm -f "$build"/hp-*.tar.gz
cmake --build "$build" --target archive
archive=$(realpath "$build"/hp-*.tar.gz)
bytes=$(stat -c %s "$archive")
echo "$(basename "$archive"): $bytes bytes"
[[ $bytes -le 60000000 ]] || { echo "archive.sh: larger than 60 MB" >&2; exit 1; }

root=${2:-}
[[ -n $root ]] && mkdir -p "$root" || root=$(mktemp -d)
root=$(realpath "$root")
clean_up() {
  umount "$root/proc" 2> /dev/null || true
  # A root that something is still mounted in is left alone.
  if [[ -z ${1:-} ]] && ! grep -q " $root/" /proc/mounts; then rm -rf --one-file-system "$root"; fi
}
trap 'clean_up "${2:-}"' EXIT

step "debootstrap"
debootstrap --variant=minbase bullseye "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" > "$root.log" 2>&1 ||
  { tail "$root.log" >&2; exit 1; }
rm -f "$root.log"
mount -t proc proc "$root/proc"
tar -xzf "$archive" -C "$root/opt"
folder=/opt/$(basename "$archive" .tar.gz)
inside() { env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" bash -c "cd $folder && $1"; }

step "programs"
inside "ldd --version | head -n 1"
inside "bin/convert-weights weights/scenes-resnet.safetensors -o /tmp/backbone.safetensors"
if [[ -n $(inside "ls libexec/*.cuda 2> /dev/null") ]]; then
  message=$(inside "bin/hp-run --help" 2>&1 || true)
  echo "$message"
  [[ $message == *"is not on this machine"* ]] || { echo "archive.sh: no word of CUDA's libraries" >&2; exit 1; }
else
  inside "bin/hp-run experiments/quickstart.json --output /tmp/run --set backbone.weights=/tmp/backbone.safetensors"
fi
step "tests"
inside ./test.sh
step "done"
