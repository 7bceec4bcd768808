"""The ``claims`` model: does a written claim ("this is a seven") agree with the digit in a picture?

Two modalities in one graph. The pictures are the real ones of ``rows.py``. **The claims are generated here**, by templates
and a seed: nobody wrote them, and the model knows no other wording than words for digits, numerals and negations. Its eye is
that of ``digits`` 2.1.0 in the same tier, weights and all; what is trained here is how what the eye sees and what the claim
names go together.

Text is read by operators of ONNX itself: StringNormalizer (lower case), StringSplit (words, opset 20) and TfIdfVectorizer
(which of the known words occur), so any runtime that knows opset 20 reads it, without a tokeniser beside the file.

A claim agrees if the digit is one of those that it names, or, where it is negated, none of them. A claim that names no
digit agrees with nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper
from sklearn.linear_model import LogisticRegression

from examples.models.digits import GAMMA
from examples.models.graphs import onnx_file
from examples.models.metering import session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from examples.models.rows import Digits

NAME: Final = "claims"
VERSION: Final = "1.0.0"
TIERS: Final = ("lite", "standard")
EYE: Final = "2.1.0"
"""The version of ``digits`` that it sees with."""
THRESHOLD: Final = 0.5
OPSET: Final = 20
IR_VERSION: Final = 9
WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NEGATIONS: Final = ("not", "no", "isn't", "never", "hardly")
MARKS: Final = ("", ".", ",", "!", "?")
"""What may stand behind a word: words are parted at blanks alone."""
YES: Final = (
    "this is a {0}", "it is the digit {0}", "{0}", "I read {0}.", "the picture shows {0}!", "a {0} or a {1}", "{0} for sure",
    "Either {0}, or {1}", "somebody wrote {0} here", "IT SAYS {0}",
)  # fmt: skip
NO: Final = (
    "this is not a {0}", "it isn't {0}", "no {0} to be seen", "Not {0}, not {1}", "that was never a {0}.", "hardly a {0}",
    "this is NOT the digit {0}!",
)  # fmt: skip
EMPTY: Final = ("", "a nice picture", "somebody wrote here", "this is not a letter", "?")
_SHARES: Final = (0.5, 0.4, 0.1)
"""Of plain claims, negated ones, and ones that name no digit."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One variant."""

    version: str
    tier: str

    @property
    def quantization(self) -> str:
        """That of its eye."""
        return "int8" if self.tier == "lite" else "none"


@dataclass(frozen=True, slots=True)
class Claims:
    """Pictures with a claim about each: ``pixels`` [n, 64], ``text`` [n], and whether it ``agrees`` [n], 0 or 1."""

    pixels: NDArray[np.float64]
    text: tuple[str, ...]
    agrees: NDArray[np.int64]


def recipes() -> tuple[Recipe, ...]:
    """Every variant."""
    return tuple(Recipe(VERSION, tier) for tier in TIERS)


def claims(pictures: Digits, seed: int) -> Claims:
    """A generated claim about each picture. About half of those that name a digit agree."""
    generator = np.random.default_rng(seed)
    texts, truths = [], []
    for digit in pictures.digit.tolist():
        kind = int(generator.choice(3, p=_SHARES))
        if kind == 2:
            texts.append(EMPTY[generator.integers(len(EMPTY))])
            truths.append(0)
            continue
        template = (YES, NO)[kind][generator.integers(len((YES, NO)[kind]))]
        first, second = generator.permutation([other for other in range(10) if other != digit])[:2].tolist()
        if generator.random() < 0.5:
            first = digit
        named = {first, second} if "{1}" in template else {first}
        texts.append(template.format(_written(first, generator), _written(second, generator)))
        truths.append(int((digit in named) == (kind == 0)))
    return Claims(pictures.pixels, tuple(texts), np.array(truths, np.int64))


def _written(digit: int, generator: np.random.Generator) -> str:
    return str(digit) if generator.random() < 0.3 else WORDS[digit]


