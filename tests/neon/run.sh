#!/usr/bin/env bash
# The NEON kernels under an emulator: cross compile harness.c and run it with qemu's user mode (Debian: gcc-aarch64-linux-gnu,
# qemu-user). With SIMD, CC and RUN set it checks any other header: SIMD=simd_avx2.h CC="gcc -mavx2 -mfma" RUN= tests/neon/run.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
${CC:-aarch64-linux-gnu-gcc} -std=gnu11 -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math -Wall -Wno-psabi -static \
    -DSIMD="\"${SIMD:-simd_neon.h}\"" -I rnnrt/_core tests/neon/harness.c -o "$out/harness" -lm
${RUN-qemu-aarch64} "$out/harness"
