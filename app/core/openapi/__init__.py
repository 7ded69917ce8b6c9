"""The OpenAPI document: FastAPI's own, completed with who may call, every answer, headers and webhooks."""

from app.core.openapi.document import VERSION, document, install, marker_of, operation_id, render
from app.core.openapi.older import as_3_0

__all__ = ["VERSION", "as_3_0", "document", "install", "marker_of", "operation_id", "render"]
