/* Memory for packed weights and workspaces, aligned to cache lines and zero at first where it is large.
 *
 * From HUGE_SIZE bytes on it comes from the system in pages of that size, where there are such: a first touch every 2 MiB
 * instead of every 4 KiB, and fewer misses of the TLB in every pass over the weights. It goes back when it is freed.
 */
#ifndef RT_MEMORY_H
#define RT_MEMORY_H
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RT_HUGE_SIZE = 1 << 21, RT_CACHE_LINE = 64 };

static inline size_t rt_whole_pages(size_t size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (size + page - 1) / page * page;
}

static inline void *rt_memory_new(size_t size) {
    void *data = NULL;
    if (size < RT_HUGE_SIZE)
        return posix_memalign(&data, RT_CACHE_LINE, size < RT_CACHE_LINE ? RT_CACHE_LINE : size) ? NULL : data;
    size_t room = rt_whole_pages(size) + RT_HUGE_SIZE; /* to start at a multiple of RT_HUGE_SIZE */
    char *start = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        return NULL;
    size_t skip = (size_t)(-(uintptr_t)start) % RT_HUGE_SIZE;
    if (skip)
        munmap(start, skip);
    munmap(start + skip + rt_whole_pages(size), RT_HUGE_SIZE - skip);
    /* The last huge page, partly used, stays one of small pages. */
#ifdef MADV_HUGEPAGE
    madvise(start + skip, size / RT_HUGE_SIZE * RT_HUGE_SIZE, MADV_HUGEPAGE);
#endif
    return start + skip;
}

static inline void rt_memory_free(void *data, size_t size) {
    if (size < RT_HUGE_SIZE)
        free(data);
    else if (data)
        munmap(data, rt_whole_pages(size));
}
#endif
