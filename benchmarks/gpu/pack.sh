#!/usr/bin/env bash
# make gpu-pack, from the project's root: into .gpu (which git ignores) what a Linux x86-64 GPU machine without a network lacks beside torch, torchvision,
# timm, pandas and scipy: fastai's wheels for its Python, this project at HEAD, and the images in two parts under 60 MiB.
set -euo pipefail
out=${1:-.gpu}; images=${2:-../shared/data/imagewoof2-160.tgz}; here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out/whl" "$out/data1" "$out/data2"
"${PYTHON:-python3}" -m pip download -q --no-deps --only-binary=:all: --python-version "${GPU_PYTHON:-3.12}" --implementation cp \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d "$out/whl" -r "$here/wheels.txt"
git bundle create -q "$out/repo.bundle" HEAD
split -n 2 -d -a 1 "$images" "$out/part."
mv "$out/part.0" "$out/data1/"; mv "$out/part.1" "$out/data2/"
du -sh "$out"/*
