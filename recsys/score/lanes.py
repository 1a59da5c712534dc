"""What Numba's loops leave to chance, in LLVM's own words: products held in registers, and 64 scores compared at once.

A kernel scores a panel of `ROWS` users with a panel of `WIDTH` items: all ROWS x WIDTH sums stay in registers while the
factors pass by. The shape follows the processor: 24 sums of 16 numbers with AVX-512 (32 registers of that size), else
12 of 8, as AVX2 has 16. LLVM turns either into what the processor has, so the shape changes the speed only.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 64  # as many as bits in an answer, and scores of a user in a row of a kernel's results
WIDE = bool(binding.get_host_cpu_features().get("avx512f"))
ROWS = 6
WIDTH, VECTOR = (64, 16) if WIDE else (16, 8)
STRIPS = (16, 64)  # float64 sums that `sparse_kernels` hold at once: 64 are half of the registers of AVX-512

INT32, INT64, FLOAT = ir.IntType(32), ir.IntType(64), ir.FloatType()
NUMBERS, HALF = ir.VectorType(FLOAT, VECTOR), ir.VectorType(FLOAT, VECTOR // 2)
DOUBLES = ir.VectorType(ir.DoubleType(), VECTOR // 2)  # as many bytes as NUMBERS


def _pointer(context: Any, builder: Any, kind: Any, array: Any, start: Any) -> Any:
    """To array[start], of a C-contiguous array."""
    return builder.gep(context.make_array(kind)(context, builder, array).data, [start])


def _everywhere(builder: Any, number: Any, kind: Any) -> Any:
    """A vector of one number."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = ir.Constant(ir.VectorType(INT32, kind.count), [0] * kind.count)
    return builder.shuffle_vector(builder.insert_element(nothing, number, INT32(0)), nothing, first)


def _vectors(builder: Any, pointer: Any, count: int, kind: Any = NUMBERS) -> list[Any]:
    """Pointers to `count` vectors in a row."""
    return [
        builder.bitcast(builder.gep(pointer, [INT64(place * kind.count)]), kind.as_pointer()) for place in range(count)
    ]


def _fused(builder: Any) -> Any:
    """Of (a, b, c) a x b + c, rounded once where the processor can."""
    kind = ir.FunctionType(NUMBERS, [NUMBERS] * 3)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{VECTOR}f32")


