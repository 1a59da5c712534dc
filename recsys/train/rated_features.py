"""Who rated what, whatever the rating, as a few numbers for each user and each item."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array

OVERSAMPLING = 64  # directions beside the wanted ones: with them three passes find the wanted ones well
PASSES = 3


@dataclass(frozen=True, eq=False)
class RatedFeatures:
    """The thin, truncated singular value decomposition W diag(s) V^T of a matrix with unit rows.

    Attributes:
        vectors: (n, size) float64, W, orthonormal columns.
        values: (size,) float64, s, descending.
    """

    vectors: NDArray[np.float64]
    values: NDArray[np.float64]


def rated_features(binary: csr_matrix, size: int, threads: int) -> tuple[RatedFeatures, RatedFeatures]:
    """Features of the users and of the items of a (n_users, n_columns) CSR of ones.

    A row of N(u) stored entries is divided by sqrt(|N(u)|), as the implicit feedback of SVD++ is (Koren 2008); the
    items' matrix is the transposed one, divided likewise ("flipped"). A linear function of such a row is, by the
    decomposition, a linear function of the row of W diag(s), whose columns do not touch each other.

    The decomposition is randomised with a fixed start: N. Halko, P. Martinsson and J. Tropp, "Finding structure with
    randomness", SIAM Review 53(2), 2011, algorithm 4.4. Within `one_blas_thread` it is the same for any `threads`.
    """
    from sklearn.utils import extmath  # noqa: F401  (a second; imported here, before the threads need it)

    with ThreadPoolExecutor(min(threads, 2)) as pool:
        users, items = pool.map(lambda matrix: _decomposed(matrix, size), (binary, binary.T.tocsr()))
    return users, items


def _decomposed(binary: csr_matrix, size: int) -> RatedFeatures:
    from sklearn.utils.extmath import randomized_svd

    unit = diags_array(1.0 / np.sqrt(np.maximum(np.diff(binary.indptr), 1))) @ binary.astype(np.float64)
    vectors, values, _ = randomized_svd(
        unit, min(size, *unit.shape), n_oversamples=OVERSAMPLING, n_iter=PASSES, random_state=0
    )
    return RatedFeatures(np.ascontiguousarray(vectors), values)
