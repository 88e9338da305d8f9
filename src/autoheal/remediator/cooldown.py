"""`/cooldown`: each rule's cooldown as it holds now, and setting one without a new policy."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from autoheal.core.cooldowns import shown
from autoheal.core.duration import parse_seconds
from autoheal.core.errors import Invalid
from autoheal.core.moves.people import SetCooldown
from autoheal.remediator.service import Remediator
from autoheal.web.access import ADMIN, OPS
from autoheal.web.problems import answers, visible

PROTECTED = answers(400, 401, 403, 431, 503)


class CooldownChange(BaseModel):
    """What a rule's cooldown shall be: a duration such as `5m`, or null for what the policy says."""

    model_config = ConfigDict(extra="forbid", strict=True)
    rule: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(visible)]
    cooldown: Annotated[str, Field(max_length=100)] | None


def install(app: FastAPI, service: Remediator) -> None:
    """Add the routes."""

    @app.get("/cooldown", tags=["operation"], responses=PROTECTED)
    async def cooldowns(request: Request) -> dict[str, Any]:
        """Every rule's cooldown in seconds: the one that holds, the policy's, and who has set it since when."""
        service.access.require(request.headers, OPS, changes=False)
        with service.head.reading() as (state, policy):
            return {"cooldowns": [shown(rule, state.cooldowns) for rule in policy.rules]}

    @app.post("/cooldown", tags=["operation"], responses={**PROTECTED, **answers(404, 408, 413)})
    async def set_cooldown(request: Request, change: CooldownChange) -> dict[str, Any]:
        """Set a rule's cooldown until the rule is written anew; what waits for its end waits shorter, or longer."""
        caller = service.access.require(request.headers, ADMIN, changes=True)
        move = SetCooldown(change.rule, read_cooldown(change.cooldown), caller.name)
        found: dict[str, Any] = await service.head.play(move)
        return found


def read_cooldown(text: str | None) -> float | None:
    """Seconds of a duration; None stands for what the policy says."""
    if text is None:
        return None
    try:
        return parse_seconds(text)
    except Invalid as error:
        raise Invalid(error.detail, "cooldown") from error
