/* Memory for weights and workspaces: aligned to cache lines, zero at first. All calls hold the GIL.
 *
 * What is touched for the first time costs by the page, and every pass over weights by the pages that they lie in. So what is large
 * comes in huge pages, where the system has them. The largest have a mapping of their own. Weights from RT_POOLED_SIZE bytes on lie in
 * a region, one piece after the other, and so do smaller ones that fit into the huge page that was begun last. A huge page goes back
 * to the system when nothing in it is in use any more, and is not used again; a region when that is so of all of it. What is needed
 * while a model is opened has regions of its own, so that what stays keeps none of its pages. Workspaces, which come and go, have
 * neither.
 */
#ifndef RT_MEMORY_H
#define RT_MEMORY_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu.h"

enum {
    RT_HUGE_SIZE = 1 << 21,
    RT_REGION_PAGES = 16,
    RT_REGION_SIZE = RT_REGION_PAGES * RT_HUGE_SIZE,
    RT_OWN_SIZE = RT_REGION_SIZE / 4,
    RT_POOLED_SIZE = 1 << 18, /* a first touch of a huge page costs as much as those of 500 KiB of small ones */
    RT_LEAST_SIZE = 1 << 14   /* of what is pooled at all */
};

enum { RT_LASTING, RT_PASSING, RT_KINDS, RT_PLAIN = RT_KINDS };

typedef struct rt_region {
    char *start;
    size_t used;
    int kind;
    int in_use[RT_REGION_PAGES]; /* pieces that lie in a page, or reach into it */
    struct rt_region *next;
} rt_region;

static rt_region *rt_regions[RT_KINDS]; /* the first of each is the one that is being filled */

static inline size_t rt_whole_pages(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

/* `size` bytes from the system that begin at a multiple of RT_HUGE_SIZE. A last huge page that is not filled stays one of small pages. */
static inline char *rt_map(size_t size) {
    size_t room = rt_whole_pages(size) + RT_HUGE_SIZE;
    char *start = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return NULL;
    size_t skip = (size_t)(-(uintptr_t)start) % RT_HUGE_SIZE;
    if (skip) munmap(start, skip);
    munmap(start + skip + rt_whole_pages(size), RT_HUGE_SIZE - skip);
#ifdef MADV_HUGEPAGE
    madvise(start + skip, size / RT_HUGE_SIZE * RT_HUGE_SIZE, MADV_HUGEPAGE);
#endif
    return start + skip;
}

/* Give a page back if nothing lies in it, and nothing will. */
static inline void rt_page_done(rt_region *region, size_t page) {
    if (region->in_use[page] == 0 && (region != rt_regions[region->kind] || (page + 1) * RT_HUGE_SIZE <= region->used))
        madvise(region->start + page * RT_HUGE_SIZE, RT_HUGE_SIZE, MADV_DONTNEED);
}

/* Give a region back that is not being filled, if nothing lies in it. */
static inline void rt_region_done(rt_region **at) {
    rt_region *region = *at;
    if (region == rt_regions[region->kind]) return;
    for (int page = 0; page < RT_REGION_PAGES; page++)
        if (region->in_use[page]) return;
    *at = region->next;
    munmap(region->start, RT_REGION_SIZE);
    free(region);
}

static inline rt_region *rt_region_new(int kind) {
    rt_region *region = calloc(1, sizeof *region);
    char *start = region ? rt_map(RT_REGION_SIZE) : NULL;
    if (!start) {
        free(region);
        return NULL;
    }
    rt_region *full = rt_regions[kind];
    *region = (rt_region){.start = start, .kind = kind, .next = full};
    rt_regions[kind] = region;
    if (full) {
        rt_page_done(full, (full->used - 1) / RT_HUGE_SIZE);
        rt_region_done(&region->next);
    }
    return region;
}

/* A piece of a region; NULL if it is too small for one, or there is none. */
static inline void *rt_region_take(size_t size, int kind) {
    rt_region *region = rt_regions[kind];
    const size_t room = (size + RT_CACHE_LINE - 1) / RT_CACHE_LINE * RT_CACHE_LINE;
    const size_t begun = region ? (0 - region->used) % RT_HUGE_SIZE : 0;
    if (size < RT_LEAST_SIZE || (size < RT_POOLED_SIZE && begun < room)) return NULL;
    if (!region || RT_REGION_SIZE - region->used < room) region = rt_region_new(kind);
    if (!region) return NULL;
    const size_t first = region->used, end = first + room;
    for (size_t page = first / RT_HUGE_SIZE; page <= (end - 1) / RT_HUGE_SIZE; page++) region->in_use[page]++;
    region->used = end;
    return region->start + first;
}

/* Take a piece back; whether it was of a region of that kind. */
static inline int rt_region_give(char *data, size_t size, int kind) {
    rt_region **at = &rt_regions[kind];
    while (*at && !(data >= (*at)->start && data < (*at)->start + RT_REGION_SIZE)) at = &(*at)->next;
    if (!*at) return 0;
    const size_t first = data - (*at)->start;
    for (size_t page = first / RT_HUGE_SIZE; page <= (first + size - 1) / RT_HUGE_SIZE; page++) {
        (*at)->in_use[page]--;
        rt_page_done(*at, page);
    }
    rt_region_done(at);
    return 1;
}

static inline int rt_has_mapping(size_t size, int kind) { return size >= (kind == RT_PLAIN ? RT_HUGE_SIZE : RT_OWN_SIZE); }

static inline void *rt_memory_new(size_t size, int kind) {
    void *data = NULL;
    if (rt_has_mapping(size, kind)) return rt_map(size);
#ifndef __SANITIZE_ADDRESS__ /* which sees no piece's end */
    if (kind != RT_PLAIN) data = rt_region_take(size, kind);
#endif
    if (data || posix_memalign(&data, RT_CACHE_LINE, size < RT_CACHE_LINE ? RT_CACHE_LINE : size)) return data;
    return memset(data, 0, size);
}

static inline void rt_memory_free(void *data, size_t size, int kind) {
    if (!data) return;
    if (rt_has_mapping(size, kind))
        munmap(data, rt_whole_pages(size));
    else if (kind == RT_PLAIN || !rt_region_give(data, size, kind))
        free(data);
}
#endif
