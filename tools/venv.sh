#!/bin/sh
# Builds .venv if there is none, or if what it was built from has changed: the pinned packages of
# requirements/dev.txt, and opsdash itself as an editable install. Does nothing, in a few milliseconds, otherwise.
#
# PYTHON=/path/to/python tools/venv.sh    chooses the interpreter of a new environment
set -eu
cd "$(dirname "$0")/.."

venv=.venv
ready=$venv/.ready

say() { printf 'opsdash: %s\n' "$*" >&2; }

# What the environment depends on. The folder counts too: a moved environment has wrong paths inside.
wanted() { pwd -P; cksum requirements/dev.txt pyproject.toml; }

if [ -x $venv/bin/python ] && [ -f $ready ] && [ "$(cat $ready)" = "$(wanted)" ]; then
  exit 0
fi

runs() { "$1" -c "import sys; raise SystemExit(not ($2))" >/dev/null 2>&1; }
can_make_venvs() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# The first that is new enough and complete; the versions we test come before newer ones.
choose_python() {
  candidates=${PYTHON:-python3 python3.13 python3.12 python3.11 python3.14 python}
  found=
  for versions in '(3, 11) <= sys.version_info < (3, 14)' 'sys.version_info >= (3, 11)'; do
    for candidate in $candidates; do
      runs "$candidate" "$versions" || continue
      found=${found:-$candidate}
      if can_make_venvs "$candidate"; then
        printf '%s\n' "$candidate"
        return
      fi
    done
  done
  if [ -z "$found" ]; then
    say "Python 3.11 or newer is needed, and this is none, or does not run: $candidates."
    say "Install it (Debian, Ubuntu: apt-get install python3 python3-venv; macOS: brew install python@3.13),"
    say "or name one: make PYTHON=/path/to/python3.11 ..."
  else
    name=$("$found" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    say "$found cannot make a virtual environment: its venv or ensurepip module is missing."
    say "Debian and Ubuntu keep them in a package of their own. Install it, and run the same command again:"
    say "  sudo apt-get install python3-venv        (for a second Python beside the system's: $name-venv)"
  fi
  exit 1
}

usable() { [ -x $venv/bin/python ] && runs $venv/bin/python 'sys.version_info >= (3, 11)' && $venv/bin/python -m pip --version >/dev/null 2>&1; }
moved() { [ -f $ready ] && [ "$(head -n 1 $ready)" != "$(pwd -P)" ]; }

if ! usable || moved; then
  python=$(choose_python)
  say "building $venv with $("$python" --version) (once; about a minute)"
  "$python" -m venv --clear $venv
else
  say "bringing $venv up to date"
fi
rm -f $ready
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
$venv/bin/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
$venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
wanted >$ready
