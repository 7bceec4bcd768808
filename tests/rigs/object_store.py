"""An object store on loopback, as much of the S3 API as it takes to list a bucket and read what is in it; any login is taken."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_WHEN = "Sun, 22 Nov 2026 12:00:00 GMT"


def _tag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: str
    objects: Mapping[str, bytes]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).removeprefix("/").partition("/")
        query = parse_qs(url.query, keep_blank_values=True)
        if bucket != self.bucket:
            self._send(404, _error("NoSuchBucket"))
        elif key:
            content = self.objects.get(key)
            if content is None:
                self._send(404, _error("NoSuchKey"))
            else:
                self._send(200, content, {"ETag": _tag(content), "Last-Modified": _WHEN}, "application/octet-stream")
        elif "location" in query:
            self._send(200, f'<LocationConstraint xmlns="{_NAMESPACE}">us-east-1</LocationConstraint>'.encode())
        else:
            self._send(200, self._listing(query.get("prefix", [""])[0]))

    def _listing(self, prefix: str) -> bytes:
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>2026-11-22T12:00:00.000Z</LastModified>"
            f"<ETag>{escape(_tag(content))}</ETag><Size>{len(content)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key, content in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return (
            f'<ListBucketResult xmlns="{_NAMESPACE}"><Name>{self.bucket}</Name><Prefix>{escape(prefix)}</Prefix>'
            f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
        ).encode()

    def _send(
        self, status: int, content: bytes, headers: Mapping[str, str] | None = None, kind: str = "application/xml"
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """A line for each request would bury what matters."""


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>there is none</Message></Error>".encode()


@contextmanager
def object_store(bucket: str, objects: Mapping[str, bytes]) -> Iterator[str]:
    """Serves one bucket of at most 1,000 objects; gives host and port. ``objects`` may change meanwhile."""
    handler = type("Handler", (_Handler,), {"bucket": bucket, "objects": objects})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="object-store", daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
