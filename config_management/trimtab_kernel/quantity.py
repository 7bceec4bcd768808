"""Exact quantities as Kubernetes writes them: ``500m``, ``1Gi``, ``0.5``, ``1e3``.

Source of the grammar: Kubernetes API machinery, ``resource.Quantity`` (``<signedNumber><suffix>``). Values are exact
fractions, never floats, so that ``0.1`` three times is ``0.3``. Trimtab refuses what Kubernetes would round: parts of
one thousandth of a millionth (``n``) are the smallest step.
"""

from __future__ import annotations

import re
from fractions import Fraction

from trimtab_kernel.records import dataclass

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
}
_PATTERN = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]{0,40})(?:\.(?P<part>[0-9]{0,40}))?(?P<suffix>[A-Za-z]{0,2}|[eE][+-]?[0-9]{1,3})",
    re.ASCII,
)
_LARGEST = Fraction(2**63 - 1)
EXPECTED = 'a quantity such as "500m", "0.5" or "1Gi"'


def _nearest_units(suffix: str) -> str:
    """For ``MB``, ``gb``, ``mi``: the units that were probably meant."""
    letter = suffix[0].upper()
    if suffix[1:].upper() not in {"", "B", "I"} or f"{letter}i" not in _BINARY:
        return ""
    return f', "{letter.lower() if letter == "K" else letter}" and "{letter}i" are'


class QuantityError(ValueError):
    """The text is not a quantity; the message says what was expected."""


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """An exact, non-negative amount (cores, bytes, pieces).

    Equality and order go by value: ``Quantity.parse("500m") == Quantity.parse("0.5")``.
    """

    value: Fraction

    @classmethod
    def parse(cls, text: str | int) -> Quantity:
        """Read ``text``. Raises :class:`QuantityError` for anything that is not exact, finite and >= 0."""
        if isinstance(text, bool) or not isinstance(text, (str, int)):
            raise QuantityError(f"expected {EXPECTED}")
        match = _PATTERN.fullmatch(str(text)) if len(str(text)) <= 64 else None
        if match is None:
            raise QuantityError(f"expected {EXPECTED}")
        whole, part, suffix = match["whole"], match["part"] or "", match["suffix"]
        if not whole and not part:
            raise QuantityError(f"expected {EXPECTED}")
        number = Fraction(int(whole + part or "0"), 10 ** len(part))
        if suffix in _BINARY:
            number *= _BINARY[suffix]
        elif suffix in _DECIMAL:
            number *= _DECIMAL[suffix]
        elif suffix[:1] in {"e", "E"} and len(suffix) > 1:
            exponent = int(suffix[1:])
            if abs(exponent) > 30:
                raise QuantityError(f"expected {EXPECTED}, at most 2^63-1")
            number *= Fraction(10) ** exponent
        else:
            raise QuantityError(f'expected {EXPECTED}; the unit "{suffix}" is not known{_nearest_units(suffix)}')
        if match["sign"] == "-" and number:
            raise QuantityError("expected a quantity that is not negative")
        if number > _LARGEST:
            raise QuantityError("expected a quantity of at most 2^63-1")
        if (number * 10**9).denominator != 1:
            raise QuantityError('expected a quantity of whole billionths ("n" is the smallest unit)')
        return cls(number)

    @property
    def milli(self) -> int:
        """Thousandths, rounded up as Kubernetes does: ``500m`` is 500."""
        return -((-self.value * 1000) // 1)

    @property
    def units(self) -> int:
        """Whole units (bytes, pieces), rounded up."""
        return -(-self.value // 1)

    def __str__(self) -> str:
        """The shortest exact text that parses back: binary suffix where it divides, else the largest decimal one."""
        if self.value == 0:
            return "0"
        if self.value.denominator == 1:
            number = self.value.numerator
            if number % 1024 == 0:
                for suffix in reversed(_BINARY):
                    if number % _BINARY[suffix] == 0:
                        return f"{number // _BINARY[suffix]}{suffix}"
            for suffix in reversed(_DECIMAL):
                scale = _DECIMAL[suffix]
                if scale >= 1 and (self.value / scale).denominator == 1:
                    return f"{self.value / scale}{suffix}"
        for suffix in ("m", "u", "n"):
            scaled = self.value / _DECIMAL[suffix]
            if scaled.denominator == 1:
                return f"{scaled}{suffix}"
        raise AssertionError(f"not a whole number of billionths: {self.value}")

    def __add__(self, other: Quantity) -> Quantity:
        """The exact sum."""
        return Quantity(self.value + other.value)
