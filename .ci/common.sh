# shellcheck shell=bash
# What the scripts beside this one share. Each of them runs alone, from a clean clone: it needs Python 3.10 or newer
# with pip and venv, and installs the rest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1 PYTHONDONTWRITEBYTECODE=1
unset PYTHONPATH VIRTUAL_ENV

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT
this=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')

step() { printf '\n== %s\n' "$*"; }

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

need() { # commands, and the system's packages that have them: need valgrind=valgrind node=nodejs
  local each missing=()
  for each in "$@"; do
    command -v "${each%=*}" >/dev/null || missing+=("${each#*=}")
  done
  [ ${#missing[@]} -eq 0 ] && return
  echo "Installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  for each in "$@"; do
    command -v "${each%=*}" >/dev/null || fail "There is no ${each%=*}, though ${each#*=} is installed"
  done
}

dev="$PWD/.cache/ci/dev-$this/bin" # the commands that developers use: shared by the scripts, in a folder that git ignores
install_dev() {
  "$dev/python" -c '' 2>/dev/null || python3 -m venv --clear "${dev%/bin}"
  "$dev/pip" install -e '.[dev,browser]'
}

python_of() { # the path of a version, if it is on this machine
  local each
  for each in "$(command -v "python$1" || true)" "$HOME/.pyenv/versions/$1".*/bin/python; do
    if [ -n "$each" ] && "$each" -c '' 2>/dev/null; then
      echo "$each"
      return
    fi
  done
}

find_pythons() { # sets `found`, and `missing` if PYTHONS does not say which are wanted: those that it names must be here
  local version
  found=() missing=()
  for version in ${PYTHONS:-3.10 3.11 3.12 3.13}; do
    if [ -n "$(python_of "$version")" ]; then found+=("$version"); else missing+=("$version"); fi
  done
  if [ ${#missing[@]} -gt 0 ] && [ -n "${PYTHONS:-}" ]; then
    fail "Not on this machine, though PYTHONS names it: ${missing[*]}"
  fi
  [[ " ${found[*]} " == *" $this "* ]] || fail "python3 is $this, which is none of: ${found[*]}"
}
