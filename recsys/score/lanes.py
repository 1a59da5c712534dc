"""64 scores compared at once: what NumPy has no word for, in LLVM's own, which every processor it knows can run."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

LANES = 64  # as many as bits in the answer: four registers of AVX-512, eight of AVX2, sixteen of NEON


@intrinsic
def at_least(typing_context, row, start, least):  # type: ignore[no-untyped-def]
    """uint64 with bit j set where row[start + j] >= least, j in 0..63; nothing checks that the row is that long.

    Args:
        row: (n,) float32, C-contiguous.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        row, start, least = arguments
        vector = ir.VectorType(ir.FloatType(), LANES)
        data = context.make_array(signature.args[0])(context, builder, row).data
        pointer = builder.bitcast(builder.gep(data, [start]), vector.as_pointer())
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), least, ir.Constant(ir.IntType(32), 0))
        first = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        everywhere = builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), first)
        return builder.bitcast(
            builder.fcmp_ordered(">=", builder.load(pointer, align=4), everywhere), ir.IntType(LANES)
        )

    return types.uint64(row, types.intp, types.float32), generate


@intrinsic
def lowest_bit(typing_context, bits):  # type: ignore[no-untyped-def]
    """The place of the lowest bit that is set in a uint64 other than 0."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        word = ir.IntType(LANES)
        count = builder.module.declare_intrinsic("llvm.cttz", [word], ir.FunctionType(word, [word, ir.IntType(1)]))
        return builder.call(count, [arguments[0], ir.Constant(ir.IntType(1), 1)])

    return types.intp(types.uint64), generate
