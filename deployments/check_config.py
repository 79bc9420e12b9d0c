"""Holds a Serve config file to what Serve and the applications really read, before anything starts.

Serve ignores keys that it does not know, at every level; a misspelt `num_replica` would silently mean one replica. Here
every key must be known, and the `args` of the two applications are validated by their own models.

`python -m deployments.check_config FILE` prints what is wrong and exits with 1, or exits with 0.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from pydantic import BaseModel, ValidationError

from deployments.config import EnginesSettings, GatewaySettings

_ARGS: dict[str, type[BaseModel]] = {
    "deployments.app:build_engines": EnginesSettings,
    "deployments.app:build_gateway": GatewaySettings,
}


class ConfigError(Exception):
    """The file cannot be served. The message has one line a problem, each headed by the setting's path."""


def load(path: Path) -> dict[str, Any]:
    """The file's content, checked.

    Raises:
        ConfigError: the file is not there, no YAML, or has unknown or wrong settings.
    """
    try:
        config: Any = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: not a mapping")
    problems = [*_serve_problems(config), *_args_problems(config)] or _application_problems(config)
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))
    return config


def _serve_problems(config: dict[str, Any]) -> list[str]:
    # Serve's schema is imported late: it costs seconds, and a missing file should be told at once.
    from ray.serve.config import AutoscalingConfig, GangSchedulingConfig, RequestRouterConfig
    from ray.serve.schema import ServeDeploySchema

    # Serve's schema takes any mapping for these, and drops what it does not know later.
    nested = {
        "autoscaling_config": AutoscalingConfig,
        "request_router_config": RequestRouterConfig,
        "gang_scheduling_config": GangSchedulingConfig,
    }
    if problems := _schema_problems(config, ServeDeploySchema):
        return problems
    for at, deployment in _deployments(config):
        for key, model in nested.items():
            if isinstance(settings := deployment.get(key), dict):
                problems += _schema_problems(settings, model, at=f"{at}.{key}")
                problems += [] if problems else _model_problems(settings, model, at=f"{at}.{key}")
    return problems or _model_problems(config, ServeDeploySchema)


def _application_problems(config: dict[str, Any]) -> list[str]:
    """A gateway that asks an application which is not there would wait for its models for ever."""
    problems = []
    names = [app.get("name", "default") for app in config["applications"]]
    for index, app in enumerate(config["applications"]):
        if _ARGS.get(app["import_path"]) is GatewaySettings:
            asked = GatewaySettings.model_validate(app.get("args", {})).engines_app
            if asked not in names:
                hint = _hint(asked, names)
                problems.append(f"applications[{index}].args.engines_app: no application is named {asked!r}{hint}")
    return problems


def _deployments(config: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every deployment's own settings, with their path."""
    return [
        (f"applications[{i}].deployments[{j}]", deployment)
        for i, app in enumerate(config.get("applications", []))
        for j, deployment in enumerate(app.get("deployments", []))
    ]


def _schema_problems(settings: dict[str, Any], model: type[BaseModel], *, at: str = "") -> list[str]:
    schema = model.model_json_schema()
    _make_strict(schema)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(settings)
    return [_join(at, line) for error in errors for line in _describe(error)]


def _make_strict(schema: Any) -> None:
    """Forbid, everywhere below, the properties that the schema does not name."""
    if isinstance(schema, dict):
        if "properties" in schema:
            schema["additionalProperties"] = False
        for part in schema.values():
            _make_strict(part)
    elif isinstance(schema, list):
        for part in schema:
            _make_strict(part)


def _describe(error: jsonschema.ValidationError) -> list[str]:
    """The problem by the setting's path: of alternatives, the ones that came furthest into the file."""
    if error.context:
        deepest = max(len(inner.absolute_path) for inner in error.context)
        nested = [inner for inner in error.context if len(inner.absolute_path) == deepest and inner.validator != "type"]
        if nested:
            return [line for inner in nested for line in _describe(inner)]
    at = _path(error.absolute_path)
    if error.validator == "additionalProperties" and isinstance(error.schema, dict):
        known: list[str] = list(error.schema["properties"])
        unknown = [str(key) for key in error.instance if key not in known]  # type: ignore[union-attr] # a mapping
        return [f"{_join(at, key)}: unknown setting{_hint(key, known)}" for key in unknown]
    return [f"{at}: {error.message}"]


def _args_problems(config: dict[str, Any]) -> list[str]:
    problems = []
    applications = config.get("applications")
    for index, app in enumerate(applications if isinstance(applications, list) else []):
        model = _ARGS.get(app.get("import_path", "")) if isinstance(app, dict) else None
        if model is None:
            continue
        problems += _model_problems(app.get("args", {}), model, at=f"applications[{index}].args")
    return problems


def _model_problems(settings: Any, model: type[BaseModel], *, at: str = "") -> list[str]:
    """What the model itself objects to, beyond its JSON schema."""
    try:
        model.model_validate(settings)
    except ValidationError as exc:
        known = _property_names(model.model_json_schema())
        return [f"{_join(at, _path(_settings_path(e['loc'])))}: {_reason(e, known)}".lstrip(": ") for e in exc.errors()]
    return []


def _property_names(schema: Any) -> set[str]:
    """The names of all settings in a schema, at every level."""
    if isinstance(schema, list):
        return {name for part in schema for name in _property_names(part)}
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", {})) | _property_names(list(schema.values()))


def _settings_path(loc: tuple[int | str, ...]) -> list[int | str]:
    """Where an error is, without the name of the engine that pydantic puts after a model's place in the list."""
    return [part for i, part in enumerate(loc) if i < 2 or loc[i - 2] != "models"]


def _reason(error: Any, known: set[str]) -> str:
    if error["type"] == "extra_forbidden":
        key = error["loc"][-1]
        return f"unknown setting{_hint(key, sorted(known - {key}))}"
    return str(error["msg"]).removeprefix("Value error, ")


def _path(parts: Any) -> str:
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else _join(path, part)
    return path


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key and not key.startswith("[") else f"{path}{key}"


def _hint(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def main() -> int:
    """The command line."""
    try:
        load(Path(sys.argv[1] if len(sys.argv) > 1 else "serve_config.yaml"))
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
