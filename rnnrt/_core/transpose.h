/* to[k][u] = from[u][k], u < n_rows, k < n_columns: what packing does with a tile of weights.
 *
 * Four by four in registers where the processor has them, eight by eight where it is built for AVX; rows inside columns, so that a row of
 * `to` is written at once. Packing is built for the baseline, since a model is packed once.
 */
#ifndef RT_TRANSPOSE_H
#define RT_TRANSPOSE_H
#include <stddef.h>
#include <string.h>
#if defined(__SSE__)
#include <immintrin.h>
#endif

static inline void rt_transpose_f64(const double *from, ptrdiff_t ldfrom, double *to, ptrdiff_t ldto, int n_rows, int n_columns) {
    for (int k = 0; k < n_columns; k++)
        for (int u = 0; u < n_rows; u++) to[k * ldto + u] = from[u * ldfrom + k];
}

#if defined(__AVX__)
static inline void rt_transpose_eight(const float *from, ptrdiff_t ldfrom, float *to, ptrdiff_t ldto) {
    __m256 pairs[8], fours[8];
    for (int u = 0; u < 8; u += 2) {
        const __m256 a = _mm256_loadu_ps(from + u * ldfrom), b = _mm256_loadu_ps(from + (u + 1) * ldfrom);
        pairs[u] = _mm256_unpacklo_ps(a, b), pairs[u + 1] = _mm256_unpackhi_ps(a, b);
    }
    for (int u = 0; u < 8; u += 4)
        for (int i = 0; i < 2; i++) {
            fours[u + 2 * i] = _mm256_shuffle_ps(pairs[u + i], pairs[u + 2 + i], 0x44);
            fours[u + 2 * i + 1] = _mm256_shuffle_ps(pairs[u + i], pairs[u + 2 + i], 0xee);
        }
    for (int k = 0; k < 4; k++) {
        _mm256_storeu_ps(to + k * ldto, _mm256_permute2f128_ps(fours[k], fours[4 + k], 0x20));
        _mm256_storeu_ps(to + (4 + k) * ldto, _mm256_permute2f128_ps(fours[k], fours[4 + k], 0x31));
    }
}
#endif

#if defined(__SSE__)
static inline void rt_transpose_four(const float *from, ptrdiff_t ldfrom, float *to, ptrdiff_t ldto) {
    __m128 a = _mm_loadu_ps(from), b = _mm_loadu_ps(from + ldfrom);
    __m128 c = _mm_loadu_ps(from + 2 * ldfrom), d = _mm_loadu_ps(from + 3 * ldfrom);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(to, a), _mm_storeu_ps(to + ldto, b);
    _mm_storeu_ps(to + 2 * ldto, c), _mm_storeu_ps(to + 3 * ldto, d);
}
#endif

static inline void rt_transpose_f32(const float *from, ptrdiff_t ldfrom, float *to, ptrdiff_t ldto, int n_rows, int n_columns) {
    int k = 0;
    if (ldfrom == 1) {
        for (; k < n_columns; k++) memcpy(to + k * ldto, from + k, n_rows * sizeof *to);
        return;
    }
#if defined(__SSE__)
    for (int done; k + 4 <= n_columns; k += done) {
        int u = 0;
        done = 4;
#if defined(__AVX__)
        if (n_rows >= 8 && k + 8 <= n_columns)
            for (done = 8; u + 8 <= n_rows; u += 8) rt_transpose_eight(from + u * ldfrom + k, ldfrom, to + k * ldto + u, ldto);
#endif
        for (; u + 4 <= n_rows; u += 4)
            for (int i = k; i < k + done; i += 4) rt_transpose_four(from + u * ldfrom + i, ldfrom, to + i * ldto + u, ldto);
        for (; u < n_rows; u++)
            for (int i = k; i < k + done; i++) to[i * ldto + u] = from[u * ldfrom + i];
    }
#endif
    for (; k < n_columns; k++)
        for (int u = 0; u < n_rows; u++) to[k * ldto + u] = from[u * ldfrom + k];
}
#endif
