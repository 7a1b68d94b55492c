#!/bin/sh
# Starts the program of this name with the libraries that came along, whatever the machine has.
here=$(dirname "$(dirname "$(readlink -f "$0")")")
name=$(basename "$0")
libraries=$here/lib

# CUDA's libraries that this program needs are listed beside it. They lie in a toolkit or in PyPI's nvidia wheels.
folders() {
  echo "${LD_LIBRARY_PATH:-}" | tr ':' '\n'
  for root in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda /usr/local/cuda-*; do
    [ -n "$root" ] && printf '%s\n' "$root/lib64" "$root/targets/x86_64-linux/lib"
  done
  printf '%s\n' /usr/lib/x86_64-linux-gnu /usr/lib64
  for packages in "${VIRTUAL_ENV:-/nowhere}" "${CONDA_PREFIX:-/nowhere}" "$HOME/.local" /usr/local /usr; do
    printf '%s\n' "$packages"/lib/python3*/*-packages/nvidia/*/lib
  done
}
if [ -f "$here/libexec/$name.cuda" ]; then
  all=$(folders)
  while read -r library; do
    found=
    while read -r folder; do
      if [ -n "$folder" ] && [ -e "$folder/$library" ]; then found=$folder && break; fi
    done << END
$all
END
    if [ -z "$found" ]; then
      echo "$name: [cuda] $library is not on this machine; expected it in a CUDA toolkit or in PyPI's nvidia wheels:" \
        "set LD_LIBRARY_PATH to its folder" >&2
      exit 1
    fi
    libraries=$libraries:$found
  done < "$here/libexec/$name.cuda"
fi
exec "$here/lib/ld-linux-x86-64.so.2" --library-path "$libraries" "$here/libexec/$name" "$@"
