#!/usr/bin/env bash
# Make sure that containers can be built and run here, and print the name of an image to start from.
#
# Without docker or podman, and on Debian as root, podman is installed. Without BASE_IMAGE, a small
# Debian with Python is made once, kept in the user's cache, and given to the engine.
# Exit status 3: it can't be had here.
set -euo pipefail

SUITE=bookworm
MIRROR="${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
# Another one whenever what it holds becomes another.
REVISION=2
BASE="localhost/flow-local/python-base:$SUITE-$REVISION"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/flow-local"
archive="$cache/python-base-$SUITE-$REVISION.tar"

unavailable() {
  printf "can't test images: %s\n" "$*" >&2
  exit 3
}

installs() {
  command -v apt-get >/dev/null || unavailable "no apt-get to install $* with"
  [ "$(id -u)" = 0 ] || unavailable "only root can install $*"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -qq -y --no-install-recommends "$@" >&2
}

engine() {
  if timeout 10 docker version >/dev/null 2>&1; then echo docker; else echo podman; fi
}

# In memory where there is room: unpacking thousands of small files on a disk takes twice as long.
workplace() {
  local free
  free=$(df --output=avail --block-size=1M /dev/shm 2>/dev/null | tail -1)
  if [ "${free:-0}" -gt 2048 ]; then echo /dev/shm; else echo "${TMPDIR:-/tmp}"; fi
}

base_archive() {
  local each without=()
  [ "$(id -u)" = 0 ] || unavailable "only root can make a base image; or name one: BASE_IMAGE"
  command -v mmdebstrap >/dev/null || installs mmdebstrap
  for each in man doc locale; do without+=("--dpkgopt=path-exclude=/usr/share/$each/*"); done
  TMPDIR=$(workplace) mmdebstrap --quiet --variant=essential \
    --include=python3,python3-venv,ca-certificates,libstdc++6 --dpkgopt=force-unsafe-io "${without[@]}" \
    "$SUITE" "$archive.part.tar" "$MIRROR" >&2
  mv "$archive.part.tar" "$archive"
}

mkdir -p "$cache"
exec 9>"$cache/setup.lock"
flock 9
if [ "$(engine)" = podman ] && ! command -v podman >/dev/null; then
  installs podman buildah runc crun
fi
if [ -z "${BASE_IMAGE:-}" ]; then
  if ! "$(engine)" image inspect "$BASE" >/dev/null 2>&1; then
    [ -f "$archive" ] || base_archive
    "$(engine)" import "$archive" "$BASE" >&2
  fi
  BASE_IMAGE="$BASE"
fi
echo "$BASE_IMAGE"
