#!/usr/bin/env bash
# Builds free-threaded CPython 3.13 from Debian's source package, and runs the suite and the contention counts in it
# without the GIL: with wrapt in pure Python, then with its C extension.
#
#     bash checks/interpreters/free_threaded.sh [a directory to build in; a new temporary one if not given]
#
# Needs a Debian machine with a deb-src line for trixie, dpkg-dev, a C compiler, and the headers of libssl, libffi,
# zlib, libbz2, liblzma and libsqlite3. The build takes 4 minutes on two cores; a second run in the same directory
# takes it from the first. Fails if a test fails, or if the GIL came back.
set -euo pipefail
cd "$(dirname "$0")/../.."
project=$PWD
build=${1:-$(mktemp -d)}
mkdir -p "$build"
build=$(cd "$build" && pwd)
python=$build/installed/bin/python3.13t
export PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1

step() { printf '\n== %s\n' "$*"; }

build_python() {
  cd "$build"
  step "The source of python3.13 in trixie"
  apt-get source --download-only python3.13/trixie
  rm -rf source
  dpkg-source --no-check -x python3.13_3.13.*.dsc source
  # Debian's own layout of site-packages does not know of free-threaded builds: their virtual environments see nothing.
  patch --quiet --reverse --strip=1 --directory=source <source/debian/patches/distutils-install-layout.diff
  step "Free-threaded: configure, make, make install in $build"
  mkdir -p objects
  cd objects
  # Debian forbids ensurepip outside of virtual environments, and that is where pip is wanted.
  logged ../source/configure --disable-gil --without-ensurepip --prefix="$build/installed"
  logged nice -n 10 make -j2
  logged nice -n 10 make install
  touch "$build/built"
}

logged() { # what a command says only matters if it fails
  "$@" >log 2>&1 || { tail -n 30 log >&2; return 1; }
}

test_in() { # a new virtual environment called $1, in which wrapt is written in $2, with these options for pip
  step "The suite and the counts, without the GIL, with wrapt in $2"
  "$python" -m venv --clear "$build/$1"
  cd "$project"
  # From 6.140 on, hypothesis has a part in Rust, for which there is no wheel here.
  "$build/$1/bin/pip" install --quiet "${@:3}" '.[test]' 'hypothesis<6.140'
  "$build/$1/bin/python" -c '
import sys, wrapt
written_in = "C" if "_wrappers" in {base.__module__ for base in wrapt.ObjectProxy.__mro__} else "Python"
print("wrapt", wrapt.__version__, "in", written_in)
sys.exit(written_in != sys.argv[1])' "$2"
  PYTHON_GIL=0 "$build/$1/bin/python" -c '
import sys, pytest
code = pytest.main(sys.argv[1:])
sys.exit(code or (sys._is_gil_enabled() and "The GIL came back."))
' -q -n 0 -p no:cacheprovider --deselect tests/test_examples.py "${pytest_arguments[@]}"
  PYTHON_GIL=0 "$build/$1/bin/python" -m checks.interpreters.contention
}

read -ra pytest_arguments <<<"${PYTEST_ARGUMENTS:-}" # fewer tests, for who is in a hurry
[ -e "$build/built" ] || (build_python)
PYTHON_GIL=0 "$python" -c 'import sys; print(sys.version); sys.exit(sys._is_gil_enabled())'
test_in pure Python
WRAPT_INSTALL_EXTENSIONS=true test_in extension C --no-binary wrapt --no-cache-dir
step "All is well without the GIL"