def _kernel(builder: Any, size: Any, sources: tuple[Any, ...], out: Any, term: Any) -> None:
    """The loop over the factors, and the sums stored to `out`, LANES from one user to the next.

    Args:
        sources: pointers to users (size, ROWS), items (size, WIDTH) and, where the term has one, weights (size,).
        term: of (sum, user's number everywhere, items, weight everywhere) the new sum.
    """
    before, loop = builder.block, builder.append_basic_block("factors")
    after = builder.append_basic_block("stored")
    builder.branch(loop)
    builder.position_at_end(loop)
    factor = builder.phi(INT64)
    sums = [[builder.phi(NUMBERS) for _ in range(WIDTH // VECTOR)] for _ in range(ROWS)]
    users, items = (
        builder.gep(source, [builder.mul(factor, INT64(width))])
        for source, width in zip(sources[:2], (ROWS, WIDTH), strict=True)
    )
    values = [builder.load(each, align=4) for each in _vectors(builder, items, WIDTH // VECTOR)]
    weight = None
    if len(sources) > 2:
        weight = _everywhere(builder, builder.load(builder.gep(sources[2], [factor])), NUMBERS)
    following = builder.add(factor, INT64(1))
    factor.add_incoming(INT64(0), before)
    factor.add_incoming(following, loop)
    new = []
    for row, own in enumerate(sums):
        number = _everywhere(builder, builder.load(builder.gep(users, [INT64(row)])), NUMBERS)
        new.append([term(total, number, value, weight) for total, value in zip(own, values, strict=True)])
    for own, changed in zip(sums, new, strict=True):
        for total, value in zip(own, changed, strict=True):
            total.add_incoming(ir.Constant(NUMBERS, [0.0] * VECTOR), before)
            total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, size), loop, after)
    builder.position_at_end(after)
    for row, changed in enumerate(new):
        places = _vectors(builder, builder.gep(out, [INT64(row * LANES)]), len(changed))
        for value, place in zip(changed, places, strict=True):
            builder.store(value, place, align=4)


@intrinsic
def product_kernel(typing_context, users, user, items, item, size, out, at):  # type: ignore[no-untyped-def]
    """out[at + 64 r + i] = sum over the factors k of users[user + ROWS k + r] items[item + WIDTH k + i], in float32.

    All are flat float32 arrays; `size`, at least 1, is the number of factors. Nothing checks bounds.
    """

    def generate(context, builder, signature, given):  # type: ignore[no-untyped-def]
        kinds, fused = signature.args, _fused(builder)
        users, items, out = (_pointer(context, builder, kinds[at], given[at], given[at + 1]) for at in (0, 2, 5))
        _kernel(
            builder, given[4], (users, items), out,
            lambda total, user, item, _: builder.call(fused, [user, item, total]),
        )  # fmt: skip
        return context.get_dummy_value()

    return types.void(users, types.intp, items, types.intp, types.intp, out, types.intp), generate


@intrinsic
def network_kernel(typing_context, users, user, items, item, size, out, at, weights):  # type: ignore[no-untyped-def]
    """As `product_kernel`, with weights[k] max(user's + item's, 0) for the product."""

    def generate(context, builder, signature, given):  # type: ignore[no-untyped-def]
        kinds, fused = signature.args, _fused(builder)
        users, items, out = (_pointer(context, builder, kinds[at], given[at], given[at + 1]) for at in (0, 2, 5))
        nothing = ir.Constant(NUMBERS, [0.0] * VECTOR)

        def term(total, user, item, weight):  # type: ignore[no-untyped-def]
            both = builder.fadd(user, item)
            active = builder.select(builder.fcmp_ordered(">", both, nothing), both, nothing)
            return builder.call(fused, [weight, active, total])

        weights = _pointer(context, builder, kinds[7], given[7], INT64(0))
        _kernel(builder, given[4], (users, items, weights), out, term)
        return context.get_dummy_value()

    return types.void(users, types.intp, items, types.intp, types.intp, out, types.intp, weights), generate


def _sparse_kernel(width: int) -> Any:
    @intrinsic
    def kernel(typing_context, rows, indices, values, first, last, out):  # type: ignore[no-untyped-def]
        """out[i] = float32 of the sum over the entries e of values[e] rows[width indices[e] + i], for i below width.

        The sums are float64, in the order of the entries; a product of two float32 is exact in it.

        Args:
            rows, values, out: flat float32.     indices: int32.     first, last: the entries.
        """

        def generate(context, builder, signature, given):  # type: ignore[no-untyped-def]
            pointers = [_pointer(context, builder, signature.args[at], given[at], INT64(0)) for at in (0, 1, 2, 5)]
            _sum_entries(builder, width, pointers, given[3], given[4])
            return context.get_dummy_value()

        return types.void(rows, indices, values, types.intp, types.intp, out), generate

    return kernel


def _sum_entries(builder: Any, width: int, pointers: list[Any], first: Any, last: Any) -> None:
    """The loop of a sparse kernel, and its sums stored; all are 0 where there is no entry."""
    rows, indices, values, out = pointers
    kind = ir.FunctionType(DOUBLES, [DOUBLES] * 3)
    fused = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fmuladd.v{DOUBLES.count}f64")
    count, zero = width // DOUBLES.count, ir.Constant(DOUBLES, [0.0] * DOUBLES.count)
    before, loop = builder.block, builder.append_basic_block("entries")
    after = builder.append_basic_block("stored")
    builder.cbranch(builder.icmp_signed("<", first, last), loop, after)
    builder.position_at_end(loop)
    entry, sums = builder.phi(INT64), [builder.phi(DOUBLES) for _ in range(count)]
    index = builder.sext(builder.load(builder.gep(indices, [entry])), INT64)
    value = builder.fpext(builder.load(builder.gep(values, [entry])), ir.DoubleType())
    factor, row = _everywhere(builder, value, DOUBLES), builder.gep(rows, [builder.mul(index, INT64(width))])
    following, new = builder.add(entry, INT64(1)), []
    for total, place in zip(sums, _vectors(builder, row, count, HALF), strict=True):
        wide = builder.fpext(builder.load(place, align=4), DOUBLES)
        new.append(builder.call(fused, [factor, wide, total]))
        total.add_incoming(zero, before)
        total.add_incoming(new[-1], loop)
    entry.add_incoming(first, before)
    entry.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", following, last), loop, after)
    builder.position_at_end(after)
    results = [builder.phi(DOUBLES) for _ in range(count)]  # before anything else: so LLVM wants it
    for result, value in zip(results, new, strict=True):
        result.add_incoming(zero, before)
        result.add_incoming(value, loop)
    for result, place in zip(results, _vectors(builder, out, count, HALF), strict=True):
        builder.store(builder.fptrunc(result, HALF), place, align=4)


narrow_sparse_kernel, wide_sparse_kernel = (_sparse_kernel(width) for width in STRIPS)


@intrinsic
def at_least(typing_context, row, start, least):  # type: ignore[no-untyped-def]
    """uint64 with bit j set where row[start + j] >= least, j in 0..63; nothing checks that the row is that long.

    Args:
        row: (n,) float32, C-contiguous.
    """

    def generate(context, builder, signature, given):  # type: ignore[no-untyped-def]
        kind = ir.VectorType(FLOAT, LANES)
        pointer = builder.bitcast(_pointer(context, builder, signature.args[0], *given[:2]), kind.as_pointer())
        passing = builder.fcmp_ordered(">=", builder.load(pointer, align=4), _everywhere(builder, given[2], kind))
        return builder.bitcast(passing, INT64)

    return types.uint64(row, types.intp, types.float32), generate


@intrinsic
def lowest_bit(typing_context, bits):  # type: ignore[no-untyped-def]
    """The place of the lowest bit that is set in a uint64 other than 0."""

    def generate(context, builder, signature, given):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(INT64, [INT64, ir.IntType(1)])
        count = builder.module.declare_intrinsic("llvm.cttz", [INT64], kind)
        return builder.call(count, [given[0], ir.Constant(ir.IntType(1), 1)])

    return types.intp(types.uint64), generate
