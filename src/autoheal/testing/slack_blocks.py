"""What Slack accepts as blocks: its documented limits, told in the words of its own complaints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

BLOCKS, VIEW_BLOCKS, TEXT, HEADER, FIELDS, FIELD = 50, 100, 3000, 150, 10, 2000
ACTIONS, CONTEXT, ID, BUTTON_TEXT, VALUE, URL, ALT = 25, 10, 255, 75, 2000, 3000, 2000
OPTIONS, OPTION_TEXT, OPTION_VALUE, PLACEHOLDER, OVERFLOW = 100, 75, 150, 150, 5
TOTAL, PER_BLOCK = 13_400, 125
"""Undocumented (bolt-js#2509): one markdown block may hold 13,297 characters, beside a divider 13,172."""

Data = Mapping[str, Any]
Say = Callable[[str, str], None]


def complaints(blocks: object, surface: str = "message") -> list[str]:
    """Everything that is wrong, each as ``must be … [json-pointer:/blocks/0/text/text]``; empty where all is well."""
    found: list[str] = []

    def say(pointer: str, words: str) -> None:
        found.append(f"{words} [json-pointer:{pointer}]")

    if not isinstance(blocks, list):
        say("/blocks", "must be an array")
        return found
    most = BLOCKS if surface == "message" else VIEW_BLOCKS
    if len(blocks) > most:
        say("/blocks", f"no more than {most} items allowed")
    seen: dict[str, set[str]] = {"block_id": set(), "action_id": set()}
    for index, block in enumerate(blocks):
        pointer = f"/blocks/{index}"
        if not isinstance(block, dict):
            say(pointer, "must be an object")
            continue
        _BLOCKS.get(str(block.get("type")), _unknown)(block, pointer, say)
        _unique(block, pointer, "block_id", seen, say)
        for element, where in elements(block, pointer):
            _unique(element, where, "action_id", seen, say)
    return found


def size(blocks: Sequence[Data]) -> int:
    """What counts towards the undocumented total: every text, value and address, and something for each block."""
    return sum(PER_BLOCK + sum(_strings(block)) for block in blocks)


def elements(block: Data, pointer: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """The interactive elements of a block, and where they are."""
    found = [(block.get("accessory"), "accessory"), (block.get("element"), "element")]
    listed = block.get("elements")
    if block.get("type") == "actions" and isinstance(listed, list):
        found += [(element, f"elements/{index}") for index, element in enumerate(listed)]
    for element, where in found:
        if isinstance(element, dict) and element.get("type") != "image":
            yield element, f"{pointer}/{where}"


def _strings(value: object, name: str = "") -> Iterator[int]:
    if isinstance(value, str):
        if name in ("text", "value", "url", "image_url", "alt_text"):
            yield len(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, name)


def _unique(holder: Data, pointer: str, name: str, seen: dict[str, set[str]], say: Say) -> None:
    value = holder.get(name)
    if value is None:
        return
    _string(value, f"{pointer}/{name}", ID, say)
    if isinstance(value, str):
        if value in seen[name]:
            say(f"{pointer}/{name}", f'"{name}" already exists for another {name.removesuffix("_id")}: {value}')
        seen[name].add(value)


def _string(value: object, pointer: str, most: int, say: Say, least: int = 1) -> None:
    if not isinstance(value, str):
        say(pointer, "must be a string")
    elif len(value) < least:
        say(pointer, f"must be more than {least - 1} characters")
    elif len(value) > most:
        say(pointer, f"must be less than {most + 1} characters")


def _only(holder: Data, pointer: str, names: str, say: Say, needed: str = "") -> None:
    """`names` may be there beside `needed`, which must be."""
    allowed = {"type", *names.split(), *needed.split()}
    for name in holder:
        if name not in allowed:
            say(pointer, f"invalid additional property: {name}")
    for name in needed.split():
        if name not in holder:
            say(pointer, f"missing required field: {name}")


def _text(value: object, pointer: str, most: int, say: Say, plain: bool = False) -> None:
    if not isinstance(value, dict):
        say(pointer, "must be an object")
        return
    kind = value.get("type")
    if kind not in ("plain_text",) if plain else kind not in ("plain_text", "mrkdwn"):
        say(f"{pointer}/type", "must be a valid enum value")
    _only(value, pointer, "emoji" if kind == "plain_text" else "verbatim", say, "text")
    if "text" in value:
        _string(value["text"], f"{pointer}/text", most, say)


def _list(value: object, pointer: str, most: int, say: Say, least: int = 1) -> list[Any]:
    if not isinstance(value, list):
        say(pointer, "must be an array")
        return []
    if len(value) < least:
        say(pointer, f"must have at least {least} items")
    if len(value) > most:
        say(pointer, f"no more than {most} items allowed")
    return value


# ---- blocks ---------------------------------------------------------------------------------------------------------


def _unknown(block: Data, pointer: str, say: Say) -> None:
    say(f"{pointer}/type", f"unsupported type: {block.get('type')}")


def _section(block: Data, pointer: str, say: Say) -> None:
    _only(block, pointer, "block_id text fields accessory expand", say)
    if "text" not in block and not block.get("fields"):
        say(pointer, "must define either `text` or `fields`")
    if "text" in block:
        _text(block["text"], f"{pointer}/text", TEXT, say)
    if "fields" in block:
        for index, field in enumerate(_list(block["fields"], f"{pointer}/fields", FIELDS, say)):
            _text(field, f"{pointer}/fields/{index}", FIELD, say)
    if "accessory" in block:
        _element(block["accessory"], f"{pointer}/accessory", say, also=("image",))


def _header(block: Data, pointer: str, say: Say) -> None:
    _only(block, pointer, "block_id", say, "text")
    if "text" in block:
        _text(block["text"], f"{pointer}/text", HEADER, say, plain=True)


def _divider(block: Data, pointer: str, say: Say) -> None:
    _only(block, pointer, "block_id", say)


def _context(block: Data, pointer: str, say: Say) -> None:
    _only(block, pointer, "block_id", say, "elements")
    for index, element in enumerate(_list(block.get("elements"), f"{pointer}/elements", CONTEXT, say)):
        where = f"{pointer}/elements/{index}"
        if isinstance(element, dict) and element.get("type") == "image":
            _picture(element, where, say)
        else:
            _text(element, where, TEXT, say)


def _actions(block: Data, pointer: str, say: Say) -> None:
    _only(block, pointer, "block_id", say, "elements")
    for index, element in enumerate(_list(block.get("elements"), f"{pointer}/elements", ACTIONS, say)):
        _element(element, f"{pointer}/elements/{index}", say)


def _image(block: Data, pointer: str, say: Say) -> None:
    _only(block, pointer, "block_id title image_url slack_file", say, "alt_text")
    if "title" in block:
        _text(block["title"], f"{pointer}/title", ALT, say, plain=True)
    _picture(block, pointer, say)


def _markdown(block: Data, pointer: str, say: Say) -> None:
    _only(block, pointer, "block_id", say, "text")
    _string(block.get("text"), f"{pointer}/text", 12_000, say)


def _rich_text(block: Data, pointer: str, say: Say) -> None:
    _only(block, pointer, "block_id", say, "elements")
    _list(block.get("elements"), f"{pointer}/elements", 1000, say)


def _input(block: Data, pointer: str, say: Say) -> None:
    _only(block, pointer, "block_id hint optional dispatch_action", say, "label element")
    if "label" in block:
        _text(block["label"], f"{pointer}/label", 2000, say, plain=True)
    if "element" in block:
        _element(block["element"], f"{pointer}/element", say, also=("plain_text_input", "radio_buttons"))


_BLOCKS: dict[str, Callable[[Data, str, Say], None]] = {
    "section": _section,
    "header": _header,
    "divider": _divider,
    "context": _context,
    "actions": _actions,
    "image": _image,
    "markdown": _markdown,
    "rich_text": _rich_text,
    "input": _input,
}

# ---- elements -------------------------------------------------------------------------------------------------------


def _element(element: object, pointer: str, say: Say, also: Sequence[str] = ()) -> None:
    if not isinstance(element, dict):
        say(pointer, "must be an object")
        return
    kind = element.get("type")
    check = {**_ELEMENTS, **{name: _MORE[name] for name in also}}.get(str(kind))
    if check is None:
        say(f"{pointer}/type", f"unsupported type: {kind}")
        return
    check(element, pointer, say)


def _picture(element: Data, pointer: str, say: Say) -> None:
    if "slack_file" not in element:
        _string(element.get("image_url"), f"{pointer}/image_url", URL, say)
    _string(element.get("alt_text"), f"{pointer}/alt_text", ALT, say)


def _button(element: Data, pointer: str, say: Say) -> None:
    _only(element, pointer, "action_id url value style confirm accessibility_label", say, "text")
    if "text" in element:
        _text(element["text"], f"{pointer}/text", BUTTON_TEXT, say, plain=True)
    for name, most in (("url", URL), ("value", VALUE), ("accessibility_label", 75)):
        if name in element:
            _string(element[name], f"{pointer}/{name}", most, say)
    url = element.get("url")
    if isinstance(url, str) and not url.startswith(("http://", "https://", "mailto:", "slack:")):
        say(f"{pointer}/url", "must be a valid URL")
    if "style" in element and element["style"] not in ("primary", "danger"):
        say(f"{pointer}/style", "must be a valid enum value")
    _confirm(element, pointer, say)


def _select(element: Data, pointer: str, say: Say) -> None:
    _only(element, pointer, "action_id placeholder options option_groups initial_option confirm focus_on_load", say)
    if "placeholder" in element:
        _text(element["placeholder"], f"{pointer}/placeholder", PLACEHOLDER, say, plain=True)
    options = (
        _options(element, pointer, OPTIONS, say) if "option_groups" not in element else _groups(element, pointer, say)
    )
    if "initial_option" in element and element["initial_option"] not in options:
        say(f"{pointer}/initial_option", "must be one of the options")
    _confirm(element, pointer, say)


def _groups(element: Data, pointer: str, say: Say) -> list[Any]:
    found: list[Any] = []
    for index, group in enumerate(_list(element["option_groups"], f"{pointer}/option_groups", OPTIONS, say)):
        where = f"{pointer}/option_groups/{index}"
        if not isinstance(group, dict):
            say(where, "must be an object")
            continue
        _only(group, where, "", say, "label options")
        _text(group.get("label"), f"{where}/label", 75, say, plain=True)
        found += _options(group, where, OPTIONS, say)
    return found


def _overflow(element: Data, pointer: str, say: Say) -> None:
    _only(element, pointer, "action_id confirm", say, "options")
    _options(element, pointer, OVERFLOW, say)
    _confirm(element, pointer, say)


def _radio(element: Data, pointer: str, say: Say) -> None:
    _only(element, pointer, "action_id initial_option confirm focus_on_load", say, "options")
    _options(element, pointer, 10, say, plain=False)


def _input_text(element: Data, pointer: str, say: Say) -> None:
    names = "action_id initial_value multiline min_length max_length dispatch_action_config focus_on_load placeholder"
    _only(element, pointer, names, say)
    if "initial_value" in element:
        _string(element["initial_value"], f"{pointer}/initial_value", 3000, say, least=0)


def _options(holder: Data, pointer: str, most: int, say: Say, plain: bool = True) -> list[Any]:
    options = _list(holder.get("options"), f"{pointer}/options", most, say)
    for index, option in enumerate(options):
        where = f"{pointer}/options/{index}"
        if not isinstance(option, dict):
            say(where, "must be an object")
            continue
        extra = [name for name in option if name not in ("text", "value", "description", "url")]
        if extra:
            say(where, f"invalid additional property: {extra[0]}")
        _text(option.get("text"), f"{where}/text", OPTION_TEXT, say, plain)
        _string(option.get("value"), f"{where}/value", OPTION_VALUE, say)
        if "description" in option:
            _text(option["description"], f"{where}/description", 75, say, plain)
    return options


def _confirm(element: Data, pointer: str, say: Say) -> None:
    confirm = element.get("confirm")
    if confirm is None:
        return
    if not isinstance(confirm, dict):
        say(f"{pointer}/confirm", "must be an object")
        return
    for name, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
        _text(confirm.get(name), f"{pointer}/confirm/{name}", most, say, plain=name != "text")


_ELEMENTS: dict[str, Callable[[Data, str, Say], None]] = {
    "button": _button,
    "static_select": _select,
    "overflow": _overflow,
}
_MORE: dict[str, Callable[[Data, str, Say], None]] = {
    "image": _picture,
    "plain_text_input": _input_text,
    "radio_buttons": _radio,
}
