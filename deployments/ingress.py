"""The gateway deployment: HTTP in, HTTP out.

Routes, status codes, headers and the translation of errors live here and nowhere else; what a request means is
`service`'s. The only file that knows FastAPI.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from deployments import loopback  # noqa: F401 - its import is its effect
from deployments.config import GatewaySettings
from deployments.engines.fleet import Fleet
from deployments.service import ResponsesService
from deployments.stores.open import open_store
from responses_api.errors import (
    ApiError,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    RequestTooLarge,
    ServerError,
    Unavailable,
)
from responses_api.inputs import Cancel
from responses_api.paging import input_items_page, page_query
from responses_api.sse import encode_response

log = logging.getLogger(__name__)

TENANT = "default"
"""The tenant of every request: this server does not tell its clients apart yet."""

http = FastAPI(title="Ray Responses", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)


class EventStream(StreamingResponse):
    """Server-sent events. `leave` is called when the client is served or gone, even before the first event was sent."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes], *, leave: Callable[[], None]) -> None:
        # Proxies must neither buffer nor cache; the charset is fixed by the format.
        super().__init__(frames, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream, as the framework asks of every response."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave()


class GatewayImpl:
    """One replica of the gateway. Holds the service; every method below is one route."""

    async def __init__(self, settings: GatewaySettings) -> None:  # type: ignore[misc] # Serve awaits it
        context = serve.get_replica_context()
        self._settings = settings
        self._service = ResponsesService(
            models=Fleet(settings.engines_app),
            store=await open_store(settings.store),
            peers=_Peers(context.deployment, context.app_name),
            replica_id=context.replica_id.unique_id,
            now=time.time,
            random=os.urandom,
            keepalive_s=settings.keepalive_s,
        )

    async def __del__(self) -> None:
        """Awaited by Serve when the replica stops, also if it never came up."""
        if (service := getattr(self, "_service", None)) is not None:
            await service.close()

    async def cancel_local(self, tenant: str, response_id: str) -> bool:
        """For the other replicas: stop a response if it runs here."""
        return await self._service.cancel_local(tenant, response_id)

    @http.post("/v1/responses")
    async def create(self, request: Request) -> Response:
        """Create a response; streamed where the body says so."""
        live, streamed = await self._service.create(TENANT, await self._body(request))

        def leave() -> None:
            # Nobody else can read this response while it runs: without its reader, generating on is waste.
            live.interrupt(Cancel())

        if streamed:
            return EventStream(self._service.frames(live), leave=leave)
        try:
            return _json(encode_response(await live.wait()))
        finally:
            leave()

    @http.get("/v1/responses/{response_id}")
    async def retrieve(self, response_id: str, request: Request) -> Response:
        """The response object."""
        for name, value in request.query_params.items():
            if name != "stream" or value.lower() != "false":
                message = f"Unsupported parameter: '{name[:64]}' is not served when a response is retrieved."
                raise InvalidRequest(message, param=name[:64], code="unsupported_parameter")
        return _json(encode_response(await self._service.retrieve(TENANT, response_id)))

    @http.delete("/v1/responses/{response_id}")
    async def delete(self, response_id: str) -> Response:
        """Remove a response."""
        await self._service.delete(TENANT, response_id)
        return _json(msgspec.json.encode({"id": response_id, "object": "response", "deleted": True}))

    @http.post("/v1/responses/{response_id}/cancel")
    async def cancel(self, response_id: str) -> Response:
        """Stop a response."""
        return _json(encode_response(await self._service.cancel(TENANT, response_id)))

    @http.get("/v1/responses/{response_id}/input_items")
    async def input_items(self, response_id: str, request: Request) -> Response:
        """A page of the items that the response's request brought."""
        query = page_query(dict(request.query_params))
        items = await self._service.input_items(TENANT, response_id)
        page = input_items_page(items, limit=query.limit, order=query.order, after=query.after)
        return _json(msgspec.json.encode(page))

    @http.get("/v1/models")
    async def models(self) -> Response:
        """The models that can be asked for."""
        data = [_model(card.name, card.created) for card in await self._service.models()]
        return _json(msgspec.json.encode({"object": "list", "data": data}))

    @http.get("/v1/models/{model:path}")
    async def model(self, model: str) -> Response:
        """One model."""
        for card in await self._service.models():
            if card.name == model:
                return _json(msgspec.json.encode(_model(card.name, card.created)))
        raise ModelNotFound(model)

    @http.get("/health/live")
    async def live(self) -> Response:
        """This replica answers."""
        return _json(b'{"status":"live"}')

    @http.get("/health/ready")
    async def ready(self) -> Response:
        """An engine can generate; which, and what they are doing."""
        models = await self._service.ready()
        if not models:
            raise Unavailable("No engine can generate yet.")
        return _json(msgspec.json.encode({"status": "ready", "models": models}))

    async def _body(self, request: Request) -> bytes:
        """The request's body, given up as soon as it is too large.

        Raises:
            RequestTooLarge: more than `max_request_bytes`.
        """
        limit = self._settings.max_request_bytes
        pieces, size = [], 0
        async for piece in request.stream():
            size += len(piece)
            if size > limit:
                raise RequestTooLarge(f"The request body is larger than {limit} bytes.")
            pieces.append(piece)
        return b"".join(pieces)


class _Peers:
    """All replicas of this deployment, this one among them."""

    def __init__(self, deployment: str, app: str) -> None:
        self._deployment = deployment
        self._app = app

    async def cancel(self, tenant: str, response_id: str) -> bool:
        """Ask every replica to stop a response; True if one of them ran it."""
        handle = serve.get_deployment_handle(self._deployment, app_name=self._app)
        try:
            answers = await handle.broadcast("cancel_local", tenant, response_id).results_async()
        except (RayError, RayServeException, TimeoutError) as exc:
            log.warning("cancelling %s on the other replicas failed: %s", response_id, exc)
            return False
        return any(answer is True for answer in answers)


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "ray-responses"}


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


def _error(error: ApiError) -> JSONResponse:
    headers = {"Retry-After": str(error.retry_after_s)} if isinstance(error, Overloaded | Unavailable) else None
    return JSONResponse(error.body(), status_code=error.status, headers=headers)


@http.exception_handler(ApiError)
async def _api_error(_request: Request, error: ApiError) -> JSONResponse:
    return _error(error)


@http.exception_handler(HTTPException)
async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    """What the router itself refuses: unknown paths and methods."""
    message = str(error.detail)
    if error.status_code == 404 and message == "Not Found":
        message = f"Unknown request URL: {request.method} {request.url.path}."
    elif error.status_code == 405:
        message = f"Not allowed to {request.method} on {request.url.path}."
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


@http.exception_handler(Exception)
async def _unexpected(_request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error", exc_info=error)
    return _error(ServerError("The server had an internal error. Please try again."))


# Last of all: `ingress` copies the routes and handlers as they are now, and a class that the module already names
# crosses to the replicas by that name.
GatewayIngress = serve.ingress(http)(GatewayImpl)
