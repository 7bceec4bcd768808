"""The ``digits`` model: which digit is written in an 8 x 8 picture.

The lite tier is multinomial logistic regression on the pixels with 8-bit integer weights (static quantisation with
fixed scales, so a row's answer does not depend on the other rows of its batch). Standard and premium compare the
picture with real training pictures (a Gaussian kernel on landmarks, Nystroem's method with logistic regression on top);
premium has more landmarks. The landmarks are kept as the bytes they are.

- 2.0.0 learns from the training pictures as they are.
- 2.1.0 learns also from copies moved and turned a little.
- 2.2.0 is costly on purpose, for a reason for which real models are: *test-time augmentation*. It learns from more
  copies, and looks at every picture in some two thousand moved, turned and scaled views and averages the answers. It is
  about as accurate as 2.1.0 or slightly better, and costs hundreds of times the CPU. Neither its accuracy nor its file,
  still well under 200 kB, warns of that; only measuring does.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from sklearn.linear_model import LogisticRegression

from examples.models.graphs import onnx_file
from examples.models.rows import Digits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NAME: Final = "digits"
SIDE: Final = 8
CENTRE: Final = (SIDE - 1) / 2
GAMMA: Final = 0.001
STEPS: Final = 8
"""Quantised pixels are eighths of a grey level: 16 x 8 = 128 fits a byte, and whole levels stay exact."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a view looks: shifted by ``right`` and ``down`` pixels, turned by ``degrees``, seen at ``scale``."""

    right: float = 0.0
    down: float = 0.0
    degrees: float = 0.0
    scale: float = 1.0

    def matrix(self) -> NDArray[np.float64]:
        """[3, 2]: (x, y, 1) of a view's pixel, from the centre, to x and y in the picture, from the centre."""
        turn = np.deg2rad(self.degrees)
        cosine, sine = np.cos(turn) * self.scale, np.sin(turn) * self.scale
        return np.array([[cosine, sine], [-sine, cosine], [self.right, self.down]])


AS_IT_IS: Final = (Placement(),)
MOVED: Final = (
    *AS_IT_IS,
    *(Placement(right, down) for right, down in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))),
    *(Placement(degrees=degrees) for degrees in (-8, 8)),
)
VARIED: Final = (
    *MOVED,
    *(Placement(scale=scale) for scale in (0.93, 1.07)),
    *(Placement(*view) for view in ((0.35, 0.35, 5), (0.35, -0.35, -5), (-0.35, 0.35, -5), (-0.35, -0.35, 5))),
)


def views(shifts: int, turns: int, scales: int) -> tuple[Placement, ...]:
    """A grid of placements within half a pixel, 9 degrees and 5 %, ``shifts`` in both directions."""
    shift = np.linspace(-0.5, 0.5, shifts)
    return tuple(
        Placement(*(float(part) for part in view))
        for view in product(shift, shift, np.linspace(-9, 9, turns), np.linspace(0.95, 1.05, scales))
    )


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one variant is trained and how it looks at a picture."""

    version: str
    tier: str
    landmarks: int
    """0 for the linear model on pixels."""
    copies: tuple[Placement, ...]
    """The training pictures, placed so."""
    views: tuple[Placement, ...] = ()
    """Empty to look at a picture once, as it is."""

    @property
    def quantization(self) -> str:
        """``int8`` for the linear model, else ``none``."""
        return "none" if self.landmarks else "int8"


def recipes() -> tuple[Recipe, ...]:
    """Every variant, by version and tier."""
    return (
        Recipe("2.0.0", "lite", 0, AS_IT_IS),
        Recipe("2.0.0", "standard", 80, AS_IT_IS),
        Recipe("2.0.0", "premium", 160, AS_IT_IS),
        Recipe("2.1.0", "lite", 0, MOVED),
        Recipe("2.1.0", "standard", 100, MOVED),
        Recipe("2.1.0", "premium", 200, MOVED),
        Recipe("2.2.0", "lite", 0, VARIED, views(7, 13, 3)),
        Recipe("2.2.0", "standard", 100, VARIED, views(7, 9, 5)),
        Recipe("2.2.0", "premium", 200, VARIED, views(7, 11, 5)),
    )


def seen(pixels: NDArray[np.float64], placement: Placement) -> NDArray[np.float64]:
    """``pixels`` [n, 64] as a view placed so sees them: bilinear, nothing (0) outside, as ONNX's GridSample does."""
    across, down = (axis.ravel() for axis in np.meshgrid(np.arange(SIDE) - CENTRE, np.arange(SIDE) - CENTRE))
    x, y = (np.stack([across, down, np.ones_like(across)], axis=1) @ placement.matrix()).T + CENTRE
    margin = SIDE // 2
    padded = np.pad(pixels.reshape(-1, SIDE, SIDE), ((0, 0), (margin, margin), (margin, margin)))
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    result = np.zeros((len(pixels), SIDE * SIDE))
    for step_x, step_y in product((0, 1), (0, 1)):
        weight = np.abs(1 - step_x - (x - left)) * np.abs(1 - step_y - (y - top))
        result += weight * padded[:, top + step_y + margin, left + step_x + margin]
    return result


