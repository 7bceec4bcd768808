"""The port to a source of metrics, and what every source promises.

Adapters: :mod:`trimtab_bot.metrics.prometheus` (production) and :mod:`trimtab_bot.metrics.scrape` (small fleets, where
there is no Prometheus). Both pass the contract suite in ``tests/contracts/metrics_source``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from trimtab_kernel.rules import Query, Reading


class MetricsSource(Protocol):
    """Answers questions from the closed set of :data:`trimtab_kernel.rules.RULES`.

    Promises of every source:

    - A label in ``query.match`` that the rule does not keep is refused with ValueError: it is a mistake in our code.
      Its values are compared exactly, whatever characters they hold.
    - A sample carries exactly the labels that the rule keeps; one that the metric does not have is ``""``.
    - ``Sample.n`` is :meth:`trimtab_kernel.rules.Rule.observations` of its value.
    - ``Sample.freshness`` is judged by the newest sample of the series behind it, not by when the question was asked.
      A device that stopped answering makes its samples stale; it does not make them 0.
    - Nothing is made up: a series that does not exist gives no sample, and one whose value is not finite is in
      ``Reading.dropped``. An empty reading means "no data".
    - ``Reading.warnings`` is not empty where the whole answer may be incomplete; who decides from it must say "unknown",
      and so must who decides from anything that a dropped sample is about.
    - ``read`` may be called from one thread at a time, ends within the source's own time limit, and raises nothing but
      OutsideError (with ``retry_after`` where the other side named a time) for what is wrong outside.
    """

    @property
    def name(self) -> str:
        """What people are told: ``prometheus at http://127.0.0.1:9090``. It holds no credentials."""

    def read(self, query: Query) -> Reading:
        """The answer as of now. Raises OutsideError where there is none."""
