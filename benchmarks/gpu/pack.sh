#!/usr/bin/env bash
# make gpu-pack, from the project's root: into .gpu (which git ignores) what a Linux x86-64 GPU machine without a network lacks beside torch, torchvision,
# timm, pandas and scipy: fastai's wheels for its Python, this project at HEAD, and the images in two parts. The working tree travels with each of the two
# calls; the wheels and the project only with the first. So the parts are cut to make both calls weigh the same, and a call that is too heavy is an error.
set -euo pipefail
out=${1:-.gpu}; images=${2:-../shared/data/imagenette2-160.tgz}; here=$(cd "$(dirname "$0")" && pwd)
limit=$((64*1024*1024)) # bytes that travel with a call
rm -rf "$out"/whl "$out"/data1 "$out"/data2; mkdir -p "$out/whl" "$out/data1" "$out/data2"
"${PYTHON:-python3}" -m pip download -q --no-deps --only-binary=:all: --python-version "${GPU_PYTHON:-3.12}" --implementation cp \
  --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d "$out/whl" -r "$here/wheels.txt"

# a checkout of the code alone, which knows its commit; notebooks, records and the past stay at home
code=$(mktemp -d); trap 'rm -rf "$code"' EXIT
git clone -q --depth 1 --filter=blob:none --no-checkout --upload-pack 'git -c uploadpack.allowFilter=true upload-pack' "file://$(git rev-parse --show-toplevel)" "$code"
git -C "$code" sparse-checkout set --no-cone '/simpleattn/' '/benchmarks/' '/tests/*.py' '/settings.ini' '/pyproject.toml'
git -C "$code" checkout -q 2>&1 | grep -v 'filtering not recognized' || true
git -C "$code" remote remove origin
tar czf "$out/code.tgz" -C "$code" .

size() { du -cb "$@" | tail -1 | cut -f1; }
tree=$(git ls-files -z --cached --others --exclude-standard | du -cb --files0-from=- | tail -1 | cut -f1)
with_first=$(size "$out"/whl/* "$out/code.tgz")
name=$(basename "$images"); all=$(size "$images")
first=$((all > with_first ? (all-with_first)/2 : 0))
head -c "$first" "$images" > "$out/data1/$name.part.0"
tail -c "+$((first+1))" "$images" > "$out/data2/$name.part.1"
heavier=$((tree+all-first))
echo "each call carries $((heavier/1024)) of $((limit/1024)) KiB: the tree $((tree/1024)), wheels and code $((with_first/1024)), images $((all/1024)) in two parts"
if ((heavier > limit)); then echo "This is too heavy by $(((heavier-limit)/1024)) KiB a call: make the working tree smaller." >&2; exit 1; fi
