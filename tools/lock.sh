#!/bin/sh
# Writes requirements/dev.txt (all that work on opsdash needs) and requirements/run.txt (what opsdash itself needs)
# from pyproject.toml: exact versions with hashes, one file for Python 3.11 to 3.13 on Linux and macOS.
# Versions that are there already stay; `tools/lock.sh --upgrade` takes the newest that pyproject.toml allows.
set -eu
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/python -m venv "$folder"
"$folder/bin/python" -m pip install --quiet uv

lock() { # file, what it is, options
  file=$1
  title=$2
  shift 2
  # The file is its own input: without --upgrade, what it says is kept where that still fits.
  "$folder/bin/uv" pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
    --no-header --no-annotate --output-file "$file" "$@"
  { printf '# %s Made by `make lock`; not to be edited.\n' "$title"; cat "$file"; } >"$folder/new"
  cat "$folder/new" >"$file"
}

mkdir -p requirements
lock requirements/dev.txt "What work on opsdash needs." --group dev "$@"
lock requirements/run.txt "What opsdash itself needs." --constraint requirements/dev.txt "$@"
