/* to[k][u] = from[u][k], u < n_rows, k < n_columns: what packing does with a tile of weights.
 *
 * Four by four in registers where the processor has them; rows inside columns, so that a row of `to` is written at once.
 * Built for the baseline, since a model is packed once.
 */
#ifndef RT_TRANSPOSE_H
#define RT_TRANSPOSE_H
#include <stddef.h>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

static inline void rt_transpose_f64(const double *from, ptrdiff_t ldfrom, double *to, ptrdiff_t ldto, int n_rows,
                                    int n_columns) {
    for (int k = 0; k < n_columns; k++)
        for (int u = 0; u < n_rows; u++)
            to[k * ldto + u] = from[u * ldfrom + k];
}

static inline void rt_transpose_f32(const float *from, ptrdiff_t ldfrom, float *to, ptrdiff_t ldto, int n_rows,
                                    int n_columns) {
    int k = 0;
#if defined(__SSE__)
    int n_fours = n_rows / 4 * 4;
    for (; k + 4 <= n_columns; k += 4) {
        for (int u = 0; u < n_fours; u += 4) {
            const float *f = from + u * ldfrom + k;
            float *t = to + k * ldto + u;
            __m128 a = _mm_loadu_ps(f), b = _mm_loadu_ps(f + ldfrom);
            __m128 c = _mm_loadu_ps(f + 2 * ldfrom), d = _mm_loadu_ps(f + 3 * ldfrom);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            _mm_storeu_ps(t, a), _mm_storeu_ps(t + ldto, b);
            _mm_storeu_ps(t + 2 * ldto, c), _mm_storeu_ps(t + 3 * ldto, d);
        }
        for (int u = n_fours; u < n_rows; u++)
            for (int i = k; i < k + 4; i++)
                to[i * ldto + u] = from[u * ldfrom + i];
    }
#endif
    for (; k < n_columns; k++)
        for (int u = 0; u < n_rows; u++)
            to[k * ldto + u] = from[u * ldfrom + k];
}
#endif
