"""Options of a remedy: declared once, read strictly, and told as JSON Schema."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trimtab_kernel.canonical import Json


@dataclass(frozen=True, slots=True)
class Option:
    """One option. ``pattern`` is what its text must be (whole); with ``whole_number`` it is an integer of at least 1."""

    name: str
    says: str
    pattern: str = r"[!-~]{1,256}"
    required: bool = False
    whole_number: bool = False

    def schema(self) -> dict[str, Json]:
        """JSON Schema (2020-12) of its value."""
        if self.whole_number:
            return {"type": "integer", "minimum": 1, "description": self.says}
        return {"type": "string", "pattern": f"^(?:{self.pattern})$", "description": self.says}


def schema_of(options: Sequence[Option]) -> dict[str, Json]:
    """JSON Schema (2020-12) of all options together."""
    schema: dict[str, Json] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {option.name: option.schema() for option in options},
    }
    required: list[Json] = [option.name for option in options if option.required]
    return {**schema, "required": required} if required else schema


def read_options(options: Sequence[Option], given: Mapping[str, str]) -> dict[str, str] | str:
    """The options as given, checked; or one lowercase sentence that says what does not fit."""
    known = {option.name: option for option in options}
    for name, text in given.items():
        option = known.get(name)
        if option is None:
            return f'there is no option "{name}"; expected {", ".join(known) or "none"}'
        pattern = r"[1-9][0-9]{0,8}" if option.whole_number else option.pattern
        if re.fullmatch(pattern, text, re.ASCII) is None:
            return f'option {name}: "{text}" does not fit; it is {option.says}'
    missing = [option.name for option in options if option.required and option.name not in given]
    return f"option {', '.join(missing)} is missing" if missing else dict(given)
