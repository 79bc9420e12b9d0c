from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment

from deployments.engines.embedded_model import (
    EMBEDDED,
    TEMPLATES,
    EmbeddedModel,
    EmbeddedModelError,
    cache_dir,
    prepare,
    resolve_model,
)

SMOLLM2 = EMBEDDED["smollm2-135m-instruct"]
PROJECT = Path(__file__).resolve().parents[3]

CONVERTING = """
import sys, time
from pathlib import Path
from deployments.engines.embedded_model import EMBEDDED, prepare

def convert(source, target):
    (target / "first").write_text("half")
    print("converting", flush=True)
    {work}
    (target / "second").write_text("whole")

print(prepare("m", EMBEDDED["smollm2-135m-instruct"], cache=Path(sys.argv[1]), convert=convert), flush=True)
"""


def converter(cache: Path, *, work: str) -> subprocess.Popen[str]:
    """A process that converts with `work` in the middle of it, and prints when it comes to that."""
    command = [sys.executable, "-c", CONVERTING.format(work=work), str(cache)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def write_files(source: Path, target: Path) -> None:
    (target / "first").write_text("whole")
    (target / "second").write_text("whole")


def test_a_name_that_is_not_embedded_is_returned_as_it_is() -> None:
    assert resolve_model("Qwen/Qwen3-8B") == "Qwen/Qwen3-8B"
    assert resolve_model("/models/mine") == "/models/mine"


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_RESPONSES_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("RAY_RESPONSES_CACHE")
    assert cache_dir() == Path.home() / ".cache" / "ray-responses"


def test_a_folder_is_converted_once_and_then_found(tmp_path: Path) -> None:
    lines: list[str] = []
    first = prepare("m", SMOLLM2, cache=tmp_path, convert=write_files, report=lines.append)
    again = prepare("m", SMOLLM2, cache=tmp_path, convert=lambda source, target: pytest.fail("converted twice"))
    assert first == again
    assert sorted(path.name for path in first.iterdir()) == ["chat_template.jinja", "first", "second"]
    assert {path.stat().st_mode & 0o777 for path in first.iterdir()} == {0o644}
    assert lines[-1] == "m: done"


def test_a_failed_conversion_leaves_no_folder(tmp_path: Path) -> None:
    def fail(source: Path, target: Path) -> None:
        (target / "first").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        prepare("m", SMOLLM2, cache=tmp_path, convert=fail)
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_a_conversion_that_was_killed_is_redone(tmp_path: Path) -> None:
    with converter(tmp_path, work="time.sleep(60)") as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "converting\n"
        killed.send_signal(signal.SIGKILL)
    folder = prepare("m", SMOLLM2, cache=tmp_path, convert=write_files)
    assert (folder / "first").read_text() == "whole"
    assert [path for path in tmp_path.iterdir() if not path.name.startswith(".")] == [folder]


def test_two_processes_at_once_convert_once(tmp_path: Path) -> None:
    both = [converter(tmp_path, work="time.sleep(1)") for _ in range(2)]
    said = [process.communicate(timeout=60)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(len(lines) for lines in said) == [1, 2], "one converts, the other waits for its folder"
    assert said[0][-1] == said[1][-1]


def test_another_source_or_template_gets_another_folder(tmp_path: Path) -> None:
    package = tmp_path / "a_package"
    package.mkdir()
    (package / "model.gguf").write_bytes(b"12345")
    (tmp_path / "cache").mkdir()
    first = prepare("m", SMOLLM2, cache=tmp_path / "cache", convert=write_files)
    sys.path.insert(0, str(tmp_path))
    try:
        other = EmbeddedModel("a-package", "a_package", "model.gguf", "smollm2.jinja")
        assert prepare("m", other, cache=tmp_path / "cache", convert=write_files) != first
    finally:
        sys.path.remove(str(tmp_path))


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    missing = EmbeddedModel("no-such-package", "no_such_package", "model.gguf", "smollm2.jinja")
    with pytest.raises(EmbeddedModelError, match="pip install no-such-package"):
        prepare("m", missing, cache=tmp_path, convert=write_files)


# --- the chat template ---


def tojson(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def compiled(template: str) -> Any:
    """A template as transformers compiles it."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = tojson
    return environment.from_string(template)


@cache
def original() -> Any:
    """The template within the GGUF file."""
    gguf = pytest.importorskip("gguf")
    return compiled(gguf.GGUFReader(SMOLLM2.source()).fields["tokenizer.chat_template"].contents())


@cache
def ours() -> Any:
    return compiled((TEMPLATES / SMOLLM2.template).read_text(encoding="utf-8"))


def said(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


PLAIN = [
    list(roles) for length in range(1, 5) for roles in itertools.product(("system", "user", "assistant"), repeat=length)
]


@pytest.mark.parametrize("prompt", [True, False])
def test_plain_conversations_render_as_the_models_own_template_renders_them(prompt: bool) -> None:
    for roles in PLAIN:
        messages = [said(role, f" {role} {n} \n<b> é {{{{x}}}}\n") for n, role in enumerate(roles)]
        wanted = original().render(messages=messages, add_generation_prompt=prompt)
        assert ours().render(messages=messages, add_generation_prompt=prompt) == wanted


def test_reasoning_is_ignored_and_no_content_is_nothing() -> None:
    messages = [said("user", "hi"), said("assistant", "ho", reasoning="hm", reasoning_content="hm"), said("user", None)]
    plain = [said("user", "hi"), said("assistant", "ho"), said("user", "")]
    assert ours().render(messages=messages) == original().render(messages=plain)


WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}


def test_tools_are_told_in_the_system_message() -> None:
    default = ours().render(messages=[said("user", "hi")], tools=[WEATHER], add_generation_prompt=True)
    assert default.startswith(
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face\n"
    )
    own = ours().render(messages=[said("system", "Be brief."), said("user", "hi")], tools=[WEATHER])
    assert own.startswith("<|im_start|>system\nBe brief.\n\n# Tools\n")
    assert own.count("Be brief.") == 1
    for text in (default, own):
        assert f"<tools>\n{tojson(WEATHER)}\n</tools>" in text
        assert '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>' in text
        assert text.count("<|im_start|>system") == 1


def test_calls_and_their_results_are_rendered_in_blocks() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"city": "Orléans"}}},
        {"id": "c2", "type": "function", "function": {"name": "g", "arguments": '{"n": 1}'}},
    ]
    text = ours().render(
        messages=[
            said("user", "go"),
            said("assistant", None, tool_calls=calls),
            said("tool", "sunny", tool_call_id="c1"),
            said("tool", "one", tool_call_id="c2"),
            said("user", "thanks"),
        ],
        tools=[WEATHER],
    )
    assert text.partition("go<|im_end|>\n")[2] == (
        "<|im_start|>assistant\n"
        '<tool_call>\n{"name": "f", "arguments": {"city": "Orléans"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "g", "arguments": {"n": 1}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\nsunny\n</tool_response>\n"
        "<tool_response>\none\n</tool_response><|im_end|>\n"
        "<|im_start|>user\nthanks<|im_end|>\n"
    )
