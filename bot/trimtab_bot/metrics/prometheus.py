"""Reads recorded rules from a Prometheus (or what speaks its HTTP API: Thanos, Mimir, VictoriaMetrics).

prometheus-api-client carries the requests and nothing more: it keeps only ``data.result`` of an answer, so the answer
is judged from the bytes that its session received, where warnings are still in it. Its own way to put labels into a
query does not escape them and is not used. Retries are made here, once, because an answer may ask for a pause
(Retry-After) that must not outlast the tick; the package's are switched off.

Nothing is followed to another address, environment variables and .netrc are not read (a proxy meant for the internet
would get the fleet's figures), and no message holds the credentials of a URL.
"""

from __future__ import annotations

import email.utils
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay

from trimtab_bot.metrics.answers import AnswerError, QueryError, Vector, read_vector, unusable_label
from trimtab_bot.metrics.promql import check_match, selector
from trimtab_config.rules.recording import MARKER, rules_digest, window_label
from trimtab_kernel.freshness import Stale, judge_freshness
from trimtab_kernel.problems import OutsideError, printable
from trimtab_kernel.rules import Dropped, Operation, Reading, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trimtab_kernel.freshness import Freshness
    from trimtab_kernel.rules import Query, Rule, Window

LOOKBACK = 300.0
"""Seconds within which the time of a series' newest sample is looked for; older than this, it is only known to be older."""
_RULES_KNOWN_FOR = 60.0  # seconds until the marker of the rules is asked for again
_TRANSIENT = (429, 500, 502, 503, 504)
_MAX_TOKEN = 16384


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """A base URL without credentials, and these apart."""

    url: str
    auth: tuple[str, str] | None


def parse_endpoint(url: str) -> _Endpoint:
    """Raises ValueError, whose message never repeats the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("expected a URL such as http://127.0.0.1:9090") from None
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or re.search(r"[\s\\]", url):
        raise ValueError("expected an http or https URL without query, such as http://127.0.0.1:9090")
    place = f"[{host}]" if ":" in host else host
    address = f"{parts.scheme}://{place}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"
    auth = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    return _Endpoint(address, auth)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class _TransientError(Exception):
    """Worth another try. ``retry_after`` in seconds where the other side named it."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class _UnusableError(Exception):
    """An answer that is not read to its end; another try would bring the same."""


class _BoundedSession(requests.Session):
    """A session that reads bodies up to a size and within a time, follows no redirect, and keeps the last answer."""

    def __init__(self, max_bytes: int, seconds: float) -> None:
        super().__init__()
        self.trust_env = False
        # Compressed bytes can grow a thousandfold, so none are asked for, and those that come anyway are refused.
        self.headers["Accept-Encoding"] = "identity"
        self.headers["User-Agent"] = "trimtab-bot"
        self._answer: _Answer | None = None
        self._max_bytes = max_bytes
        self._seconds = seconds

    def take(self) -> _Answer | None:
        """The answer to the last request, once. None where it did not come to an end."""
        answer, self._answer = self._answer, None
        return answer

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401 - as in requests
        deadline = time.monotonic() + self._seconds
        response = super().send(request, **{**options, "allow_redirects": False, "stream": True})
        try:
            # The package reads `content`, which is made from the socket only where `_content` is unset.
            response._content = self._read(response, deadline)
        finally:
            response.close()
        self._answer = _Answer(response.status_code, response.headers, response._content)
        return response

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise _UnusableError("the answer is compressed, which was not asked for")
        body = bytearray()
        # read1 returns what one read of the socket gave, so that a trickle cannot outlast the deadline.
        while chunk := response.raw.read1(65536, decode_content=False):
            body += chunk
            if len(body) > self._max_bytes:
                raise _UnusableError(f"the answer is larger than {self._max_bytes // 1024} KiB")
            if time.monotonic() > deadline:
                raise requests.exceptions.ReadTimeout
        return bytes(body)


