#!/usr/bin/env bash
# Compile every module of the core for AArch64 with a cross compiler: tests/neon/build.sh [folder]
# The headers are those of the Python at hand, whose types have the same sizes on both; the modules are not for use.
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-build/aarch64}
export CC=${CROSS_CC:-aarch64-linux-gnu-gcc}
export LDSHARED="$CC -shared" _PYTHON_HOST_PLATFORM=linux-aarch64 SETUPTOOLS_EXT_SUFFIX=.aarch64-linux-gnu.so
PYTHON=${PYTHON:-python3}
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r rnnrt setup.py pyproject.toml README.md LICENSE "$work"
rm -f "$work"/rnnrt/_core/*.so
[ -x .venv/bin/python ] && ! "$PYTHON" -c 'import Cython, numpy' 2> /dev/null && PYTHON=$PWD/.venv/bin/python
out=$(realpath "$out")
cd "$work"
"$PYTHON" -m venv --system-site-packages env
env/bin/pip install -q "setuptools>=77" "cython>=3.1,<4" numpy
env/bin/python setup.py -q build_ext --build-lib "$out" --build-temp build
for module in engine program cells_neon cells_baseline cells_f64 ops_neon ops_baseline; do
    file=$(echo "$out"/rnnrt/_core/$module.*.so)
    readelf -h "$file" | grep -q AArch64 || { echo "$file: not for AArch64" >&2; exit 1; }
    echo "$file: $(stat -c %s "$file") bytes"
done