def chosen_landmarks(training: Digits, count: int) -> NDArray[np.float64]:
    """``count`` training pictures, as many of each digit."""
    generator = np.random.default_rng(0)
    return np.concatenate(
        [
            training.pixels[generator.permutation(np.flatnonzero(training.digit == digit))[: count // 10]]
            for digit in range(10)
        ]
    )


def nearness(pixels: NDArray[np.float64], landmarks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian kernel between rows and landmarks."""
    squares = (pixels**2).sum(axis=1)[:, None] - 2 * pixels @ landmarks.T + (landmarks**2).sum(axis=1)
    values: NDArray[np.float64] = np.exp(-GAMMA * squares)
    return values


def train(recipe: Recipe, training: Digits) -> bytes:
    """Train one variant on ``training`` and write it as ONNX. Deterministic."""
    pixels = np.concatenate([seen(training.pixels, placement) for placement in recipe.copies])
    digit = np.tile(training.digit, len(recipe.copies))
    if recipe.landmarks:
        landmarks = chosen_landmarks(training, recipe.landmarks)
        fitted = LogisticRegression(C=30, tol=1e-6, max_iter=5000).fit(nearness(pixels, landmarks), digit)
        constants = _kernel_constants(landmarks, fitted.coef_, fitted.intercept_)
    else:
        fitted = LogisticRegression(C=1, tol=1e-6, max_iter=5000).fit(pixels / 16, digit)
        constants = _integer_constants(fitted.coef_ / 16, fitted.intercept_)
    if recipe.views:
        constants |= view_constants(recipe.views)
    return onnx_file(_graph(recipe), constants, name=NAME, version=recipe.version, tier=recipe.tier)


def _kernel_constants(
    landmarks: NDArray[np.float64], weights: NDArray[np.float64], intercepts: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    return {
        "landmark_bytes": landmarks.astype(np.uint8),
        "landmark_bias": (-GAMMA * (landmarks**2).sum(axis=1)).astype(np.float32),
        "minus_gamma": np.array(-GAMMA, dtype=np.float32),
        "weights": weights.T.astype(np.float32),
        "intercepts": intercepts.astype(np.float32),
    }


def _integer_constants(weights: NDArray[np.float64], intercepts: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    scale = np.abs(weights).max(axis=1) / 127
    return {
        "step": np.array(1 / STEPS, dtype=np.float32),
        "zero": np.array(0, dtype=np.uint8),
        "weights": np.rint(weights / scale[:, None]).astype(np.int8).T.copy(),
        "scales": (scale / STEPS).astype(np.float32),
        "intercepts": intercepts.astype(np.float32),
    }


def view_constants(placements: Sequence[Placement]) -> dict[str, NDArray[Any]]:
    """What the graph fragment ``LOOK`` needs to make these views, and ``AVERAGE`` to average over them."""
    across, down = np.meshgrid(np.arange(SIDE) - CENTRE, np.arange(SIDE) - CENTRE)
    count = len(placements)
    return {
        "raster": np.stack([across.ravel(), down.ravel(), np.ones(SIDE * SIDE)], axis=1).astype(np.float32),
        # GridSample counts from -1 to 1 between the centres of the outermost pixels
        "placements": np.stack([placement.matrix() / CENTRE for placement in placements]).astype(np.float32),
        "as_squares": np.array([-1, 1, SIDE, SIDE], dtype=np.int64),
        "as_column": np.array([1, count * SIDE, SIDE, 2], dtype=np.int64),
        "column_shape": np.array([count * SIDE, SIDE, 2], dtype=np.int64),
        "as_rows": np.array([-1, SIDE * SIDE], dtype=np.int64),
        "by_view": np.array([-1, count, 10], dtype=np.int64),
    }


LOOK = """
    squares = Reshape (image, as_squares)
    moved = MatMul (raster, placements)
    column = Reshape (moved, as_column)
    rows = Shape <start = 0, end = 1> (image)
    repeated = Concat <axis = 0> (rows, column_shape)
    grid = Expand (column, repeated)
    sampled = GridSample <mode = "bilinear", padding_mode = "zeros", align_corners = 1> (squares, grid)
    pixels = Reshape (sampled, as_rows)
"""
KERNEL = """
    landmarks = Cast <to = 1> (landmark_bytes)
    products = Gemm <alpha = {alpha}, transB = 1> ({pixels}, landmarks, landmark_bias)
    squared = ReduceSumSquare <axes = [1], keepdims = 1> ({pixels})
    lowered = Mul (squared, minus_gamma)
    exponent = Add (products, lowered)
    near = Exp (exponent)
    logits = Gemm (near, weights, intercepts)
"""
INTEGER = """
    bytes = QuantizeLinear ({pixels}, step, zero)
    totals = MatMulInteger (bytes, weights, zero)
    real = Cast <to = 1> (totals)
    scaled = Mul (real, scales)
    logits = Add (scaled, intercepts)
"""
AVERAGE = """
    each = Softmax <axis = -1> (logits)
    grouped = Reshape (each, by_view)
    probabilities = ReduceMean <axes = [1], keepdims = 0> (grouped)
"""
ONCE = """
    probabilities = Softmax <axis = -1> (logits)
"""


def _graph(recipe: Recipe) -> str:
    body = (KERNEL if recipe.landmarks else INTEGER).format(
        pixels="pixels" if recipe.views else "image", alpha=2 * GAMMA
    )
    return (
        "digits (float[N, 64] image) => (int64[N] label, float[N, 10] probabilities)\n{"
        + (LOOK if recipe.views else "")
        + body
        + (AVERAGE if recipe.views else ONCE)
        + "    label = ArgMax <axis = 1, keepdims = 0> (probabilities)\n}"
    )
