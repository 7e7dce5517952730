#!/usr/bin/env bash
# Builds the images and writes their references by digest to build/images.env. Settings, all from the environment:
#   CONTAINER_TOOL  podman or docker; by default the one that is installed
#   DEVICE          cpu (default): one train image, for steps and workers
#                   gpu: two, with TensorFlow for GPUs for the workers, and for CPUs for the steps
#   BASE            the base image, preferably by digest
#   PUSH            a registry and repository to push to; by default the images are written to build/*.tar,
#                   which nodes can load
#   BUILD_FLAGS     more flags for the build, such as --network=host
#   PYTHON          the Python whose pip settings (index, proxy, certificate) the builds use
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { echo "images: $*" >&2; exit 2; }

tool=${CONTAINER_TOOL:-$(command -v podman || command -v docker || die "neither podman nor docker is installed; install one, or set CONTAINER_TOOL")}
device=${DEVICE:-cpu}
[[ $device == cpu || $device == gpu ]] || die "DEVICE=$device: cpu or gpu"
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' components/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
[[ -z $(git status --porcelain -- components docker locks LICENSE .dockerignore 2>/dev/null) ]] || revision+=-dirty

# pip's settings as a secret: an index may need a password, which must not be in any layer or history.
# Local paths are left out, because they do not exist in the build.
private=$(mktemp -d)
trap 'rm -rf "$private"' EXIT
settings=$("${PYTHON:-python3}" -m pip config list 2>/dev/null || true)
setting() { sed -nE "s/^[a-z:]+\.(default-)?$1='(.*)'\$/\2/p" <<<"$settings" | tail -n 1; }
echo '[global]' >"$private/pip"
for key in index-url extra-index-url trusted-host proxy timeout retries; do
  value=$(setting "$key")
  [[ -z $value ]] || echo "$key = $value" >>"$private/pip"
done
certificate=$(setting cert)
certificate=${certificate:-${SSL_CERT_FILE:-}}
secrets=(--secret "id=pip,src=$private/pip")
if [[ -r $certificate ]]; then
  echo 'cert = /run/secrets/ca' >>"$private/pip"
  secrets+=(--secret "id=ca,src=$certificate")
fi

# One timestamp for all files and commits: equal content gives equal layers, and only changed layers are
# pushed and pulled.
epoch=315532800
case $("$tool" --version) in
  podman*) dated=(--timestamp "$epoch") ;;
  *) dated=(--build-arg "SOURCE_DATE_EPOCH=$epoch") ;;
esac

build() { # build NAME TAG DOCKERFILE [FLAG...]: prints the reference by digest
  local image=${PUSH:-localhost}/$1:$2 archive=build/$1${2#"$version"}.tar digest
  # shellcheck disable=SC2086  # BUILD_FLAGS holds several words
  "$tool" build "${dated[@]}" "${secrets[@]}" ${BASE:+--build-arg "BASE=$BASE"} --build-arg "VERSION=$version" \
    --build-arg "REVISION=$revision" "${@:4}" ${BUILD_FLAGS:-} -t "$image" -f "$3" . >&2
  # Compressed layers have other digests than local ones: print the digest that nodes will see.
  if [[ -n ${PUSH:-} ]]; then
    "$tool" push "$image" >&2
    digest=$("$tool" image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$image" | sed -n "s|^${image%:*}@||p" | tail -n 1)
  elif [[ $("$tool" --version) == podman* ]]; then
    rm -f "$archive"
    "$tool" save --quiet --format oci-archive -o "$archive" "$image" >&2
    digest=$(tar -xOf "$archive" index.json | sed -nE 's/.*"digest": *"(sha256:[0-9a-f]{64})".*/\1/p')
  else
    die "docker knows the digest of an image only after a push: set PUSH=<registry>/<repository>, or CONTAINER_TOOL=podman"
  fi
  [[ $digest == sha256:* ]] || die "$tool printed no digest of $image"
  echo "${image%:*}@$digest"
}

mkdir -p build
step=$(build kubert-train-python "$version" docker/train.Dockerfile --build-arg DEVICE=cpu)
train=$step
[[ $device == cpu ]] || train=$(build kubert-train-python "$version-gpu" docker/train.Dockerfile --build-arg DEVICE=gpu)
tools=$(build kubert-tools-python "$version" docker/tools.Dockerfile)
printf '%s\n' "KUBERT_TRAIN_IMAGE=$train" "KUBERT_STEP_IMAGE=$step" "KUBERT_TOOLS_IMAGE=$tools" >"$private/images.env"
mv "$private/images.env" build/images.env
cat build/images.env
