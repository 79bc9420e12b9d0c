"""The events against the published client's types: the same names, the same fields, the same types."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from responses_api.schema.events import TERMINAL_EVENTS, FunctionCallArgumentsDone, StreamEvent, name_of
from tests.responses_api.published import EVENT_TYPES

EVENTS: list[type[StreamEvent]] = list(get_args(StreamEvent))
BEYOND_THE_CLIENTS_TYPES: dict[type[StreamEvent], set[str]] = {FunctionCallArgumentsDone: {"name"}}


@pytest.mark.parametrize("event_type", EVENTS)
def test_an_event_has_exactly_the_published_fields(event_type: type[StreamEvent]) -> None:
    published = EVENT_TYPES[name_of(event_type)].model_fields
    ours = {field.name for field in msgspec.structs.fields(event_type)} | {"type"}
    assert ours - BEYOND_THE_CLIENTS_TYPES.get(event_type, set()) == set(published)
    assert all(field.is_required() for field in published.values())


@pytest.mark.parametrize("event_type", EVENTS)
def test_an_event_is_frozen_and_numbered_first(event_type: type[StreamEvent]) -> None:
    assert event_type.__struct_config__.frozen
    assert msgspec.structs.fields(event_type)[0].name == "sequence_number"


def test_no_two_events_share_a_name() -> None:
    assert len({name_of(event_type) for event_type in EVENTS}) == len(EVENTS)


def test_the_terminal_events_are_those_of_a_response_that_ended() -> None:
    names = [name_of(event_type) for event_type in TERMINAL_EVENTS]
    assert names == ["response.completed", "response.incomplete", "response.failed"]
