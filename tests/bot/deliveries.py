"""A source of deliveries that is fed by a test: it writes down what a tool would say, the bot asks its usual questions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trimtab_bot.delivery.interface import Delivery, State
from trimtab_kernel.problems import OutsideError

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass
class Deliveries:
    """A DeliverySource. One object for each group; ``down`` is why nothing can be read."""

    objects: dict[str, Delivery] = field(default_factory=dict)
    down: str = ""
    reads: int = 0
    name = "a tool that a test writes down"
    kind = "Application"

    def read(self) -> tuple[Delivery, ...]:
        self.reads += 1
        if self.down:
            raise OutsideError(self.down)
        return tuple(self.objects[group] for group in sorted(self.objects))

    def put(self, groups: Iterable[str], revision: str, state: State = State.HEALTHY, **changes: object) -> None:
        """Each group's object has seen and applied this revision, unless the changes say otherwise."""
        for group in groups:
            made = Delivery(group, f"Application argocd/{group}", state, (revision,), (revision,))
            self.objects[group] = replace(made, **changes)  # type: ignore[arg-type]  # fields of Delivery
