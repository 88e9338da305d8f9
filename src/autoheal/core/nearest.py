"""Did you mean …?"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``(did you mean "cooldown"?)`` with a space in front, or the known words where none is near."""
    known = sorted(known)
    near = get_close_matches(word.lower(), [name.lower() for name in known], n=1, cutoff=0.6)
    if near:
        return f' (did you mean "{next(name for name in known if name.lower() == near[0])}"?)'
    return f" (there are: {', '.join(known)})" if 0 < len(known) <= 12 else ""
