#!/usr/bin/env bash
# From a bare Debian 12 to passing tests: .ci/bare-root.sh [ROOT]
# Makes a root with debootstrap in the folder ROOT (default: a temporary one, removed at the end), copies the committed
# files in, and runs ./quickstart.sh and then ./test.sh inside. Needs root, debootstrap and Debian's packages over the
# network. Real data and CUDA stay outside: tests that need them say so. With HP_BARE_CCACHE=DIR the compilers use that
# cache, else everything is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s (%s)\n' "$1" "$(date -u +%H:%M:%S)"; }
[[ $(id -u) -eq 0 ]] || { echo "bare-root.sh: needs root for chroot" >&2; exit 2; }
command -v debootstrap > /dev/null || { echo "bare-root.sh: install debootstrap first" >&2; exit 2; }

root=${1:-}
[[ -n $root ]] && mkdir -p "$root" || root=$(mktemp -d)
root=$(realpath "$root")
mounted=()
clean_up() {
  for place in "${mounted[@]}"; do umount "$place"; done
  # A root that something is still mounted in is left alone.
  if [[ -z ${1:-} ]] && ! grep -q " $root/" /proc/mounts; then rm -rf --one-file-system "$root"; fi
}
trap 'clean_up "${1:-}"' EXIT

step "debootstrap"
debootstrap --variant=minbase bookworm "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" > "$root.log" 2>&1 ||
  { tail "$root.log" >&2; exit 1; }
rm -f "$root.log"
cp /etc/resolv.conf "$root/etc/resolv.conf"
for variable in http_proxy https_proxy; do
  [[ -z ${!variable:-} ]] || echo "Acquire::${variable%_proxy}::Proxy \"${!variable}\";" >> "$root/etc/apt/apt.conf.d/90proxy"
done
mount -t proc proc "$root/proc" && mounted+=("$root/proc")
mkdir -p "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts" && mounted+=("$root/dev/pts")  # tests of progress on a terminal
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm" && mounted+=("$root/dev/shm")
environment=(HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin)
if [[ -n ${HP_BARE_CCACHE:-} ]]; then
  mkdir -p "$root/ccache"
  mount --bind "$HP_BARE_CCACHE" "$root/ccache" && mounted+=("$root/ccache")
  environment+=(CCACHE_DIR=/ccache CCACHE_BASEDIR=/hp CCACHE_NOHASHDIR=1)
fi

step "checkout of $(git rev-parse --short HEAD)"
mkdir "$root/hp"
git archive HEAD | tar -x -C "$root/hp"
inside() { env -i "${environment[@]}" chroot "$root" bash -c "cd /hp && $1"; }

step "./quickstart.sh"
time inside ./quickstart.sh
step "./test.sh"
time inside ./test.sh
step "done"
