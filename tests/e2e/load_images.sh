#!/usr/bin/env bash
# Loads the images that `make images` wrote to build/ into this machine's containerd, under their references by digest, so that pods
# which ask for name@sha256:... find them without a registry. CONTAINERD_ADDRESS is containerd's socket (ctr reads it itself).
#   kind: docker cp the archives into the node and run this there, or `kind load image-archive` and submit by tag.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

[[ -s build/images.env ]] || { echo "build/images.env is missing; run: make images" >&2; exit 2; }
present=$(ctr --namespace k8s.io images ls -q)
while IFS='=' read -r _ reference; do
  name=${reference%@*}
  if grep -qxF "$reference" <<<"$present"; then
    echo "$reference: there"
    continue
  fi
  for archive in "build/${name##*/}.tar" "build/${name##*/}-gpu.tar"; do
    # The index of an archive names the image's digest.
    [[ -s $archive ]] && tar -xOf "$archive" index.json | grep -qF "${reference#*@}" || continue
    # --digests adds name@digest beside the tag: the kubelet looks images up by name, not by content.
    ctr --namespace k8s.io images import --digests --base-name "$name" "$archive"
  done
  present=$(ctr --namespace k8s.io images ls -q)
  grep -qxF "$reference" <<<"$present" || { echo "no archive in build/ holds $reference; run: make images, without PUSH" >&2; exit 2; }
done <build/images.env
