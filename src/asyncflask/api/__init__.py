"""Typed views: their inputs and outputs are validated, and described in OpenAPI and AsyncAPI
documents. Needs the extra `api` (pydantic). This module only has the public names."""

try:
    import pydantic as pydantic
except ImportError as error:
    raise ImportError(
        "asyncflask.api needs pydantic. Install it with: pip install 'asyncflask[api]'"
    ) from error

from .extension import Api
from .markers import (
    ApiKey,
    Basic,
    Bearer,
    Body,
    Cookie,
    Events,
    File,
    Form,
    Given,
    Header,
    Path,
    Query,
    SecurityScheme,
    SessionCookie,
)
from .problems import InvalidMessage, InvalidRequest, Problem, problem

__all__ = [
    "Api",
    "ApiKey",
    "Basic",
    "Bearer",
    "Body",
    "Cookie",
    "Events",
    "File",
    "Form",
    "Given",
    "Header",
    "InvalidMessage",
    "InvalidRequest",
    "Path",
    "Problem",
    "Query",
    "SecurityScheme",
    "SessionCookie",
    "problem",
]
