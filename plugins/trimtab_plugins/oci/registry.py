"""One repository of a registry, as the OCI distribution specification v1.1 has it."""

from __future__ import annotations

import json
import re
import urllib.parse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trimtab_kernel.problems import OutsideError, TrustError, quoted
from trimtab_plugins.oci.artifact import LIMITS, MANIFEST_TYPE, MAX_MANIFEST, digest_of
from trimtab_plugins.oci.transport import Answer, BusyError, check_digest

if TYPE_CHECKING:
    from trimtab_plugins.oci.transport import Transport

_MAX_TAG_PAGES = 100
_TAGS_A_PAGE = 1000
_NEXT = re.compile(r'<([^>]*)>\s*;\s*rel="?next"?')


@dataclass(frozen=True, slots=True)
class Repository:
    """Every method raises OutsideError where the registry does not do what is asked, after as many tries as patience has."""

    transport: Transport
    name: str

    def manifest(self, reference: str) -> bytes | None:
        """The manifest of a tag or digest, None where there is none. Raises TrustError (A308) where a digest differs."""
        url = self._url(f"manifests/{reference}")
        answer = self._ask("GET", url, headers={"Accept": MANIFEST_TYPE}, limit=MAX_MANIFEST)
        if answer.status == 404:
            return None
        self._expect(answer, 200, f"the manifest {reference}")
        found = digest_of(answer.body)
        check_digest(answer, found, "a manifest")
        if ":" in reference and reference != found:
            raise TrustError("A308", f"the registry gives {found} for {reference}; nothing was kept")
        return answer.body

    def blob(self, digest: str, size: int) -> bytes:
        """A blob of at most ``size`` bytes, as it came: the caller compares."""
        limit = min(size, LIMITS.compressed_bytes)
        answer = self._ask("GET", self._url(f"blobs/{digest}"), limit=limit)
        self._expect(answer, 200, f"the blob {digest}")
        return answer.body

    def has_blob(self, digest: str, size: int) -> bool:
        """Whether the registry holds the whole blob."""
        return self.transport.patiently(lambda: self._head(digest)) == _found(size)

    def put_blob(self, digest: str, content: bytes) -> None:
        """Upload, unless it is there. Nobody sees a part: a blob exists once the registry has verified its digest."""

        def upload() -> Answer:
            # Each attempt asks again: the last one may have arrived although its answer was lost.
            if self._head(digest) == _found(len(content)):
                return _found(len(content))
            return self._upload(digest, content)

        self.transport.patiently(upload)

    def put_manifest(self, reference: str, content: bytes) -> None:
        """Make ``reference`` name this manifest, in one step. Raises TrustError (A308) where the registry says otherwise."""
        headers = {"Content-Type": MANIFEST_TYPE}
        answer = self._ask("PUT", self._url(f"manifests/{reference}"), body=content, headers=headers)
        self._expect(answer, 201, f"a new manifest for {reference}")
        check_digest(answer, digest_of(content), "the manifest")

    def tags(self) -> tuple[str, ...]:
        """The tags, sorted; none where there is no such repository."""
        found: list[str] = []
        url = self._url(f"tags/list?n={_TAGS_A_PAGE}")
        for _ in range(_MAX_TAG_PAGES):
            answer = self._ask("GET", url)
            if answer.status == 404:
                return ()
            self._expect(answer, 200, "the tags")
            found += _tags(answer.body)
            following = _NEXT.search(answer.headers.get("link", ""))
            if following is None:
                return tuple(sorted(set(found)))
            url = self.transport.absolute(following[1])
        raise OutsideError(f"{quoted(self.name)} has more than {_MAX_TAG_PAGES} pages of tags")

    def _upload(self, digest: str, content: bytes) -> Answer:
        scope = self.name
        begun = self.transport.request("POST", self._url("blobs/uploads/"), scope=scope)
        self._expect(begun, 202, "an upload")
        location = self.transport.absolute(begun.headers.get("location", ""))
        joint = "&" if urllib.parse.urlsplit(location).query else "?"
        answer = self.transport.request(
            "PUT",
            f"{location}{joint}{urllib.parse.urlencode({'digest': digest})}",
            scope=scope,
            body=content,
            headers={"Content-Type": "application/octet-stream"},
        )
        if answer.status in (400, 404, 416) and b"DIGEST" not in answer.body.upper():
            raise BusyError(f"the registry lost an upload (HTTP {answer.status})")
        if answer.status == 400:
            raise BusyError("the bytes of an upload were changed on their way")
        self._expect(answer, 201, "a blob")
        check_digest(answer, digest, "a blob")
        return answer

    def _head(self, digest: str) -> Answer:
        """Reduced to what is asked: whether it is there, and how large."""
        answer = self.transport.request("HEAD", self._url(f"blobs/{digest}"), scope=self.name)
        size = answer.headers.get("content-length", "")
        return _found(int(size)) if answer.status == 200 and size.isdigit() else Answer(404, {}, b"")

    def _ask(
        self, method: str, url: str, *, body: bytes | None = None, headers: dict[str, str] | None = None, limit: int = 0
    ) -> Answer:
        sizes = {"limit": limit} if limit else {}
        return self.transport.patiently(
            lambda: self.transport.request(method, url, scope=self.name, body=body, headers=headers, **sizes)
        )

    def _expect(self, answer: Answer, status: int, what: str) -> None:
        if answer.status == status:
            return
        if answer.status == 404:
            raise OutsideError(f"the registry has no {quoted(self.name)} for {what}")
        raise OutsideError(f"the registry answers {answer.status} instead of {status} for {what}")

    def _url(self, path: str) -> str:
        return f"{self.transport.origin}/v2/{self.name}/{path}"


def _found(size: int) -> Answer:
    return Answer(200, {"content-length": str(size)}, b"")


def _tags(body: bytes) -> list[str]:
    try:
        said = json.loads(body)
        tags = said.get("tags") or []
    except (ValueError, AttributeError, RecursionError):
        raise OutsideError("the registry's list of tags is no JSON") from None
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
