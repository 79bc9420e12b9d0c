"""Input that tells the scripted engine what to say."""

from __future__ import annotations

import json
from typing import Any


def script(*steps: dict[str, Any], **options: Any) -> str:
    """Text with a script for one turn."""
    return "Please @script " + json.dumps({"steps": steps, **options}) + " now."


def scripts(*turns: list[dict[str, Any]]) -> str:
    """Text with a script for each of several turns: the model's calls, their outputs, its answer."""
    return "Please @script " + json.dumps([{"steps": steps} for steps in turns]) + " now."


def long_script() -> str:
    """Text with a script that goes on for minutes, a chunk each 20 ms."""
    return script({"text": "word " * 4_000}, rate=50, chunk=1)
