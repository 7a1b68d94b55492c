# For scripts that show something in a bare Debian: `source .ci/root.sh` in the repository's root. Needs root, debootstrap,
# and Debian's packages over the network.
step() { printf '\n== %s (%s)\n' "$1" "$(date -u +%H:%M:%S)"; }
complain() { echo "$(basename "$0"): $1" >&2; exit "$2"; }
[[ $(id -u) -eq 0 ]] || complain "needs root for chroot" 2
command -v debootstrap > /dev/null || complain "install debootstrap first" 2

# make_root SUITE [FOLDER]: a root with nothing but SUITE's minimum, in FOLDER or in a temporary one that is removed at the
# end. Its path is $root; mount_inside adds to what is mounted there until the end.
make_root() {
  kept=${2:-} mounted=()
  [[ -n $kept ]] && mkdir -p "$kept" && root=$(realpath "$kept") || root=$(mktemp -d)
  trap clean_up EXIT
  step "debootstrap $1"
  debootstrap --variant=minbase "$1" "$root" "${DEBIAN_MIRROR:-http://deb.debian.org/debian}" > "$root.log" 2>&1 ||
    { tail "$root.log" >&2; exit 1; }
  rm -f "$root.log"
  mount_inside /proc -t proc proc
}

# mount_inside PLACE ARGUMENTS: mount ARGUMENTS at PLACE in the root.
mount_inside() {
  mkdir -p "$root$1"
  mount "${@:2}" "$root$1"
  mounted+=("$root$1")
}

clean_up() {
  local place
  for place in "${mounted[@]}"; do umount "$place"; done
  # A root that something is still mounted in is left alone.
  if [[ -z $kept ]] && ! grep -q " $root/" /proc/mounts; then rm -rf --one-file-system "$root"; fi
}

# inside FOLDER COMMAND: with a fresh environment, and what `environment` adds to it.
environment=()
inside() {
  env -i HOME=/root LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin "${environment[@]}" chroot "$root" bash -c "cd $1 && $2"
}
