from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from deployments.config import EnginesSettings, GatewaySettings, ScriptedSettings, StoreSettings, VllmModelSettings
from tests.support.served import ROOT

VLLM = {"name": "qwen", "model": "Qwen/Qwen3-8B"}
SCRIPTED = {"name": "echo", "engine": "scripted"}


def engines(*models: Any) -> EnginesSettings:
    return EnginesSettings.model_validate({"models": list(models)})


def problem(model: type[BaseModel], settings: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(settings)
    return str(caught.value)


def test_a_model_is_vllms_unless_it_says_otherwise() -> None:
    one, other = engines(VLLM, SCRIPTED).models
    assert isinstance(one, VllmModelSettings)
    assert isinstance(other, ScriptedSettings)
    assert (one.engine, one.accelerator, one.env, one.tensor_parallel_size) == ("vllm", "auto", {}, 1)


@pytest.mark.parametrize("name", ["a", "Qwen/Qwen3-8B", "org/sub/m:1.5_b-c", "7b"])
def test_names_like_those_of_hubs_are_good(name: str) -> None:
    assert engines({**SCRIPTED, "name": name}).models[0].name == name


@pytest.mark.parametrize("name", ["", " ", "a b", "/a", "-a", "a\n", "ü", "a" * 257])
def test_names_that_could_not_be_asked_for_are_refused(name: str) -> None:
    assert "models" in problem(EnginesSettings, {"models": [{**SCRIPTED, "name": name}]})


@pytest.mark.parametrize(
    "names", [("echo", "echo"), ("a/b", "a--b"), ("Catalogue",)], ids=["equal", "equal as deployments", "the root's"]
)
def test_a_name_that_is_taken_is_refused(names: tuple[str, ...]) -> None:
    given = [{**SCRIPTED, "name": name} for name in names]
    assert f"the name {names[0]!r} is taken" in problem(EnginesSettings, {"models": given})


def test_there_is_at_least_one_model() -> None:
    assert "at least 1 item" in problem(EnginesSettings, {"models": []})


@pytest.mark.parametrize("models", [None, "echo", {"name": "echo"}, ["echo"], [None]])
def test_models_are_a_list_of_mappings(models: Any) -> None:
    assert "models" in problem(EnginesSettings, {"models": models})


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (EnginesSettings, {"models": [VLLM], "modles": []}),
        (EnginesSettings, {"models": [{**VLLM, "tool_parsr": "hermes"}]}),
        (EnginesSettings, {"models": [{**SCRIPTED, "model": "x"}]}),
        (GatewaySettings, {"engine_app": "engines"}),
        (GatewaySettings, {"store": {"pth": "x"}}),
    ],
)
def test_unknown_settings_are_refused(model: type[BaseModel], settings: Any) -> None:
    assert "Extra inputs are not permitted" in problem(model, settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"max_request_bytes": 1023},
        {"keepalive_s": 0},
        {"store": {"kind": "redis"}},
        {"engines_app": None},
    ],
)
def test_values_out_of_bounds_are_refused(settings: Any) -> None:
    assert next(iter(settings)) in problem(GatewaySettings, settings)


def test_nothing_changes_after_start() -> None:
    with pytest.raises(ValidationError):
        GatewaySettings().keepalive_s = 3


def readme_settings(heading: str) -> dict[str, str]:
    """The settings in the README's table under a heading, each with its default as it is written there."""
    _, _, rest = (ROOT / "README.md").read_text().partition(f"### {heading}")
    table = rest.partition("\n#")[0].partition("\n\n| ")[2].partition("\n\n")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    return {name: default.strip() for names, _, default in rows for name in re.findall(r"`([a-z_.]+)`", names)}


def test_every_setting_of_a_model_is_in_the_readme_and_no_other() -> None:
    assert set(readme_settings("Settings of a model")) == {
        *VllmModelSettings.model_fields,
        *ScriptedSettings.model_fields,
    }


def test_every_setting_of_the_gateway_is_in_the_readme_with_its_default() -> None:
    documented = readme_settings("Settings of the gateway")
    fields: dict[str, Any] = {f"store.{name}": field.default for name, field in StoreSettings.model_fields.items()}
    fields |= {name: field.default for name, field in GatewaySettings.model_fields.items() if name != "store"}
    assert documented.keys() == fields.keys()
    for name, default in fields.items():
        written = documented[name].strip("`")
        assert written == (f"{default:g}" if isinstance(default, float) else str(default)), name