class PrometheusSource:
    """A :class:`trimtab_bot.metrics.interface.MetricsSource` over a Prometheus that records `trimtab rules`.

    ``freshness_limit`` in seconds: older data are stale. ``timeout`` in seconds for one answer; with its retries one
    question takes at most ``patience`` seconds, plus one timeout. ``bearer_token_file`` is read for every question, so
    that a rotated token is used. Raises ValueError for a bad URL.
    """

    def __init__(
        self,
        url: str,
        *,
        freshness_limit: float,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        timeout: float = 10.0,
        patience: float = 20.0,
        attempts: int = 3,
        max_bytes: int = 32 * 1024 * 1024,
        bearer_token_file: Path | None = None,
        ca_file: Path | None = None,
    ) -> None:
        endpoint = parse_endpoint(url)
        self._url = endpoint.url
        self._freshness_limit = freshness_limit
        self._clock = clock
        self._timeout = timeout
        self._bearer_token_file = bearer_token_file
        self._session = _BoundedSession(max_bytes, timeout)
        if ca_file is not None:
            self._session.verify = str(ca_file)
        self._max_bytes = max_bytes
        # read=False: a timeout stays a timeout instead of becoming "retries used up".
        once = urllib3.Retry(0, read=False, redirect=False)
        self._client = PrometheusConnect(endpoint.url, auth=endpoint.auth, session=self._session, retry=once)
        self._retrying = Retrying(
            retry=retry_if_exception_type(_TransientError),
            stop=stop_after_attempt(attempts) | stop_before_delay(patience),
            wait=_pause,
            sleep=sleep,
            reraise=True,
        )
        self._rules_seen: dict[str, float] = {}

    @property
    def name(self) -> str:
        """The URL, without credentials."""
        return f"prometheus at {self._url}"

    def close(self) -> None:
        """Give back the connections."""
        self._client.close()

    def read(self, query: Query) -> Reading:
        """See :meth:`trimtab_bot.metrics.interface.MetricsSource.read`."""
        check_match(query)
        at = self._clock()
        self._check_rules(query.rule, query.window, at)
        rule = query.rule
        values = self._ask(selector(rule.recorded_name(query.window), query.match), at)
        newest = self._ask(f"last_over_time({selector(rule.newest_name, query.match)}[{LOOKBACK:.0f}s])", at)
        return _reading(rule, values, newest, at, self._freshness_limit)

    def _check_rules(self, rule: Rule, window: Window, at: float) -> None:
        """Raises OutsideError where the rules behind the answer are missing or not the ones that this program knows."""
        needed: dict[str, Window | None] = {window_label(None): None}
        if rule.operation is Operation.INCREASE:
            needed[window.text] = window
        if all(at - self._rules_seen.get(label, float("-inf")) <= _RULES_KNOWN_FOR for label in needed):
            return
        loaded = {(labels.get("window"), labels.get("digest")) for labels, _ in self._ask(MARKER, at).series}
        for label, each in needed.items():
            if (label, rules_digest(each)) in loaded:
                self._rules_seen[label] = at
                continue
            self._rules_seen.pop(label, None)
            what = "are not of this version" if label in {found for found, _ in loaded} else "are missing"
            raise OutsideError(
                f"{self.name}: the recording rules of window {label} {what}; load what"
                f" 'trimtab rules --window {window.text}' prints as a rules file (after a start they need one interval)"
            )

    def _ask(self, expression: str, at: float) -> Vector:
        """One instant query, with retries. Raises OutsideError."""
        try:
            answer = self._retrying(self._fetch, expression, at)
        except _TransientError as error:
            raise OutsideError(f"{self.name}: {error.reason}", error.retry_after) from None
        try:
            if answer.status == 200:
                return read_vector(answer.body)
            reason = _refusal(answer)
        except AnswerError as error:
            kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            hint = "; is the URL the root of Prometheus' HTTP API?" if "json" not in kind else ""
            reason = f"{error}{hint}"
        except QueryError as error:
            reason = f"the query failed: {error}"
        raise OutsideError(f"{self.name}: {reason}")

    def _fetch(self, expression: str, at: float) -> _Answer:
        """One try. Raises _TransientError for what may pass, OutsideError for what will not."""
        self._session.take()
        if self._bearer_token_file is not None:
            self._session.headers["Authorization"] = f"Bearer {_read_token(self._bearer_token_file)}"
        failure: Exception | None = None
        try:
            self._client.custom_query(expression, params={"time": f"{at:.3f}"}, timeout=self._timeout)
        except PrometheusApiClientException as error:
            failure = error  # a status other than 200
        except (_UnusableError, requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            failure = error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            failure = error  # the package tried to read an answer that is none
        answer = self._session.take()
        if answer is None:
            raise self._broken(failure) from None
        if answer.status in _TRANSIENT:
            raise _TransientError(_refusal(answer), _retry_after(answer.headers, self._clock()))
        return answer

    def _broken(self, failure: Exception | None) -> Exception:
        """Why no answer came to its end. The text of a client's exception is not shown: it may repeat the URL."""
        match failure:
            case _UnusableError():
                return OutsideError(f"{self.name}: {failure}")
            case requests.exceptions.SSLError():
                return OutsideError(f"{self.name}: its certificate is not trusted; name the file of its issuer")
            case requests.exceptions.Timeout() | urllib3.exceptions.TimeoutError():
                return _TransientError(f"no complete answer within {self._timeout:g} s")
            case requests.RequestException() | urllib3.exceptions.HTTPError() | OSError():
                return _TransientError("no connection, or it broke off")
            case None:
                return _TransientError("no answer")
            case _:
                return failure


def _pause(state: RetryCallState) -> float:
    """Seconds before the next try: what the other side asked for, else half a second, doubled each time."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, _TransientError) and error.retry_after is not None:
        return error.retry_after
    return float(0.5 * 2 ** (state.attempt_number - 1))


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds of a Retry-After header (RFC 9110 §10.2.3: a number of seconds, or a date). None where it has none."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def _refusal(answer: _Answer) -> str:
    """What a status other than 200 means, with what Prometheus says of it."""
    status = answer.status
    if 300 <= status < 400:
        return f"it redirects elsewhere ({status}), which is not followed; give the URL that it redirects to"
    if status in (401, 403):
        return f"it refuses us ({status}); check the credentials"
    if status == 404:
        return "it has no query API there (404); is the URL the root of Prometheus' HTTP API?"
    try:
        read_vector(answer.body)
    except QueryError as error:
        return f"status {status}, {error}"
    except AnswerError:
        pass
    return f"status {status}"


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_TOKEN + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise OutsideError(f"cannot read the token file {printable(str(path))}") from None
    if not text or len(text) > _MAX_TOKEN or not text.isprintable():
        raise OutsideError(f"expected one line with a token in {printable(str(path))}")
    return text


def _reading(rule: Rule, values: Vector, newest: Vector, at: float, limit: float) -> Reading:
    """Join the values of a rule with the times of their newest samples."""
    times: dict[tuple[str, ...], float] = {}
    for labels, value in newest.series:
        key = tuple(labels.get(name, "") for name in rule.by)
        times[key] = max(value, times.get(key, value))
    warnings = {*values.warnings, *newest.warnings}
    samples: dict[tuple[str, ...], Sample] = {}
    dropped = []
    for labels, value in values.series:
        kept = {name: labels.get(name, "") for name in rule.by}
        if why := unusable_label(kept):
            dropped.append(Dropped({name: printable(text, 80) for name, text in kept.items()}, why))
            continue
        if not _finite(value):
            dropped.append(Dropped(kept, f"{rule.metric.name} is not a finite number"))
            continue
        key = tuple(kept.values())
        largest = value
        if key in samples:
            warnings.add(f"two series of {rule.name} with the same labels; are there replicas without deduplication?")
            largest = max(value, samples[key].value)
        samples[key] = Sample(kept, largest, rule.observations(largest), _freshness(times.get(key), at, limit))
    infos = {*values.infos, *newest.infos}
    return Reading(tuple(samples.values()), at, tuple(sorted(warnings)), tuple(dropped), tuple(sorted(infos)))


def _finite(value: float) -> bool:
    return float("-inf") < value < float("inf")


def _freshness(newest: float | None, at: float, limit: float) -> Freshness:
    if newest is None or not _finite(newest):
        return Stale(at - LOOKBACK)
    return judge_freshness(newest, at, limit)
