"""From an incident's record to the story that a narrator tells. Everything told is in the record, so it can be told again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trimtab_bot.incidents.course import told
from trimtab_bot.moments import span_text
from trimtab_bot.narration.interface import Obstacle, Story
from trimtab_kernel.rules import Window

if TYPE_CHECKING:
    from trimtab_bot.narration.interface import Narrator, Plan
    from trimtab_bot.records import Incident


def story_of(incident: Incident, plan: Plan | None = None) -> Story:
    """The story of an incident as it stands; ``plan`` is what is proposed now."""
    snapshot = json.loads(incident.evidence.snapshot)
    return Story(
        concern=incident.concern,
        model=incident.model,
        version=incident.version,
        policy=incident.policy,
        gauge=incident.evidence.gauge,
        minimum_n=snapshot["limit"]["minimumSample"],
        window=span_text(Window.parse(snapshot["window"]).value),
        details=tuple((each["label"], each["text"]) for each in snapshot["details"]),
        device_groups=incident.device_groups,
        devices=incident.devices,
        detected_at=incident.detected_at,
        offending=incident.offending,
        harm=incident.harm,
        plan=plan,
        obstacle=Obstacle(incident.obstacle_code, incident.obstacle) if incident.obstacle_code else None,
    )


def tell(incident: Incident, narrator: Narrator, plan: Plan | None = None) -> Incident:
    """The incident with the narrator's words for it as it stands."""
    story = story_of(incident, plan)
    return told(incident, narrator.headline(story), narrator.summary(story))
