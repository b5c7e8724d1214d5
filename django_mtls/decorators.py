"""`@client_certificate_required(policy)` for function views, sync and async."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_mtls.denial import refuse
from django_mtls.request import decision_of
from mtls_auth import AnyVerifiedCertificate, Denied, Policy

View = Callable[..., Any]


def client_certificate_required(policy: Policy | None = None) -> Callable[[View], View]:
    """Let the view run only for a certificate that *policy* admits; refuse with 403 and a reason otherwise.

    Without a policy: for every certificate that stands for a user.
    """
    policy = AnyVerifiedCertificate() if policy is None else policy
    if not isinstance(policy, Policy):
        raise TypeError("write @client_certificate_required() with parentheses, or give it a Policy")

    def decorate(view: View) -> View:
        if iscoroutinefunction(view):

            @wraps(view)
            async def wrapped_async(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
                found = policy.decide(decision_of(request))
                if isinstance(found, Denied):
                    return await sync_to_async(refuse)(request, found)
                response: HttpResponseBase = await view(request, *args, **kwargs)
                return response

            return wrapped_async

        @wraps(view)
        def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            found = policy.decide(decision_of(request))
            if isinstance(found, Denied):
                return refuse(request, found)
            response: HttpResponseBase = view(request, *args, **kwargs)
            return response

        return wrapped

    return decorate
