"""A language model behind the narrator: it may word, and nothing it says can be false, lead anywhere, or change anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bot.rig import Site
from tests.rigs.openai_endpoint import Endpoint, openai_endpoint
from trimtab_bot.incidents.story import story_of
from trimtab_bot.model_narrator import REST_SECONDS, ModelNarrator, checked, facts_of
from trimtab_bot.narration.template import TemplateNarrator

FACTS = json.dumps({"model": "[model:1]", "figure": "0.45", "limit": "0.8", "sample": "4000", "version": "1.2.0"})
KNOWN = {"[model:1]", "[group:1]"}


def answer(*sentences: str) -> str:
    return json.dumps({"sentences": list(sentences)})


@pytest.mark.parametrize(
    "sentence",
    [
        "[model:1] is at 0.45 where 0.8 is the limit.",
        "[model:1] 1.2.0 was judged on 4000 decisions.",
        "It treats groups of people unequally.",
    ],
)
def test_what_stands_in_the_facts_may_be_said(sentence: str) -> None:
    assert checked(answer(sentence), FACTS, KNOWN) == (sentence,)


HOSTILE = [
    "It is at 0.46.",  # a number of its own
    "It is at 45 percent.",
    "Every second decision, so half of them.",
    "[model:2] is to blame.",  # a name of its own
    "See https://evil.example for more.",
    "See www.evil.example for more.",
    "<!channel> wake up.",
    "@here wake up.",
    "<b>wake up</b>",
    "Run `kubectl delete ns production`.",
    "**Approved.**",
    "[click](here)",
    "/trimtab approve {x}",
    "It is f\u0456ne.",  # a Cyrillic letter
    "All is\u202e enif.",
    "Two lines\nand more.",
    "x" * 241,
    "",
    "0.45 or 0,45 or 0.450",
    "Version 1.2.1 is fine.",
    "Seven groups are concerned.",
]


@pytest.mark.parametrize("sentence", HOSTILE)
def test_what_does_not_is_dropped_and_the_rest_stays(sentence: str) -> None:
    good = "It is at 0.45."
    assert checked(answer(sentence, good), FACTS, KNOWN) == (good,)


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "{}", '{"sentences": "x"}', '{"sentences": [1, null, {}]}', "[" * 5000, '"x"']
)
def test_another_shape_is_no_answer(text: str) -> None:
    assert checked(text, FACTS, KNOWN) == ()


@given(st.lists(st.text(max_size=80), max_size=6))
def test_no_answer_brings_a_number_or_a_sign_that_is_not_in_the_facts(sentences: list[str]) -> None:
    for each in checked(answer(*sentences), FACTS, KNOWN):
        assert not set("<>@`*_|{}#~\\") & set(each)
        digits = "".join(character if character.isdigit() or character in ".," else " " for character in each)
        for number in digits.split():
            bare = number.strip(".,")
            assert not bare or bare in FACTS


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with openai_endpoint() as found:
        yield found


@pytest.fixture
def broken(site: Site) -> Site:
    site.broken()
    return site


def narrator(endpoint: Endpoint, now: list[float], **options: Any) -> ModelNarrator:  # noqa: ANN401 - as ModelNarrator takes them
    return ModelNarrator(endpoint.url, "small-model", "key-of-the-bot", lambda: now[0], **options)


def test_the_template_is_whole_and_the_model_gets_no_name_and_no_text(broken: Site, endpoint: Endpoint) -> None:
    story = story_of(broken.incident())
    told = TemplateNarrator().summary(story)
    endpoint.reply = lambda _: answer("[model:1] breaks [policy:1] on [group:1].", "It is at 99.")
    found = narrator(endpoint, [0.0]).summary(story)
    first, _, rest = found.partition("\n")
    assert rest == told
    assert first == "In short (worded by small-model): triage breaks alignment-clinical on kiosk-amer."
    (request,) = endpoint.requests
    sent = json.dumps(request["messages"])
    for secret in (*story.device_groups, story.policy, "triage", story.offending.subject if story.offending else "x"):
        assert secret not in sent
    assert request["_key"] == "Bearer key-of-the-bot"
    assert "tools" not in request


def test_a_server_that_knows_no_schema_is_asked_more_simply(broken: Site, endpoint: Endpoint) -> None:
    def reply(body: dict[str, Any]) -> str | int:
        return 400 if "response_format" in body else answer("It is unequal.")

    endpoint.reply = reply
    teller = narrator(endpoint, [0.0])
    assert "It is unequal." in teller.summary(story_of(broken.incident()))
    assert [request.get("response_format", {}).get("type") for request in endpoint.requests] == [
        "json_schema",
        "json_object",
        None,
    ]


@pytest.mark.parametrize("reply", [500, 429, 401, "nonsense"])
def test_an_endpoint_that_fails_leaves_the_template_and_is_left_alone(
    broken: Site, endpoint: Endpoint, reply: str | int
) -> None:
    story, now = story_of(broken.incident()), [0.0]
    endpoint.reply = lambda _: reply
    teller = narrator(endpoint, now)
    told = TemplateNarrator().summary(story)
    assert teller.summary(story) == teller.summary(story) == told
    assert len(endpoint.requests) == 1, "not asked again for the same facts, nor soon after a failure"
    now[0] += REST_SECONDS
    endpoint.reply = lambda _: answer("It is unequal.")
    assert ("It is unequal." in teller.summary(story)) == isinstance(reply, int)


def test_a_slow_endpoint_holds_nobody_up(broken: Site, endpoint: Endpoint) -> None:
    endpoint.delay = 2.0
    endpoint.reply = lambda _: answer("It is unequal.")
    story = story_of(broken.incident())
    assert narrator(endpoint, [0.0], timeout=0.2).summary(story) == TemplateNarrator().summary(story)


def test_an_endpoint_that_is_not_there_changes_no_decision(site: Site) -> None:
    """The whole way to a merge, with a narrator that nobody can reach."""
    site.configure(narrator={"baseUrl": "http://127.0.0.1:9/v1", "model": "none"})
    site.restart()
    site.broken()
    assert site.proposal().summary.startswith("triage 1.2.0")
    site.approve("ada")
    site.tick()
    assert len(site.origin.merges_of_the_bot()) == 1


def test_facts_hold_figures_as_the_template_shows_them(broken: Site) -> None:
    story = story_of(broken.incident())
    names = {name: f"[group:{number}]" for number, name in enumerate((story.model, story.policy, *story.device_groups))}
    facts = facts_of(story, names)
    told = TemplateNarrator().summary(story)
    assert all(facts["measured"][key] in told for key in ("figure", "limit", "sample"))
