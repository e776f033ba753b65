# A plan that is one segment, run over and over as Loop and Scan do, without going back to Python: as a step of the plan round it
# where the number of iterations is known when that is bound (repeated_step.pxi), else as a call (repeated_call.pxi). Included by
# program.pyx.
#
# From one iteration to the next only addresses change: slices move on, and a carried value's two places, one that is read and
# one that is written, change sides.

cdef struct slice_t:
    int base
    ptrdiff_t step                 # bytes from one iteration to the next


cdef struct carried_t:
    int taken, given               # bases


cdef struct repeat_t:
    const step_t *steps
    int n_steps, n_carried, n_slices
    char **values
    carried_t *carried
    slice_t *slices
    int64_t *number                # of the iteration; NULL: nobody asks
    const char *going              # whether there is to be another one, or NULL


cdef int iterate(const repeat_t *r, int64_t n, bint shared, int64_t *done, int *at) noexcept nogil:
    """At most n iterations, until one says that it is the last one; how many is added to `done`."""
    cdef int64_t i
    cdef int k, wrong
    cdef char *place
    for i in range(n):
        wrong = run_steps(r.steps, r.n_steps, r.values, shared, at)
        if wrong != RT_OK:
            return wrong
        for k in range(r.n_carried):
            place = r.values[r.carried[k].taken]
            r.values[r.carried[k].taken] = r.values[r.carried[k].given]
            r.values[r.carried[k].given] = place
        for k in range(r.n_slices):
            r.values[r.slices[k].base] += r.slices[k].step
        done[0] += 1
        if r.number != NULL:
            r.number[0] += 1
        if r.going != NULL and r.going[0] == 0:
            break
    return RT_OK
