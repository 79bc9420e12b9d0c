"""A request that was admitted: what the rest of the core needs of it, with nothing left to check."""

from __future__ import annotations

from typing import Any

import msgspec

from responses_api.records import OutputFormat
from responses_api.schema.response import Echo


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """What admission has to know of the served model.

    `aliases` are further names that requests may use; the response names the model as the request did.
    `calls_functions` is false where the engine has no parser for the model's calls.
    """

    name: str
    aliases: tuple[str, ...] = ()
    calls_functions: bool = True


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """An admitted request.

    `input_items` are the new items as the API lists them, with an `id` only where the client gave one. `echo` holds the
    API's defaults for silence; where the engine's own default is wanted instead, the field here is None.
    """

    echo: Echo
    input_items: list[dict[str, Any]]
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    output_format: OutputFormat = OutputFormat()
    reasoning_effort: str | None = None
