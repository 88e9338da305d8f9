"""Head and tail of what a command writes, whatever the pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autoheal.clients import process
from autoheal.clients.process import Output


@given(st.lists(st.binary(max_size=40), max_size=30))
def test_head_and_tail(chunks: list[bytes]) -> None:
    kept, process.KEPT = process.KEPT, 16
    try:
        output = Output()
        for chunk in chunks:
            output.add(chunk)
        whole = b"".join(chunks)
        text = output.text()
    finally:
        process.KEPT = kept
    assert output.total == len(whole)
    if len(whole) <= 32:
        assert text == whole.decode("utf-8", "replace")
    else:
        middle = f"\n… {len(whole) - 32} bytes left out …\n".encode()
        assert text == (whole[:16] + middle + whole[-16:]).decode("utf-8", "replace")
