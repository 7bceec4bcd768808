"""Whether a commit brings a device group what a merge brought it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from trimtab_config.compilation.fleet import FleetCompiler
from trimtab_kernel.problems import InputError

if TYPE_CHECKING:
    from trimtab_bot.changes.history import History

_KEPT = 4096


class Carrying:
    """Judges commits by the repository. What was judged once is kept: a commit does not change. Used by one thread."""

    def __init__(self, history: History) -> None:
        """``history`` is of the branch that the delivering tools follow."""
        self._history = history
        self._known: OrderedDict[tuple[str, str, str, str, str], bool] = OrderedDict()

    def carries(self, merged: str, commit: str, group: str, model: str, version: str) -> bool:
        """Whether ``commit`` is the merge, a later one that does not ask ``group`` for ``version``, or one with the same bytes.

        The last is so where a tool keeps the name of the commit that changed the group last, and went from the state that was
        restored to the restored one without the commits between. A commit that is not in the repository carries nothing. Raises
        OutsideError where the repository does not answer.
        """
        if commit == merged:
            return True
        key = (merged, commit, group, model, version)
        if key not in self._known:
            if self._history.repository.revision(commit) is None:
                return False  # not kept: a mirror may bring it
            self._known[key] = self._judge(merged, commit, group, model, version)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return self._known[key]

    def _judge(self, merged: str, commit: str, group: str, model: str, version: str) -> bool:
        repository = self._history.repository
        if repository.is_ancestor(merged, commit):
            fleet = self._history.fleet(commit)
            return not fleet.problems and group not in fleet.groups_asked(model, version)
        return self._bytes(commit, group) == self._bytes(merged, group) is not None

    def _bytes(self, commit: str, group: str) -> bytes | None:
        try:
            return FleetCompiler().open(self._history.fleet(commit).files).render(group).stream
        except InputError:
            return None
