/* Copies between layouts: any strides on either side, any element of 1, 2, 4, 8 or 16 bytes. */
#ifndef RT_OP_COPY_H
#define RT_OP_COPY_H
#include <string.h>

#include "ops.h"

enum { RT_COPY_AXES = 8 };

typedef struct {
    rt_ref x, y;
    int64_t element, n_axes; /* bytes; axes, the last one innermost */
    struct {
        int64_t size, x, y; /* strides in bytes */
    } axis[RT_COPY_AXES];
} rt_copy;

#define RT_COPY_ROW(type) \
    for (int64_t i = 0; i < n; i++) memcpy(y + i * sy, x + i * sx, sizeof(type)); \
    return

static void copy_row(const char *x, char *y, int64_t n, int64_t sx, int64_t sy, int64_t element) {
    if (sx == element && sy == element) {
        memcpy(y, x, n * element);
        return;
    }
    switch (element) {
    case 1: RT_COPY_ROW(char);
    case 2: RT_COPY_ROW(int16_t);
    case 4: RT_COPY_ROW(int32_t);
    case 8: RT_COPY_ROW(int64_t);
    default: RT_COPY_ROW(char[16]);
    }
}

static int op_copy(const int64_t *words, char *const *values, int part, int n_parts) {
    const rt_copy *s = (const rt_copy *)words;
    const char *x = RT_AT(const char, values, s->x);
    char *y = RT_AT(char, values, s->y);
    const int last = (int)s->n_axes - 1;
    int64_t at[RT_COPY_AXES] = {0};
    (void)part, (void)n_parts;
    for (;;) {
        copy_row(x, y, s->axis[last].size, s->axis[last].x, s->axis[last].y, s->element);
        int k = last - 1;
        for (; k >= 0; k--) {
            x += s->axis[k].x;
            y += s->axis[k].y;
            if (++at[k] < s->axis[k].size) break;
            x -= s->axis[k].x * s->axis[k].size;
            y -= s->axis[k].y * s->axis[k].size;
            at[k] = 0;
        }
        if (k < 0) return RT_OK;
    }
}
#endif
