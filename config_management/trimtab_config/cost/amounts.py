"""Amounts for people: rounded, never so far that something becomes nothing."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from trimtab_kernel.money import quantize

_CENT = Decimal("0.01")


def amount_text(amount: Decimal) -> str:
    """Two decimals; below a cent two significant digits (``0.0042``), so that a small cost is not shown as none."""
    if amount == 0 or amount >= _CENT:
        return str(quantize(amount))
    return significant_text(amount, 2)


def significant_text(amount: Decimal, digits: int = 3) -> str:
    """``digits`` significant digits without an exponent: ``0.0000142``."""
    if amount == 0:
        return "0"
    with localcontext() as context:
        context.prec = digits
        context.rounding = ROUND_HALF_EVEN
        text = f"{+amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
