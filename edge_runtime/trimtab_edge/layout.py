"""Where things lie in a model repository: shared by the agent, who writes it, and the server, who reads it.

::

    DIR/<model>/active.json                      which version answers: {"version": "1.1.0", "digest": "sha256:..."}
    DIR/<model>/<version>/model.onnx             the file that is served (model.bin for formats that an app loads itself)
    DIR/<model>/<version>/model.yaml             what the fleet says about it (alignment, tier, ...); optional
    DIR/<model>/.by-digest/<hex>/                the same two files by content; <version> is a link to it where the agent
                                                 put it there, so that a version can change its variant in one rename
    DIR/<model>/.incoming/                       downloads that are not complete or not staged yet

Names that start with a dot are the agent's own; a server looks them up only by a digest that ``active.json`` names.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from trimtab_kernel.canonical import canonical_json
from trimtab_kernel.identity import Digest, IdentityError, Version
from trimtab_kernel.problems import InputError, Problem, quoted

MODEL_FILE = "model.onnx"
OPAQUE_FILE = "model.bin"
DESCRIPTION_FILE = "model.yaml"
ACTIVE_FILE = "active.json"
BY_DIGEST = ".by-digest"
INCOMING = ".incoming"
SERVED_FORMAT = "onnx"
MAX_ACTIVE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Active:
    """Which version of a model answers. ``digest`` None: written by hand, the file is taken as it is."""

    version: str
    digest: Digest | None

    def to_bytes(self) -> bytes:
        """The content of ``active.json``."""
        fields = {"version": self.version} | ({"digest": str(self.digest)} if self.digest else {})
        return canonical_json(fields) + b"\n"


def parse_active(content: bytes, file: str = ACTIVE_FILE) -> Active:
    """Read ``active.json``. Raises :class:`InputError` (E405)."""

    def refused(place: str, got: object, expected: str) -> InputError:
        return InputError(Problem("E405", file, 0, place, quoted(got), expected))

    if len(content) > MAX_ACTIVE_BYTES:
        raise refused("", f"{len(content)} bytes", f"at most {MAX_ACTIVE_BYTES} bytes")
    try:
        data = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise refused("", "no JSON", "a JSON object in UTF-8") from None
    if not isinstance(data, dict) or not data.keys() <= {"version", "digest"}:
        raise refused("", type(data).__name__, 'an object with "version" and "digest"')
    version, digest = data.get("version"), data.get("digest")
    try:
        # The version becomes a directory name: a SemVer text has no slash and no leading dot.
        text = version if isinstance(version, str) else ""
        Version.parse(text)
    except IdentityError as error:
        raise refused("version", version, str(error).removeprefix("expected ")) from None
    try:
        parsed = Digest.parse(digest if isinstance(digest, str) else "") if digest is not None else None
    except IdentityError as error:
        raise refused("digest", digest, str(error).removeprefix("expected ")) from None
    return Active(text, parsed)


def model_file(file_format: str) -> str:
    """The name of the bytes of a variant: only ONNX is served, every other format is delivered for the app."""
    return MODEL_FILE if file_format == SERVED_FORMAT else OPAQUE_FILE
