"""Process logs: JSON with `ts`, `level`, `name`, `message`, or lines for people on a terminal."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def configure(level: str, form: str) -> None:
    """Set up structlog and the standard library's logging alike. `form`: auto | json | console, to stderr."""
    people = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.format_exc_info,
    ]
    last: Processor = structlog.dev.ConsoleRenderer(colors=True) if people else structlog.processors.JSONRenderer()
    stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False) if people else _machine
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, stamp, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("httpx", "httpcore", "uvicorn", "uvicorn.error", "asyncio", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _machine(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Field names that the other systems filter on: ts, level in capitals, name, message."""
    stamped: EventDict = structlog.processors.TimeStamper(fmt=None, utc=True, key="ts")(logger, method, event)
    stamped["level"] = str(stamped.get("level", "info")).upper()
    stamped["name"] = stamped.pop("logger", "autoheal")
    stamped["message"] = stamped.pop("event", "")
    ordered = {key: stamped[key] for key in ("ts", "level", "name", "message")}
    ordered.update(stamped)
    return ordered
