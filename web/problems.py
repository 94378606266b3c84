"""Errors of the API as RFC 9457 problem documents.

Raised by handlers, rendered by the middleware of `web.app`.
Never quotes a stack trace, a path of this machine or another customer's content."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web as http


class Problem(Exception):
    """An answer that is not what was asked for: status, and a sentence that says what is wrong and what to do."""

    def __init__(self, status: HTTPStatus, detail: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.retry_after_s = retry_after_s

    def response(self) -> http.Response:
        """The problem document."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return http.json_response(
            {"type": "about:blank", "title": self.status.phrase, "status": self.status.value, "detail": self.detail},
            status=self.status.value,
            headers=headers,
            content_type="application/problem+json",
        )
