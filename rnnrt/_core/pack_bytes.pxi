# Weights of quantised LSTMs into panels of bytes: the layout stands in kernels.h. Included by engine.pyx.

cdef check_quantized(str kind, W, R, quantized):
    """Raise ModelError unless weights, scales and zero points are those of a quantised LSTM."""
    if kind != "LSTM":
        raise ModelError(f"{kind}: quantized: expected an LSTM")
    for name, q, scale, zero in (("W", W, quantized.w_scale, quantized.w_zero), ("R", R, quantized.r_scale, quantized.r_zero)):
        if q.dtype != np.int8 or q.ndim != 3 or q.shape[2] > RT_BYTES_MOST:
            raise ModelError(f"{kind}: {name}: expected int8 of at most {RT_BYTES_MOST} columns, got {q.dtype} {q.shape}")
        for what, array, dtype in (("scale", scale, np.float32), ("zero point", zero, np.int32)):
            if array.shape != q.shape[:2] or array.dtype != dtype:
                raise ModelError(f"{kind}: {what} of {name}: expected {np.dtype(dtype)} {q.shape[:2]}, "
                                 f"got {array.dtype} {array.shape}")


cdef pack_bytes(Recurrent layer, rt_bytes *m, W, scale, zero):
    """Put whole numbers [4*H, K] with their scales and zero points [4*H] into panels of bytes (kernels.h)."""
    cdef int lanes = layer.kernels.lanes
    cdef int h = layer.hidden_size
    cdef int units = (h + lanes - 1) // lanes * lanes
    m.n_k4 = (W.shape[1] + 3) // 4
    panels = np.zeros((units // lanes, m.n_k4, 4, lanes, 4), np.int8)
    padded = np.zeros((4, units, m.n_k4 * 4), np.int8)
    padded[:, :h, :W.shape[1]] = W.reshape(4, h, -1)
    panels[...] = padded.reshape(4, units // lanes, lanes, m.n_k4, 4).transpose(1, 3, 0, 2, 4)
    m.data = <const int8_t *> layer.kept(panels)
    sums = W.sum(axis=1, dtype=np.int32) - np.int32(W.shape[1]) * zero
    m.sums = <const int32_t *> layer.blocked(sums.reshape(4, h), lanes)
    m.zeros = <const int32_t *> layer.blocked(zero.reshape(4, h), lanes) if zero.any() else NULL
    m.scales = <const float *> layer.blocked(scale.reshape(4, h), lanes)
