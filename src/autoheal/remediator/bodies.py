"""What the OpenAPI description says of bodies and parameters that are read by hand."""

from __future__ import annotations

from typing import Any

ALERT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["alerts"],
                    "properties": {
                        "version": {"enum": ["4"]},
                        "alerts": {
                            "type": "array",
                            "minItems": 1,
                            "items": {
                                "type": "object",
                                "required": ["labels"],
                                "properties": {
                                    "status": {"enum": ["firing", "resolved"]},
                                    "labels": {
                                        "type": "object",
                                        "minProperties": 1,
                                        "additionalProperties": {"type": "string"},
                                    },
                                    "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
                                    "startsAt": {"type": "string", "format": "date-time"},
                                    "endsAt": {"type": "string", "format": "date-time"},
                                    "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
                                },
                            },
                        },
                    },
                }
            }
        },
    }
}

ACK_PARAMETERS: dict[str, Any] = {
    "parameters": [
        {"name": "labels", "in": "query", "required": True, "schema": {"type": "string"}},
        {"name": "duration", "in": "query", "schema": {"type": "string", "default": "2h"}},
        {"name": "comment", "in": "query", "schema": {"type": "string"}},
    ]
}
PREVIEW_PARAMETERS: dict[str, Any] = {"parameters": ACK_PARAMETERS["parameters"][:2]}
ACK_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["labels"],
                    "properties": {
                        "labels": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "string"}},
                        "duration": {"type": "string", "default": "2h"},
                        "comment": {"type": "string"},
                    },
                }
            }
        },
    }
}