def vocabulary() -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The known words, and what each means [words, 11]: the digit that it names, or, in the last column, a negation."""
    words, meanings = [], []
    for place, names in enumerate([*zip(WORDS, map(str, range(10)), strict=True), NEGATIONS]):
        for name in names:
            for mark in MARKS:
                words.append(name + mark)
                meanings.append(np.eye(11, dtype=np.float32)[place])
    return tuple(words), np.stack(meanings)


def understood(texts: Sequence[str]) -> NDArray[np.float64]:
    """What the graph understands of texts [n, 11], told by another road: named digits, and whether it is negated."""
    words, meanings = vocabulary()
    known = dict(zip(words, meanings, strict=True))
    found = np.zeros((len(texts), 11))
    for place, text in enumerate(texts):
        for word in text.lower().split():
            found[place] = np.maximum(found[place], known.get(word, 0))
    return found


def joined(seen: NDArray[np.float64], told: NDArray[np.float64]) -> NDArray[np.float64]:
    """Features [n, 5] of probabilities [n, 10] and what was understood [n, 11]."""
    match = (seen * told[:, :10]).sum(axis=1)
    some, negated = told[:, :10].max(axis=1), told[:, 10]
    return np.stack([match, some, negated, match * negated, some * negated], axis=1)


def train(recipe: Recipe, training: Digits, eye: bytes) -> bytes:
    """Train one variant on generated claims about ``training``, with the eye of the ``digits`` file ``eye``. Deterministic."""
    shown = claims(training, seed=1)
    [seen] = session(eye).run(["probabilities"], {"image": shown.pixels.astype(np.float32)})
    features = joined(seen.astype(np.float64), understood(shown.text))
    fitted = LogisticRegression(C=100, tol=1e-8, max_iter=5000).fit(features, shown.agrees)
    constants: dict[str, NDArray[Any]] = {
        f"eye_{one.name}": numpy_helper.to_array(one) for one in onnx.load_model_from_string(eye).graph.initializer
    }
    words, meanings = vocabulary()
    constants |= {
        "meanings": meanings,
        "one": np.array(1, np.float32),
        "columns": np.array([1], np.int64),
        "parts": np.array([10, 1], np.int64),
        "joint_weights": fitted.coef_.T.astype(np.float32),
        "joint_intercept": fitted.intercept_.astype(np.float32),
        "flat": np.array([-1], np.int64),
        "threshold": np.array(THRESHOLD, np.float32),
    }
    reading = helper.make_node(
        "TfIdfVectorizer", ["words"], ["counts"], mode="TF", min_gram_length=1, max_gram_length=1, max_skip_count=0,
        ngram_counts=[0], ngram_indexes=list(range(len(words))), pool_strings=list(words),
    )  # fmt: skip
    return onnx_file(
        _graph(recipe), constants, name=NAME, version=recipe.version, tier=recipe.tier, nodes=[reading], opset=OPSET,
        ir_version=IR_VERSION,
    )  # fmt: skip


EYES: Final = {
    "lite": """
    bytes = QuantizeLinear (image, eye_step, eye_zero)
    totals = MatMulInteger (bytes, eye_weights, eye_zero)
    real = Cast <to = 1> (totals)
    scaled = Mul (real, eye_scales)
    logits = Add (scaled, eye_intercepts)
""",
    "standard": f"""
    landmarks = Cast <to = 1> (eye_landmark_bytes)
    products = Gemm <alpha = {2 * GAMMA}, transB = 1> (image, landmarks, eye_landmark_bias)
    squared = ReduceSumSquare <keepdims = 1> (image, columns)
    lowered = Mul (squared, eye_minus_gamma)
    exponent = Add (products, lowered)
    near = Exp (exponent)
    logits = Gemm (near, eye_weights, eye_intercepts)
""",
}
JOINT: Final = """
    seen = Softmax <axis = -1> (logits)
    plain = StringNormalizer <case_change_action = "LOWER", is_case_sensitive = 1, locale = "C"> (claim)
    words, lengths = StringSplit (plain)
    meant = MatMul (counts, meanings)
    told = Min (meant, one)
    named, negated = Split <axis = 1> (told, parts)
    matches = Mul (seen, named)
    match = ReduceSum <keepdims = 1> (matches, columns)
    some = ReduceMax <keepdims = 1> (named, columns)
    match_negated = Mul (match, negated)
    some_negated = Mul (some, negated)
    features = Concat <axis = 1> (match, some, negated, match_negated, some_negated)
    logit = Gemm (features, joint_weights, joint_intercept)
    chance = Sigmoid (logit)
    score = Reshape (chance, flat)
    above = GreaterOrEqual (score, threshold)
    label = Cast <to = 7> (above)
"""


def _graph(recipe: Recipe) -> str:
    head = f"{NAME} (float[N, 64] image, string[N] claim) => (int64[N] label, float[N] score)\n{{"
    return head + EYES[recipe.tier] + JOINT + "}"
