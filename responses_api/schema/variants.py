"""Objects that a field `type` tells apart: which types of the published API are served, and which are known but not.

Unions are resolved here, by the JSON type of a value or by its `type`, never by trying the members one after the other:
so a mistake in an item is reported for that item alone, and the message can name a type that is not served.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """A JSON object in which every field is known and has exactly the published type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Variants:
    """The values of `type` in one place of a request; `noun` names that place in messages and in `VARIANTS`."""

    noun: str
    served: tuple[str, ...]
    not_served: frozenset[str]

    def check(self, value: Any) -> Any:
        """Let an object of a served type pass; a `BeforeValidator`.

        Raises:
            PydanticCustomError: of type `variant`, with this table's noun, for anything else.
        """
        if not isinstance(value, dict) or value.get("type") not in self.served:
            raise PydanticCustomError("variant", "not a served {noun}", {"noun": self.noun})
        return value


TEXT_PARTS = Variants("content part", ("input_text",), frozenset({"input_image", "input_file", "input_audio"}))
"""Parts of a message to the model and of a function's output."""

ASSISTANT_PARTS = Variants(
    "part of an assistant message",
    ("output_text", "refusal", "input_text"),
    frozenset({"input_image", "input_file", "input_audio"}),
)

ITEMS = Variants(
    "input item",
    ("message", "function_call", "function_call_output", "reasoning"),
    frozenset(
        {
            "additional_tools",
            "apply_patch_call",
            "apply_patch_call_output",
            "code_interpreter_call",
            "compaction",
            "compaction_trigger",
            "computer_call",
            "computer_call_output",
            "configuration_update",
            "custom_tool_call",
            "custom_tool_call_output",
            "file_search_call",
            "image_generation_call",
            "item_reference",
            "local_shell_call",
            "local_shell_call_output",
            "mcp_approval_request",
            "mcp_approval_response",
            "mcp_call",
            "mcp_list_tools",
            "program",
            "program_output",
            "shell_call",
            "shell_call_output",
            "tool_search_call",
            "tool_search_output",
            "web_search_call",
        }
    ),
)

TOOLS = Variants(
    "tool",
    ("function",),
    frozenset(
        {
            "apply_patch",
            "code_interpreter",
            "computer",
            "computer_use_preview",
            "custom",
            "file_search",
            "image_generation",
            "local_shell",
            "mcp",
            "namespace",
            "programmatic_tool_calling",
            "shell",
            "tool_search",
            "web_search",
            "web_search_2025_08_26",
            "web_search_preview",
            "web_search_preview_2025_03_11",
        }
    ),
)

TOOL_CHOICES = Variants(
    "tool choice",
    ("function",),
    frozenset(
        {
            "allowed_tools",
            "apply_patch",
            "code_interpreter",
            "computer",
            "computer_use",
            "computer_use_preview",
            "custom",
            "file_search",
            "image_generation",
            "mcp",
            "programmatic_tool_calling",
            "shell",
            "web_search_preview",
            "web_search_preview_2025_03_11",
        }
    ),
)

TEXT_FORMATS = Variants("text format", ("text", "json_object", "json_schema"), frozenset())

VARIANTS = {table.noun: table for table in (TEXT_PARTS, ASSISTANT_PARTS, ITEMS, TOOLS, TOOL_CHOICES, TEXT_FORMATS)}


def tag(name: str) -> str:
    """The union tag of a variant. No field has a name of this form, so a tag can be told from the steps of a path."""
    return f"<{name}>"


def by_type() -> Discriminator:
    """Choose a union's member by the object's `type`, which `Variants.check` has looked at before."""
    return Discriminator(lambda value: tag(value["type"]))


def string_or(other: Literal["array", "object"]) -> Discriminator:
    """Choose between a string and one other JSON type: the union's tags are `<string>` and `<array>` or `<object>`."""
    other_type = {"array": list, "object": dict}[other]

    def choose(value: Any) -> str | None:
        if isinstance(value, str):
            return tag("string")
        return tag(other) if isinstance(value, other_type) else None

    return Discriminator(
        choose,
        custom_error_type="wrong_json_type",
        custom_error_message=f"a string or an {other}",
    )
