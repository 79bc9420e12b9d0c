"""The one tree of errors that reach a client, each with its HTTP status and its place in OpenAI's error object.

Code raises these; the ingress alone turns them into an answer. None of them may carry a stack trace, a prompt or a key.
"""

from __future__ import annotations

from typing import ClassVar


class ApiError(Exception):
    """An error the client sees as `{"error": {"message", "type", "param", "code"}}`.

    `param` names the request's offending field in dotted form (`input[2].content`), or is None where none is to blame.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code if code is not None else self.default_code

    def body(self) -> dict[str, dict[str, str | None]]:
        """The answer's JSON body."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidRequest(ApiError):
    """The request cannot be served as it is; repeating it will not help."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_value"


class ContextLengthExceeded(InvalidRequest):
    """The rendered prompt, or the prompt and the asked-for output, do not fit the model's context."""

    default_code = "context_length_exceeded"


class RequestTooLarge(InvalidRequest):
    """The body is larger than the server accepts."""

    status = 413
    default_code = "request_too_large"


class ResponseNotFound(ApiError):
    """No such response for this tenant: never issued, deleted, or somebody else's. All three look the same."""

    status = 404
    type = "invalid_request_error"
    default_code = "response_not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Response with id '{response_id}' not found.", param="response_id")
        self.response_id = response_id


class ModelNotFound(ApiError):
    """No such model is served. In a request's body it is an `InvalidRequest` instead: clients repeat a 404."""

    status = 404
    type = "invalid_request_error"
    default_code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model '{model[:256]}' does not exist.", param="model")


class Overloaded(ApiError):
    """No engine can take the request now; a later try may succeed."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"
    retry_after_s: ClassVar[int] = 2


class ServerError(ApiError):
    """Something failed on our side. The message never tells what a stack trace would."""

    status = 500
    default_code = "server_error"


class Unavailable(ServerError):
    """A part that this request needs (an engine, the store) is not there at the moment."""

    status = 503
    default_code = "service_unavailable"
    retry_after_s: ClassVar[int] = 2
