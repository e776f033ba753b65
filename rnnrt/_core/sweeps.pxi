# Sweeps over the nodes of a graph that all rewrites share. Included by facts.pyx.

cdef object HOLDERS = frozenset(("If", "Loop", "Scan", "SequenceMap"))
WITH_BODIES = HOLDERS
cdef enum:
    ENDS = 16                          # bytes at either end of a constant that tell most of them apart

cdef object RECURRENT = frozenset(("LSTM", "GRU", "RNN"))


cdef inline bint may_hold_graphs(node) except -1:
    """Whether an operator may have graphs as attributes; of other domains, any may."""
    domain = node.domain
    return domain != "rnnrt" if domain else node.op in HOLDERS


cdef int take(graph, dict found) except -1:
    """Put into `found` the names that `graph` takes from the graphs around it, in order of first use."""
    cdef dict constants = graph.constants
    cdef dict inner = {}
    cdef set own = {value.name for value in graph.inputs}
    for node in graph.nodes:
        own.update(node.outputs)
    for node in graph.nodes:
        for name in node.inputs:
            inner[name] = None
        if may_hold_graphs(node):
            for _, sub in node.subgraphs():
                take(sub, inner)
    for value in graph.outputs:
        inner[value.name] = None
    for name in inner:
        if name and name not in own and name not in constants:
            found[name] = None
    return 0


def taken(graph):
    """Names that `graph` takes from the graphs around it, in order of first use."""
    cdef dict found = {}
    take(graph, found)
    return list(found)


def captured(node):
    """Names that the subgraphs of `node` take from the graphs around them, in order of first use."""
    cdef dict found = {}
    if may_hold_graphs(node):
        for _, sub in node.subgraphs():
            take(sub, found)
    return list(found)


def consumers(list nodes not None):
    """Which of `nodes` use each value, once each; a node with a subgraph is a user of all that it captures."""
    cdef dict users = {}
    cdef list names, found
    for node in nodes:
        names = node.inputs
        if may_hold_graphs(node):
            names = names + captured(node)
        for name in names:
            if name:
                known = users.get(name)
                if known is None:
                    users[name] = [node]
                else:
                    found = <list> known
                    if found[len(found) - 1] is not node:
                        found.append(node)
    return users


def remove_dead(graph):
    """Remove dead nodes and constants from `graph` and the graphs in it, in place; returns how many nodes went."""
    cdef list nodes = graph.nodes
    cdef list kept = []
    cdef list outputs
    cdef set used = {value.name for value in graph.outputs if value.name}
    cdef Py_ssize_t k
    cdef Py_ssize_t removed = 0
    cdef bint needed
    for k in range(len(nodes) - 1, -1, -1):
        node = nodes[k]
        outputs = node.outputs
        needed = False
        for out in outputs:
            if out and out in used:
                needed = True
                break
        if not needed:
            removed += 1
            continue
        if node.op in RECURRENT and (not node.domain or node.domain == "rnnrt"):
            # Each output is optional: one that nobody reads need not be made.
            read = [out if out in used else "" for out in outputs]
            if read != outputs:
                node.outputs, node.proto = read, None
        used.update(node.inputs)
        if may_hold_graphs(node):
            inner = 0
            for _, sub in node.subgraphs():
                inner += remove_dead(sub)
            used.update(captured(node))
            removed += inner
            if inner:
                node.proto = None
        kept.append(node)
    kept.reverse()
    nodes[:] = kept
    for name in (<dict> graph.constants).keys() - used:
        del graph.constants[name]
    return removed


def alike(dict seen not None, node):
    """Nodes in `seen` of the operator and inputs of `node`, which is put there if there are none; then None."""
    cdef list key = [node.domain, node.op, len(node.outputs)]
    key.extend(node.inputs)
    place = tuple(key)
    found = seen.get(place)
    if found is None:
        seen[place] = [node]
    return found


cdef inline bint any_in(list names, dict places) except -1:
    if places:
        for name in names:
            if name in places:
                return True
    return False


