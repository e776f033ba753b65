# Protobuf's wire format: a message is a row of fields. Included by messages.pyx.
#
#     field = key, content          key = varint of number * 8 + kind
#     kind 0: a varint    1: 8 bytes    2: a varint n and n bytes    5: 4 bytes
#     varint = 7 bits a byte, the lowest first, the top bit set on all bytes but the last
#
# Whatever is not so raises Strange; nothing is read from beyond the end.

class Strange(Exception):
    """The message is for protobuf to look at."""


cdef struct field_t:
    int number, kind
    uint64_t value                     # of kinds 0, 1 and 5
    const uint8_t *start               # of the whole field
    const uint8_t *body                # of kind 2, with its size
    Py_ssize_t size


cdef int varint(const uint8_t **at, const uint8_t *end, uint64_t *value) except -1:
    cdef uint64_t byte
    cdef int shift = 0
    value[0] = 0
    while at[0] < end and shift < 70:
        byte = at[0][0]
        at[0] += 1
        value[0] |= (byte & 127) << shift
        if byte < 128:
            return 0
        shift += 7
    raise Strange


cdef int next_field(const uint8_t **at, const uint8_t *end, field_t *field) except -1:
    """Read the field at `at`, and go on to the next; 0 where there is none."""
    cdef uint64_t key
    if at[0] == end:
        return 0
    field.start = at[0]
    varint(at, end, &key)
    if key < 8 or key >> 3 > 1 << 28:
        raise Strange
    field.number, field.kind = <int> (key >> 3), <int> (key & 7)
    if field.kind == 0:
        varint(at, end, &field.value)
    elif field.kind == 2:
        varint(at, end, &key)
        if key > <uint64_t> (end - at[0]):
            raise Strange
        field.body, field.size = at[0], <Py_ssize_t> key
        at[0] += key
    elif field.kind in (1, 5):
        field.size = 8 if field.kind == 1 else 4
        if field.size > end - at[0]:
            raise Strange
        field.value = 0
        memcpy(&field.value, at[0], field.size)
        at[0] += field.size
    else:
        raise Strange
    return 1


cdef inline int once(uint64_t *seen, int number) except -1:
    """A field that is not repeated may come once; that the last one holds is for protobuf to do."""
    if number > 63 or seen[0] >> number & 1:
        raise Strange
    seen[0] |= <uint64_t> 1 << number
    return 0


cdef inline int want(const field_t *field, int kind) except -1:
    """A field that is known has to be of its kind."""
    if field.kind != kind:
        raise Strange
    return 0


cdef inline str words(const field_t *field):
    """A string in UTF-8."""
    want(field, 2)
    return PyUnicode_DecodeUTF8(<const char *> field.body, field.size, NULL)


cdef inline bytes content(const field_t *field):
    want(field, 2)
    return PyBytes_FromStringAndSize(<const char *> field.body, field.size)


cdef inline object number(const field_t *field):
    want(field, 0)
    return <int64_t> field.value


cdef inline double single(uint64_t bits) noexcept nogil:
    """The float of these 32 bits."""
    cdef float value
    cdef uint32_t low = <uint32_t> bits
    memcpy(&value, &low, 4)
    return value


cdef int add_numbers(list found, const field_t *field) except -1:
    """One number of a repeated field, or, where they are packed, all of them."""
    cdef const uint8_t *at
    cdef const uint8_t *end
    cdef uint64_t value
    if field.kind == 2:
        at, end = field.body, field.body + field.size
        while at < end:
            varint(&at, end, &value)
            found.append(<int64_t> value)
    else:
        found.append(number(field))
    return 0


cdef int add_floats(list found, const field_t *field) except -1:
    cdef Py_ssize_t k
    cdef uint32_t bits
    if field.kind == 2:
        if field.size % 4:
            raise Strange
        for k in range(field.size // 4):
            memcpy(&bits, field.body + 4 * k, 4)
            found.append(single(bits))
    else:
        want(field, 5)
        found.append(single(field.value))
    return 0
