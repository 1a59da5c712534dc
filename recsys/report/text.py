"""Text of the input on a page: shown as text, whatever it holds; numbers with as many digits as they deserve."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

MOST_SHOWN = 100  # characters of a title or of a quarantined row
NONE = "–"

_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "␡"} | dict.fromkeys(range(0x80, 0xA0), "�")
# Marks that turn the direction of what follows: HTML isolates them, the text of a figure cannot.
_TURNING = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C])
# What would end a script or begin markup, and the two line ends that JSON allows and JavaScript once did not.
_IN_SCRIPT = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
# A point between digits begins no list and is in no address.
_IN_MARKDOWN = re.compile(r"[\\`*_{}\[\]()<>#+\-!|~&:@$^=]|\.(?!\d)|(?<!\d)\.")


def shown(text: str, most: int = MOST_SHOWN) -> str:
    r"""Text as a person may see it: control characters as their pictures, and not too much of it.

    >>> shown("a\x1b[1m"), shown("abcdef", 4)
    ('a␛[1m', 'abc…')
    """
    visible = text.translate(_PICTURES)
    return visible if len(visible) <= most else visible[: most - 1] + "…"


def in_figure(text: str) -> str:
    """Text for Plotly, which takes `<b>`, `<a href>` and `&lt;` for markup.

    >>> in_figure("<b>R&B</b>")
    '&lt;b&gt;R&amp;B&lt;/b&gt;'
    """
    plain = shown(text).translate(_TURNING)
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def in_markdown(text: str, most: int = 2_000) -> str:
    r"""Text that stays as it is where Markdown is drawn: no mark-up, no HTML, no link of an address, no new line.

    >>> in_markdown("<b>*R&B*</b> at www.example.org, 0.25\n- [x](y)")
    '\\<b\\>\\*R\\&B\\*\\</b\\> at www\\.example\\.org, 0.25␊\\- \\[x\\]\\(y\\)'
    """
    return _IN_MARKDOWN.sub(r"\\\g<0>", shown(text, most).translate(_TURNING))


def in_code(text: str, most: int = 2_000) -> str:
    """A code span of Markdown, fenced by more ticks than stand in the text.

    >>> in_code("a`b"), in_code("plain")
    ('`` a`b ``', '`plain`')
    """
    plain = shown(text, most).translate(_TURNING)
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    return f"{fence} {plain} {fence}" if len(fence) > 1 or not plain.strip() else f"{fence}{plain}{fence}"


def in_script(value: Any) -> str:
    r"""JSON that can stand inside a script element.

    >>> in_script({"title": "</script><b>"})
    '{"title":"\\u003c/script\\u003e\\u003cb\\u003e"}'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_IN_SCRIPT)


def whole(value: float | None) -> str:
    """A count.

    >>> whole(1234567.0), whole(None)
    ('1,234,567', '–')
    """
    return NONE if value is None else _signed(f"{value:,.0f}")


def figure(value: float | None) -> str:
    """A number that is no count: about four digits.

    >>> [figure(value) for value in (0.44931, 2.52, -31.78, 1234.5, None)]
    ['0.4493', '2.520', '−31.78', '1,234', '–']
    """
    if value is None:
        return NONE
    size = abs(value)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 1 else 4
    return _signed(f"{value:,.{digits}f}")


def share(value: float | None) -> str:
    """A part of a whole, as a percentage.

    >>> share(0.1234), share(0.00012), share(None)
    ('12.3%', '0.01%', '–')
    """
    if value is None:
        return NONE
    return _signed(f"{value:.2%}" if 0 < abs(value) < 0.01 else f"{value:.1%}")


def _signed(number: str) -> str:
    """With the minus sign, which is as wide as a digit; a hyphen is not."""
    return number.replace("-", "−")


def with_interval(value: dict[str, float] | None) -> str:
    r"""A metric with its bounds, which stay together where a narrow column breaks the line.

    >>> with_interval({"value": 0.4493, "low": 0.4428, "high": 0.4564})
    '0.4493 [0.4428,\xa00.4564]'
    """
    if value is None or value.get("value") is None:
        return NONE
    bounds = f" [{figure(value['low'])},\u00a0{figure(value['high'])}]" if value.get("low") is not None else ""
    return figure(value["value"]) + bounds


def group_ticks(names: Sequence[str]) -> list[str]:
    """Where each group of `recsys.evaluate.groups` begins, as short as the ticks of an axis must be.

    >>> group_ticks(["0", "2–4", "1,000–1,999", "100,000 or more"])
    ['0', '2', '1k', '100k']
    """
    starts = [name.split("–")[0].split(" ")[0] for name in names]
    return [f"{start[:-4]}k" if start.endswith(",000") else start for start in starts]
