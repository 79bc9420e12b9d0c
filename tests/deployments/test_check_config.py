from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.check_config import ConfigError, load
from tests.support.served import ROOT

COMMITTED: dict[str, Any] = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
ENGINES = ("applications", 0)
GATEWAY = ("applications", 1)
MODEL = (*ENGINES, "args", "models", 0)
DEPLOYMENT = (*ENGINES, "deployments", 0)
AT = "applications[0].deployments[0]"


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The committed configuration with one setting set."""
    config = copy.deepcopy(COMMITTED)
    at: Any = config
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return config


def problems(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a file, line by line, without its name."""
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]


def test_the_committed_configuration_passes() -> None:
    assert load(ROOT / "serve_config.yaml") == COMMITTED


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("http_option",), {}, "http_option: unknown setting; did you mean 'http_options'?"),
        (("http_options", "prot"), 1, "http_options.prot: unknown setting; did you mean 'port'?"),
        ((*ENGINES, "arg"), {}, "applications[0].arg: unknown setting; did you mean 'args'?"),
        (
            (*DEPLOYMENT, "num_replica"),
            2,
            f"{AT}.num_replica: unknown setting; did you mean 'num_replicas'?",
        ),
        (
            (*DEPLOYMENT, "ray_actor_options"),
            {"num_cpu": 1},
            f"{AT}.ray_actor_options.num_cpu: unknown setting; did you mean 'num_cpus'?",
        ),
        (
            (*DEPLOYMENT, "autoscaling_config"),
            {"min_replica": 1},
            f"{AT}.autoscaling_config.min_replica: unknown setting; did you mean 'min_replicas'?",
        ),
        (
            (*DEPLOYMENT, "request_router_config"),
            {"request_router_clas": "x"},
            f"{AT}.request_router_config.request_router_clas: unknown setting; did you mean 'request_router_class'?",
        ),
        (
            (*ENGINES, "args", "model"),
            [],
            "applications[0].args.model: unknown setting; did you mean 'models'?",
        ),
        (
            (*MODEL, "tool_parsr"),
            "hermes",
            "applications[0].args.models[0].tool_parsr: unknown setting; did you mean 'tool_parser'?",
        ),
        (
            (*GATEWAY, "args", "engine_app"),
            "engines",
            "applications[1].args.engine_app: unknown setting; did you mean 'engines_app'?",
        ),
        (
            (*GATEWAY, "args", "store", "pth"),
            "x",
            "applications[1].args.store.pth: unknown setting; did you mean 'path'?",
        ),
        (("zzz",), 1, "zzz: unknown setting"),
    ],
)
def test_a_misspelt_setting_is_named_with_a_hint(
    tmp_path: Path, path: tuple[str | int, ...], value: Any, problem: str
) -> None:
    assert problems(tmp_path, yaml.safe_dump(changed(path, value))) == [problem]


@pytest.mark.parametrize(
    ("path", "value", "at"),
    [
        (("http_options", "port"), "x", "http_options.port: "),
        (("http_options",), None, "http_options: "),
        (("applications",), None, "applications: "),
        (ENGINES, None, "applications[0]: "),
        ((*ENGINES, "args"), None, "applications[0].args: "),
        ((*ENGINES, "deployments"), None, "applications[0].deployments: "),
        ((*ENGINES, "import_path"), None, "applications[0].import_path: "),
        ((*DEPLOYMENT, "num_replicas"), "two", "applications[0].deployments[0]: "),
        ((*DEPLOYMENT, "autoscaling_config"), {"max_replicas": 2}, "applications[0].deployments[0]: "),
        ((*MODEL, "tensor_parallel_size"), 0, "applications[0].args.models[0].tensor_parallel_size: "),
        ((*MODEL, "engine"), "vlm", "applications[0].args.models[0]: "),
        ((*MODEL, "env"), {"A": 1}, "applications[0].args.models[0].env.A: "),
        ((*MODEL, "name"), "a b", "applications[0].args: "),
        ((*ENGINES, "args", "models"), [], "applications[0].args.models: "),
        ((*GATEWAY, "args", "store", "kind"), "redis", "applications[1].args.store.kind: "),
        ((*GATEWAY, "args", "keepalive_s"), 0, "applications[1].args.keepalive_s: "),
        ((*GATEWAY, "name"), "engines", "applications: "),
    ],
)
def test_a_wrong_value_is_named_by_its_place(tmp_path: Path, path: tuple[str | int, ...], value: Any, at: str) -> None:
    assert problems(tmp_path, yaml.safe_dump(changed(path, value)))[0].startswith(at)


def test_a_gateway_that_asks_an_application_which_is_not_there_is_named(tmp_path: Path) -> None:
    config = changed((*GATEWAY, "args", "engines_app"), "engine")
    assert problems(tmp_path, yaml.safe_dump(config)) == [
        "applications[1].args.engines_app: no application is named 'engine'; did you mean 'engines'?"
    ]


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    config = changed(("http_options", "prot"), 1)
    config["applications"][1]["args"]["store"]["pth"] = "x"
    found = problems(tmp_path, yaml.safe_dump(config))
    assert [line.partition(":")[0] for line in found] == ["http_options.prot", "applications[1].args.store.pth"]


def test_an_application_of_somebody_elses_may_stand_beside_ours(tmp_path: Path) -> None:
    config = copy.deepcopy(COMMITTED)
    config["applications"].append({"name": "own", "route_prefix": "/own", "import_path": "own:app", "args": {"a": 1}})
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    assert load(path) == config


@pytest.mark.parametrize("text", ["a: [", "- a", "", "a: !!python/object:x {}", "\t"])
def test_what_is_no_yaml_or_no_mapping_is_told(tmp_path: Path, text: str) -> None:
    assert problems(tmp_path, text)


def test_what_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load(path)
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load(path)


def test_the_command_exits_with_0_or_says_what_is_wrong_and_exits_with_1(tmp_path: Path) -> None:
    good = run(str(ROOT / "serve_config.yaml"))
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    assert run().returncode == 0
    path = tmp_path / "config.yaml"
    path.write_text("http_option: {}")
    bad = run(str(path))
    assert bad.returncode == 1
    assert bad.stderr.splitlines()[0].startswith(f"{path}: ")
    assert "did you mean 'http_options'?" in bad.stderr
    assert "Traceback" not in bad.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deployments.check_config", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
