# How a bound layer goes, in words. Included by engine.pyx after wavefront.pxi.

def choice_of(size_t function, size_t words):
    """How the step with this function and words goes, for people: threads, and what each of them does."""
    cdef const bound_t *s = <const bound_t *> words
    cdef const wavefront_t *w = <const wavefront_t *> words
    cdef rt_call calls[2]
    cdef team_t team
    cdef rt_choice choice
    cdef const rt_call *first
    cdef int d
    if function == <size_t> run_wavefront:
        return f"{w.n_layers} layers as a wavefront of {w.steps} steps, {w.n_layers} threads"
    memset(calls, 0, sizeof(calls))
    for d in range(<int> s.n_directions):
        calls[d].n_time, calls[d].n_batch = <int> s.n_time, <int> s.n_batch
    team.kernels = s.kernels
    plan_team(&team, s.layers, <int> s.n_directions, calls, <int> s.n_threads)
    first = &team.jobs[0].call
    choice = s.kernels.choose(s.layers, <int> s.n_time, first.n_batch)
    if choice.across and first.n_parts == 1:
        parts = ["rows across lanes"]
    elif choice.chunk:
        parts = [f"inputs of {choice.chunk} steps projected at once"]
    else:
        parts = ["x and h in one pass"]
    if s.layers.quantized:
        parts.append("x and h as bytes")
    if choice.far and parts != ["rows across lanes"]:
        parts.append("weights fetched ahead" + (" from memory" if choice.far == RT_MEMORY else ""))
    if s.n_threads > 1:
        split = "units" if first.n_parts > 1 else "rows" if team.n_jobs > s.n_directions else "directions"
        parts.append(f"{min(s.n_threads, team.n_jobs)} threads by {split}")
        if team.n_jobs > s.n_threads:
            parts.append("one direction after the other")
    return ", ".join(parts)
