# Which instruction sets there are, and the tables of their kernels. Included by engine.pyx.

def built():
    """Names of the instruction sets this installation was built with, best first."""
    return [isa for isa in ISAS if find_spec(f"rnnrt._core.cells_{isa}") is not None]


def present():
    """Names of the instruction sets this processor has, best first."""
    return [isa for isa in ISAS if rt_cpu_has(isa.encode())]


def available():
    """Names of the instruction sets that can be used here, best first."""
    return [isa for isa in built() if rt_cpu_has(isa.encode())]


def choose(name=None):
    """The instruction set called `name`, or the best one: checked, and its kernels loaded.

    Raises
    ------
    InputError
        There is no instruction set of that name.
    UnsupportedError
        This build, or this processor, lacks it.
    """
    isa = name or available()[0]
    if isa not in tables:
        if isa not in ISAS:
            raise InputError(f"instruction set {isa!r}: no such name; expected one of {', '.join(ISAS)}")
        if isa not in built():
            raise UnsupportedError(f"instruction set {isa!r}: this build of rnnrt lacks it; it has {', '.join(built())}")
        if not rt_cpu_has(isa.encode()):
            raise UnsupportedError(f"instruction set {isa!r}: this processor lacks it; usable here: {', '.join(available())}")
        tables[isa] = import_module(f"rnnrt._core.cells_{isa}").kernels
    return isa


cdef rt_kernels *table_of(isa, dtype) except NULL:
    """The kernels for an element type; float64 has one set for every processor."""
    if dtype == np.float64:
        if "float64" not in tables:
            tables["float64"] = import_module("rnnrt._core.cells_f64").kernels
        return <rt_kernels *> PyCapsule_GetPointer(tables["float64"], b"rnnrt.kernels")
    return <rt_kernels *> PyCapsule_GetPointer(tables[choose(isa or in_use)], b"rnnrt.kernels")


in_use = choose(os.environ.get("RNNRT_ISA"))
