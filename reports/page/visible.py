"""Text from records as it may be shown: what cannot be seen, or turns the text around it, is spelled out."""

from __future__ import annotations

import re

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_HIDDEN = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028\u2029\ufeff\ud800-\udfff{_BIDI}]")


def visible(text: str) -> str:
    """`text` with control characters, bidirectional marks and lone surrogates as ``⟨U+202E⟩``; tab and newline stay."""
    return _HIDDEN.sub(lambda m: f"⟨U+{ord(m[0]):04X}⟩", text) if _HIDDEN.search(text) else text


def web_address(text: str) -> str:
    """`text` where it is an http(s) address that may become a link, else ""."""
    return text if re.match(r"https?://[^\s<>\"'`\\]+\Z", text) else ""
