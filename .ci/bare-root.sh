#!/usr/bin/env bash
# From a bare Debian 12 to passing tests: .ci/bare-root.sh [ROOT]
# Makes a root with debootstrap in the folder ROOT (default: a temporary one, removed at the end), copies the committed
# files in, and runs ./quickstart.sh and then ./test.sh inside. Needs root, debootstrap and Debian's packages over the
# network. Real data and CUDA stay outside: tests that need them say so. With HP_BARE_CCACHE=DIR the compilers use that
# cache, else everything is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."
source .ci/root.sh

make_root bookworm "${1:-}"
cp /etc/resolv.conf "$root/etc/resolv.conf"
for variable in http_proxy https_proxy; do
  [[ -z ${!variable:-} ]] || echo "Acquire::${variable%_proxy}::Proxy \"${!variable}\";" >> "$root/etc/apt/apt.conf.d/90proxy"
done
mount_inside /dev/pts -t devpts -o newinstance,ptmxmode=0666 devpts  # for tests of progress on a terminal
mount_inside /dev/shm -t tmpfs -o mode=1777 tmpfs
if [[ -n ${HP_BARE_CCACHE:-} ]]; then
  mount_inside /ccache --bind "$HP_BARE_CCACHE"
  environment+=(CCACHE_DIR=/ccache CCACHE_BASEDIR=/hp CCACHE_NOHASHDIR=1)
fi

step "checkout of $(git rev-parse --short HEAD)"
mkdir "$root/hp"
git archive HEAD | tar -x -C "$root/hp"

step "./quickstart.sh"
time inside /hp ./quickstart.sh
step "./test.sh"
time inside /hp ./test.sh
step "done"
