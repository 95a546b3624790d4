#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The Python bindings with torch, JAX, transformers and others: makes build/python from PyPI (requirements.txt), builds
# moec's wheel and what the tests need, and runs every test of this folder and the pages that need these libraries.
# Ends with the skipped tests by name. Arguments are pytest's: sh tests/python/run.sh -k torch
# PYTHON is the Python to make the environment with (3.11 or later); MOEC_TEST_ENVIRONMENT an environment that has the
# requirements already.
set -eu
cd "$(dirname "$0")/../.."
root=$PWD
requirements=$root/tests/python/requirements.txt
environment=${MOEC_TEST_ENVIRONMENT:-$root/build/python/environment}

if [ -z "${MOEC_TEST_ENVIRONMENT:-}" ] && ! cmp -s "$requirements" "$environment/requirements.txt"; then
  echo "making $environment: about 6 GB from PyPI" >&2
  rm -rf "$environment"
  "${PYTHON:-python3}" -m venv "$environment"
  "$environment/bin/python" -m pip install -q --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$environment/requirements.txt"
fi

# Only what is missing is configured and built.
grep -qs '^MOEC_BUILD_TESTS:BOOL=ON' build/CMakeCache.txt || cmake --preset release -DMOEC_BUILD_TESTS=ON >&2
cmake --build build --target moec moec_runtime_shared python_tiny python_tiny_cuda python-layouts >&2

site=$root/build/python/site
rm -rf "$site" build/python/wheels
"$environment/bin/python" -m pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation \
  -w build/python/wheels runtime/bindings/python
"$environment/bin/python" -m pip install -q --disable-pip-version-check --no-deps --target "$site" build/python/wheels/*.whl

export PATH="$environment/bin:$root/build/bin:$PATH"
export PYTHONPATH="$site" PYTHONDONTWRITEBYTECODE=1
export MOEC="$root/build/bin/moec" MOEC_CACHE="$root/build/python/packages" MOEC_TEST_LAYOUTS="$root/build/bin/python-layouts"
export TRANSFORMERS_VERBOSITY=error HF_HUB_OFFLINE=1 JAX_PLATFORMS=cpu
# Threads that spin while they wait slow each other down where other programs run too.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
failed=0
python -m pytest -q -rs -p no:cacheprovider tests/python "$@" || failed=$?
page() {
  python tests/pages/page.py "runtime/bindings/$1" --path "$environment/bin" --path "$root/build/bin" --set MOEC="$MOEC" \
    --set MOEC_CACHE="$MOEC_CACHE" --max-lines 60 || failed=1
}
page torch.md
page training.md
page jax.md
page tvm_ffi/README.md
page python/README.md
exit "$failed"
