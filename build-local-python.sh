#!/usr/bin/env bash
# Build the container image of a connector of this repository.
set -euo pipefail

usage() {
  cat <<'USAGE'
usage: ./build-local-python.sh CONNECTOR

Build ghcr.io/estuary/CONNECTOR:local from the folder CONNECTOR, with docker if its daemon answers,
else with podman or buildah. What stands in CONNECTOR/image.Dockerfile (EXPOSE and LABEL lines of a
connector that listens) is added at the end.

environment:
  BASE_IMAGE             what the image is made from, instead of python:3.12-slim
  FLOW_CONTAINER_ENGINE  docker, podman or buildah, where it should not be chosen
  CA_BUNDLE              certificate authorities that the build trusts, instead of the system's
  PIP_INDEX_URL and pip's other variables and files say where packages come from, as they do here.
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY hold inside the build too.
None of it ends up in the image.

example:
  ./build-local-python.sh source-http
USAGE
}

fail() {
  printf "can't build %s: %s\n" "${connector:-an image}" "$*" >&2
  exit 1
}

# within SECONDS COMMAND...: a daemon that is started but stuck must not hold us up.
within() {
  if command -v timeout >/dev/null; then timeout "$@"; else perl -e 'alarm shift; exec @ARGV' "$@"; fi
}

answers() {
  case "$1" in
    docker) within 10 docker version --format '{{.Server.Version}}' ;;
    podman) within 30 podman version --format '{{.Client.Version}}' ;;
    *) command -v "$1" ;;
  esac >/dev/null 2>&1
}

engine() {
  local each
  if [ -n "${FLOW_CONTAINER_ENGINE:-}" ]; then
    answers "$(basename "$FLOW_CONTAINER_ENGINE")" ||
      fail "FLOW_CONTAINER_ENGINE is $FLOW_CONTAINER_ENGINE, which doesn't answer"
    echo "$FLOW_CONTAINER_ENGINE"
    return
  fi
  for each in docker podman buildah; do
    if answers "$each"; then echo "$each" && return; fi
  done
  fail "no container engine answers; start docker, or install podman" \
    "(on Debian: apt-get install podman buildah)"
}

# The bundle of certificate authorities, or nothing where the system's isn't in a known place.
ca_bundle() {
  local each
  if [ -n "${CA_BUNDLE:-}" ]; then
    [ -r "$CA_BUNDLE" ] || fail "CA_BUNDLE is $CA_BUNDLE, which can't be read"
    echo "$CA_BUNDLE"
    return
  fi
  for each in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt \
    /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
    if [ -n "$each" ] && [ -r "$each" ]; then echo "$each" && return; fi
  done
}

# Where packages come from, as variables for a shell. Only what means the same in another machine.
index_variables() {
  local name value
  for name in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_NO_INDEX PIP_FIND_LINKS PIP_TRUSTED_HOST \
    PIP_PROXY PIP_DEFAULT_TIMEOUT PIP_TIMEOUT PIP_RETRIES PIP_PREFER_BINARY PIP_ONLY_BINARY \
    HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy; do
    value="${!name:-}"
    # A folder of this machine isn't there in the image.
    if [ "$name" = PIP_FIND_LINKS ]; then
      value=$(printf '%s' "$value" | tr -s ' ' '\n' | { grep -E '^https?://' || true; } | tr '\n' ' ')
    fi
    [ -n "$value" ] || continue
    printf "export %s='%s'\n" "$name" "${value//\'/\'\\\'\'}"
  done
}

# secret ID FILE...: hand over the first file that can be read.
secret() {
  local id="$1" each
  shift
  for each in "$@"; do
    if [ -n "$each" ] && [ -f "$each" ] && [ -r "$each" ]; then
      options+=(--secret "id=$id,src=$each")
      return
    fi
  done
}

connector="${1:-}"
connector="${connector%/}"
case "$connector" in
  -h | --help) usage && exit ;;
  source-*) protocol=capture ;;
  materialize-*) protocol=materialize ;;
  derive-*) protocol=derive ;;
  *) usage >&2 && exit 2 ;;
esac
[ $# -eq 1 ] || { usage >&2 && exit 2; }
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
[ -f "$connector/pyproject.toml" ] || fail "there is no $connector/pyproject.toml"

engine=$(engine)
bundle=$(ca_bundle)
image="ghcr.io/estuary/$connector:local"
secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
(umask 077 && index_variables >"$secrets/index")

options=(
  --tag "$image" --file - --network host
  --build-arg "CONNECTOR=$connector" --build-arg "PROTOCOL=$protocol"
)
[ -z "${BASE_IMAGE:-}" ] || options+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
secret ca "$bundle"
secret index "$secrets/index"
secret pip-global /etc/pip.conf /etc/xdg/pip/pip.conf "/Library/Application Support/pip/pip.conf"
secret pip-user "${PIP_CONFIG_FILE:-}" "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" \
  "$HOME/.pip/pip.conf" "$HOME/Library/Application Support/pip/pip.conf"

case "$(basename "$engine")" in
  docker) ;;
  # The steps are ours to trust, and a chroot works where we run in a container ourselves.
  *) options+=(--layers --isolation "${BUILDAH_ISOLATION:-chroot}") ;;
esac

recipe() {
  cat estuary-cdk/common.Dockerfile
  [ ! -f "$connector/image.Dockerfile" ] || cat "$connector/image.Dockerfile"
}

printf 'Building %s with %s ...\n' "$image" "$engine" >&2
recipe | DOCKER_BUILDKIT=1 "$engine" build "${options[@]}" . >&2 ||
  fail "$engine said why above"
printf '%s\n' "$image"
