"""Which groups of a tree are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimtab_kernel.problems import InputError, Problem, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable


def known_groups(groups: Iterable[str], asked: Iterable[str] | None = None) -> list[str]:
    """``asked``, sorted and each once; all ``groups`` for None.

    Raises InputError: F311 for each name that is no group of the tree, G403 where there is no group at all.
    """
    known = sorted(groups)
    if asked is None:
        if not known:
            raise InputError(Problem("G403", got="no device group", expected="at least one"))
        return known
    names = sorted(set(asked))
    unknown = sorted(set(names) - set(known))
    if unknown:
        from trimtab_config.spec.nearest import did_you_mean

        hints = {name: did_you_mean(name, known) or f"the tree has {len(known)} groups" for name in unknown}
        expected = "a device group of this tree"
        raise InputError(*(Problem("F311", got=quoted(name), expected=expected, hint=hints[name]) for name in unknown))
    return names
