#!/usr/bin/env bash
# The NEON kernels under an emulator: cross compile harness.c (layers) and operators.c and run them with qemu's user mode
# (Debian: gcc-aarch64-linux-gnu, qemu-user). Arguments name the programs. With SIMD, CC, CFLAGS and RUN set it checks any other
# header, sanitized or not: SIMD=simd_avx2.h CC="gcc -mavx2 -mfma" CFLAGS="-fsanitize=address,undefined" RUN= tests/neon/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
[ $# -gt 0 ] || set -- harness operators
for name in "$@"; do
    ${CC:-aarch64-linux-gnu-gcc -static} -std=gnu11 ${CFLAGS:--O3} -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall \
        -Wno-psabi -Wno-unused-function -DSIMD="\"${SIMD:-simd_neon.h}\"" -I rnnrt/_core "tests/neon/$name.c" -o "$out/$name" -lm
    ${RUN-qemu-aarch64} "$out/$name"
done
