# Sweeps over the nodes of a graph that all rewrites share. Included by facts.pyx.

cdef object WITH_BODIES = frozenset(("If", "Loop", "Scan", "SequenceMap"))
cdef object RECURRENT = frozenset(("LSTM", "GRU", "RNN"))


cdef inline bint may_hold_graphs(node) except -1:
    """Whether an operator may have graphs as attributes; of other domains, any may."""
    domain = node.domain
    return domain != "rnnrt" if domain else node.op in WITH_BODIES


def consumers(list nodes not None, captured):
    """Which of `nodes` use each value, once each; `captured` gives the names that graphs in a node take from outside."""
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


def remove_dead(graph, captured):
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
                inner += remove_dead(sub, captured)
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


def pass_over(
    list nodes not None, Py_ssize_t start, Facts known not None, double since, dict alias not None, dict seen not None,
    set changed not None, random,
):
    """Where, from `start` on, the first node stands that a sweep has to look at; see `alike` about those before it.

    It has graphs, reads what `alias` names, has changed since the time `since`, reads first what a node in `changed` (by id)
    makes, or may be like one in `seen`, which `random` ones never are.
    """
    cdef Py_ssize_t k
    cdef list inputs
    for k in range(start, len(nodes)):
        node = nodes[k]
        inputs = node.inputs
        if may_hold_graphs(node) or not known.is_learned(node, since):
            return k
        if alias:
            for name in inputs:
                if name in alias:
                    return k
        if inputs and changed:
            maker = known.producers.get(inputs[0])
            if maker is not None and <size_t> <void *> maker in changed:
                return k
        if node.op not in random and alike(seen, node) is not None:
            return k
    return len(nodes)


def share_constants(dict constants not None, Py_ssize_t most):
    """Names of constants that hold what an earlier one holds, which of up to `most` bytes is looked at: its name."""
    cdef dict first = {}
    cdef dict alias = {}
    cdef cnp.ndarray array
    for name, found in constants.items():
        array = found
        dtype = found.dtype
        if cnp.PyArray_NBYTES(array) > most or dtype.hasobject:
            key = <size_t> <void *> array
        else:
            key = (dtype, found.shape, array.tobytes())
        earlier = first.setdefault(key, name)
        if earlier != name:
            alias[name] = earlier
    return alias
