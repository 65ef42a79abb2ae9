"""Triton kernels of the grouped LoRA layer; `twin` has the same mathematics in PyTorch.

Three products, each used forward and backward, and a fused one for backward:

    shrink         S = c (D * X) A^T            and dS = c dY B
    expand         Y = base + S B^T             and dX = dY W + D * (dS A)
    reduce_rows    dA = dS^T (D * X)            and dB^T = S^T dY
    shrink_reduce  dS and dB in one read of dY, sums meeting in atomics

A program takes one tile of rows and reads its group's rank, bank row, threshold and
key from the tables; only that group's bank rows are ever loaded. Masked lanes load
zeros: nothing beyond a group's rank, rows or columns is read or reaches a sum.

Types: products take the rows' type with bank entries cast to it, sums are ACC (fp32,
or fp64 for fp64 rows). PRECISION "ieee" keeps fp32 products exact. Row offsets are
64 bit. Integer arithmetic of the hash is uint32 with wrap-around.
"""

# Triton is optional and without types: its decorator and the kernels' arguments are untyped.
# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call, misc"

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["expand", "reduce_rows", "shrink", "shrink_reduce"]


@triton.jit
def mix(x):
    """The lowbias32 finaliser on uint32."""
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def keep_tile(token, key, threshold, column, COLUMNS: tl.constexpr):
    """bool [rows, COLUMNS] of the columns from `column`, which is even; one hash makes two of them."""
    where = mix((token + key).to(tl.uint32))
    word = (column // 2 + tl.arange(0, COLUMNS // 2)).to(tl.uint32) * 0x9E3779B9
    bits = mix(where[:, None] + word[None, :])
    half = tl.interleave(bits & 0xFFFF, bits >> 16).to(tl.int32)
    return (half ^ 0x8000) >= threshold


@triton.jit
def shrink(
    x,
    bank,
    out,
    tokens,
    tiles,
    groups,
    scales,
    columns,
    max_rank,
    x_stride,
    bank_stride,
    DROPOUT: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """out[rows, :] = scale * (D * x[rows]) bank_g^T for one tile; zeros right of the group's rank."""
    tile = tl.program_id(0)
    group = tl.load(tiles + 3 * tile)
    first = tl.load(tiles + 3 * tile + 1)
    count = tl.load(tiles + 3 * tile + 2)
    rank = tl.load(groups + 4 * group)
    bank_row = tl.load(groups + 4 * group + 1)
    m = tl.arange(0, BLOCK_M)
    r = tl.program_id(1) * BLOCK_R + tl.arange(0, BLOCK_R)
    row = (first + m).to(tl.int64)
    acc = tl.zeros((BLOCK_M, BLOCK_R), dtype=ACC)
    if tl.program_id(1) * BLOCK_R < rank:
        if DROPOUT:
            threshold = tl.load(groups + 4 * group + 2)
            key = tl.load(groups + 4 * group + 3)
            token = tl.load(tokens + row, mask=m < count, other=0)
        for c0 in range(0, columns, BLOCK_C):
            c = c0 + tl.arange(0, BLOCK_C)
            xt = tl.load(
                x + row[:, None] * x_stride + c[None, :],
                mask=(m < count)[:, None] & (c < columns)[None, :],
                other=0.0,
            )
            if DROPOUT:
                xt = tl.where(keep_tile(token, key, threshold, c0, BLOCK_C), xt, 0.0)
            bt = tl.load(
                bank + (bank_row + r).to(tl.int64)[:, None] * bank_stride + c[None, :],
                mask=(r < rank)[:, None] & (c < columns)[None, :],
                other=0.0,
            )
            acc = tl.dot(xt, tl.trans(bt.to(xt.dtype)), acc, input_precision=PRECISION)
        acc *= tl.load(scales + group)
    tl.store(
        out + row[:, None] * max_rank + r[None, :],
        acc.to(out.dtype.element_ty),
        mask=(m < count)[:, None] & (r < max_rank)[None, :],
    )


@triton.jit
def expand(
    s,
    bank,
    base,
    x,
    weight,
    bias,
    out,
    tokens,
    tiles,
    groups,
    tile_count,
    columns,
    inner,
    max_rank,
    base_stride,
    x_stride,
    bank_stride,
    weight_inner_stride,
    weight_column_stride,
    out_stride,
    HAS_BASE: tl.constexpr,
    HAS_WEIGHT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    DROPOUT: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
    SWIZZLE: tl.constexpr,
):
    """out = D * (s bank_g) + (base, or x weight + bias) for one tile and one block of columns.

    The low-rank product seeds the accumulator of the base product, so that the output
    is written once. SWIZZLE tiles share a column block before the next one starts.
    """
    blocks = tl.cdiv(columns, BLOCK_N)
    band = tl.program_id(0) // (SWIZZLE * blocks) * SWIZZLE
    height = tl.minimum(tile_count - band, SWIZZLE)
    within = tl.program_id(0) % (SWIZZLE * blocks)
    tile = band + within % height
    n0 = within // height * BLOCK_N
    group = tl.load(tiles + 3 * tile)
    first = tl.load(tiles + 3 * tile + 1)
    count = tl.load(tiles + 3 * tile + 2)
    rank = tl.load(groups + 4 * group)
    bank_row = tl.load(groups + 4 * group + 1)
    m = tl.arange(0, BLOCK_M)
    n = n0 + tl.arange(0, BLOCK_N)
    row = (first + m).to(tl.int64)
    live = (m < count)[:, None] & (n < columns)[None, :]
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=ACC)
    for r0 in range(0, rank, BLOCK_R):
        r = r0 + tl.arange(0, BLOCK_R)
        st = tl.load(
            s + row[:, None] * max_rank + r[None, :], mask=(m < count)[:, None] & (r < rank)[None, :], other=0.0
        )
        bt = tl.load(
            bank + (bank_row + r).to(tl.int64)[:, None] * bank_stride + n[None, :],
            mask=(r < rank)[:, None] & (n < columns)[None, :],
            other=0.0,
        )
        acc = tl.dot(st, bt.to(st.dtype), acc, input_precision=PRECISION)
    if DROPOUT:  # noqa: SIM102 - known when compiled, the rank is not
        if rank > 0:
            threshold = tl.load(groups + 4 * group + 2)
            key = tl.load(groups + 4 * group + 3)
            token = tl.load(tokens + row, mask=m < count, other=0)
            acc = tl.where(keep_tile(token, key, threshold, n0, BLOCK_N), acc, 0.0)
    if HAS_WEIGHT:
        for k0 in range(0, inner, BLOCK_K):
            k = k0 + tl.arange(0, BLOCK_K)
            xt = tl.load(
                x + row[:, None] * x_stride + k[None, :],
                mask=(m < count)[:, None] & (k < inner)[None, :],
                other=0.0,
            )
            wt = tl.load(
                weight + k.to(tl.int64)[:, None] * weight_inner_stride + n.to(tl.int64)[None, :] * weight_column_stride,
                mask=(k < inner)[:, None] & (n < columns)[None, :],
                other=0.0,
            )
            acc = tl.dot(xt, wt, acc, input_precision=PRECISION)
    if HAS_BIAS:
        acc += tl.load(bias + n, mask=n < columns, other=0.0)[None, :].to(ACC)
    if HAS_BASE:
        acc += tl.load(base + row[:, None] * base_stride + n[None, :], mask=live, other=0.0).to(ACC)
    tl.store(out + row[:, None] * out_stride + n[None, :], acc.to(out.dtype.element_ty), mask=live)


@triton.jit
def reduce_rows(
    s,
    x,
    out,
    tokens,
    tiles,
    chunks,
    groups,
    columns,
    max_rank,
    x_stride,
    out_stride,
    DROPOUT: tl.constexpr,
    ATOMIC: tl.constexpr,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """out[bank rows of g] = s_g^T (D * x_g) over the tiles of a chunk, for one block of columns.

    A chunk is a whole group and its sum is stored, or ATOMIC: a part of one, added to zeros.
    """
    chunk = tl.program_id(0)
    group = tl.load(chunks + 3 * chunk)
    begin = tl.load(chunks + 3 * chunk + 1)
    end = tl.load(chunks + 3 * chunk + 2)
    rank = tl.load(groups + 4 * group)
    bank_row = tl.load(groups + 4 * group + 1)
    if tl.program_id(2) * BLOCK_R < rank:
        if DROPOUT:
            threshold = tl.load(groups + 4 * group + 2)
            key = tl.load(groups + 4 * group + 3)
        m = tl.arange(0, BLOCK_M)
        c0 = tl.program_id(1) * BLOCK_C
        c = c0 + tl.arange(0, BLOCK_C)
        r = tl.program_id(2) * BLOCK_R + tl.arange(0, BLOCK_R)
        acc = tl.zeros((BLOCK_R, BLOCK_C), dtype=ACC)
        for tile in range(begin, end):
            first = tl.load(tiles + 3 * tile + 1)
            count = tl.load(tiles + 3 * tile + 2)
            row = (first + m).to(tl.int64)
            xt = tl.load(
                x + row[:, None] * x_stride + c[None, :],
                mask=(m < count)[:, None] & (c < columns)[None, :],
                other=0.0,
            )
            if DROPOUT:
                token = tl.load(tokens + row, mask=m < count, other=0)
                xt = tl.where(keep_tile(token, key, threshold, c0, BLOCK_C), xt, 0.0)
            st = tl.load(
                s + row[:, None] * max_rank + r[None, :], mask=(m < count)[:, None] & (r < rank)[None, :], other=0.0
            )
            acc = tl.dot(tl.trans(st), xt, acc, input_precision=PRECISION)
        place = out + (bank_row + r).to(tl.int64)[:, None] * out_stride + c[None, :]
        live = (r < rank)[:, None] & (c < columns)[None, :]
        if ATOMIC:
            tl.atomic_add(place, acc.to(out.dtype.element_ty), mask=live, sem="relaxed")
        else:
            tl.store(place, acc.to(out.dtype.element_ty), mask=live)


@triton.jit
def shrink_reduce(
    dy,
    s,
    bank,
    ds,
    db,
    tiles,
    groups,
    scales,
    columns,
    max_rank,
    dy_stride,
    bank_stride,
    db_stride,
    ACC: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """ds[rows] = scale * dy[rows] bank_g^T and db[bank rows of g] += s[rows]^T dy[rows], one read of dy."""
    tile = tl.program_id(0)
    group = tl.load(tiles + 3 * tile)
    first = tl.load(tiles + 3 * tile + 1)
    count = tl.load(tiles + 3 * tile + 2)
    rank = tl.load(groups + 4 * group)
    bank_row = tl.load(groups + 4 * group + 1)
    m = tl.arange(0, BLOCK_M)
    r = tl.program_id(1) * BLOCK_R + tl.arange(0, BLOCK_R)
    row = (first + m).to(tl.int64)
    acc = tl.zeros((BLOCK_M, BLOCK_R), dtype=ACC)
    if tl.program_id(1) * BLOCK_R < rank:
        st = tl.load(
            s + row[:, None] * max_rank + r[None, :], mask=(m < count)[:, None] & (r < rank)[None, :], other=0.0
        )
        turned = tl.trans(st)
        for c0 in range(0, columns, BLOCK_C):
            c = c0 + tl.arange(0, BLOCK_C)
            live = (r < rank)[:, None] & (c < columns)[None, :]
            dyt = tl.load(
                dy + row[:, None] * dy_stride + c[None, :],
                mask=(m < count)[:, None] & (c < columns)[None, :],
                other=0.0,
            )
            place = (bank_row + r).to(tl.int64)[:, None]
            bt = tl.load(bank + place * bank_stride + c[None, :], mask=live, other=0.0)
            acc = tl.dot(dyt, tl.trans(bt.to(dyt.dtype)), acc, input_precision=PRECISION)
            part = tl.dot(turned, dyt, input_precision=PRECISION, out_dtype=ACC)
            tl.atomic_add(db + place * db_stride + c[None, :], part.to(db.dtype.element_ty), mask=live, sem="relaxed")
        acc *= tl.load(scales + group)
    tl.store(
        ds + row[:, None] * max_rank + r[None, :],
        acc.to(ds.dtype.element_ty),
        mask=(m < count)[:, None] & (r < max_rank)[None, :],
    )