def pass_clean(
    list nodes not None, Py_ssize_t start, Facts known not None, double since, dict alias not None, dict seen not None,
    set changed not None, looked_at, random,
):
    """Where, from `start` on, the first node stands that cleaning has to look at; those before it have been seen to.

    It has graphs, reads what `alias` names, may be like one in `seen`, which `random` ones never are, or is of an operator in
    `looked_at`, and new: it has changed since the time `since`, or reads first what a node in `changed` (by id) makes.
    """
    cdef Py_ssize_t k
    cdef list inputs
    cdef bint has_changed, is_new
    for k in range(start, len(nodes)):
        node = nodes[k]
        inputs = node.inputs
        if may_hold_graphs(node) or any_in(inputs, alias):
            return k
        has_changed = not known.is_learned(node, since)
        if not node.domain and node.op in looked_at:
            is_new = has_changed
            if not is_new and inputs and changed:
                maker = known.producers.get(inputs[0])
                is_new = maker is not None and <size_t> <void *> maker in changed
            if is_new:
                return k
        if node.op not in random and alike(seen, node) is not None:
            return k
        if has_changed:
            changed.add(<size_t> <void *> node)
            known.learn(node)
    return len(nodes)


def pass_fold(list nodes not None, Py_ssize_t start, Facts known not None, double since):
    """Where, from `start` on, the first node stands that folding has to look at; those before it have been learned.

    It has graphs, or nothing but constants as inputs, or its one output is known; and has changed since the time `since`.
    """
    cdef Py_ssize_t k
    cdef list outputs
    cdef bint constant
    for k in range(start, len(nodes)):
        node = nodes[k]
        if known.is_learned(node, since):
            continue
        if may_hold_graphs(node):
            return k
        constant = True
        for name in <list> node.inputs:
            if name and known.constant(name) is None:
                constant = False
                break
        if constant:
            return k
        known.learn(node)
        outputs = node.outputs
        if len(outputs) == 1 and outputs[0] and known.contents(outputs[0]) is not None:
            return k
    return len(nodes)


def pass_by(list nodes not None, Py_ssize_t start, Facts known not None, dict alias not None, looked_at):
    """Where, from `start` on, the first node stands that has graphs, reads what `alias` names, or is of an operator `looked_at`.

    Those before it have been learned.
    """
    cdef Py_ssize_t k
    for k in range(start, len(nodes)):
        node = nodes[k]
        if may_hold_graphs(node) or any_in(node.inputs, alias) or (not node.domain and node.op in looked_at):
            return k
        known.learn(node)
    return len(nodes)


def share_constants(dict constants not None, Py_ssize_t most):
    """Names of constants that hold what an earlier one holds, which of up to `most` bytes is looked at: its name."""
    cdef dict first = {}
    cdef dict alias = {}
    cdef list like
    cdef cnp.ndarray array
    cdef Py_ssize_t size
    cdef const char *data
    for name, found in constants.items():
        array = found
        size = cnp.PyArray_NBYTES(array)
        dtype = found.dtype
        if size > most or dtype.hasobject or not cnp.PyArray_ISCARRAY_RO(array):
            key = <size_t> <void *> array
            size = 0
        else:
            data = <const char *> cnp.PyArray_DATA(array)
            key = dtype, found.shape, data[: min(size, ENDS)], data[size - min(size, ENDS) : size]
        if key not in first:
            first[key] = [(name, array)]
            continue
        like = first[key]
        for earlier, other in like:
            if not size or memcmp(cnp.PyArray_DATA(array), cnp.PyArray_DATA(<cnp.ndarray> other), size) == 0:
                alias[name] = earlier
                break
        else:
            like.append((name, array))
    return alias


def box_start(cnp.ndarray indices not None, tuple sizes not None):
    """Where the box begins whose places, of axes of these `sizes`, `indices` [*box, rank] are in order; None if there is none."""
    cdef cnp.ndarray places = np.ascontiguousarray(indices, np.int64)
    cdef int rank = places.ndim - 1
    cdef cnp.npy_intp count = cnp.PyArray_SIZE(places)
    cdef const cnp.int64_t *place = <const cnp.int64_t *> cnp.PyArray_DATA(places)
    cdef const cnp.int64_t *end = place + count
    cdef cnp.int64_t[MAX_RANK] start, size, at
    cdef int axis
    if not 0 < rank <= MAX_RANK or rank != len(sizes) or not count:
        return None
    for axis in range(rank):
        size[axis], at[axis] = sizes[axis], 0
        start[axis] = place[axis] + (size[axis] if place[axis] < 0 else 0)
        if start[axis] < 0 or start[axis] > size[axis] - cnp.PyArray_DIM(places, axis):
            return None
    while place < end:
        for axis in range(rank):
            if place[axis] != start[axis] + at[axis] and place[axis] + size[axis] != start[axis] + at[axis]:
                return None
        place += rank
        axis = rank - 1
        at[axis] += 1
        while axis and at[axis] == cnp.PyArray_DIM(places, axis):
            at[axis] = 0
            axis -= 1
            at[axis] += 1
    return tuple([start[axis] for axis in range(rank)])
