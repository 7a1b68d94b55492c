#!/usr/bin/env bash
# Installs the Debian packages listed in the given files if any is missing. Needs root or sudo only then.
set -euo pipefail
missing=()
while read -r package; do
  [[ -z $package ]] && continue
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done < <(cat "$@")
[[ ${#missing[@]} -eq 0 ]] && exit 0
echo "installing: ${missing[*]}"
as_root=()
[[ $(id -u) -eq 0 ]] || as_root=(sudo)
"${as_root[@]}" apt-get update -q
DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
