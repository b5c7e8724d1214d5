"""The Starlette application where trio runs the event loop, and its threads the mapper."""

from collections.abc import Callable
from functools import partial
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware

from django_mtls.conf import get_authenticator
from mtls_auth.asgi import ClientCertificateMiddleware
from mtls_auth.starlette import ClientCertificateBackend
from tests.integration.site import starlette_app


async def run_in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run what asks the database."""
    return await trio.to_thread.run_sync(partial(function, *args))


application = Starlette(
    routes=starlette_app.application.routes,
    middleware=[
        Middleware(
            ClientCertificateMiddleware,
            authenticator=get_authenticator(),
            denied_app=starlette_app.denied,
            run_in_thread=run_in_thread,
        ),
        Middleware(AuthenticationMiddleware, backend=ClientCertificateBackend()),
    ],
)
