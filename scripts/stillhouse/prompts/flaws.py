"""Why a row of a prompt source cannot be used."""

REASONS = {
    "too_long": "longer than `LONGEST` bytes",
    "not_utf8": "bytes that are no UTF-8",
    "nul_character": "U+0000, which no text holds: mostly another encoding",
    "not_json": "no JSON value, or none that begins and ends here",
    "not_finite": "NaN or an infinity, which JSON does not have",
    "too_deep": "lists and objects nested deeper than `DEEPEST`",
    "lone_surrogate": "half a surrogate pair, which UTF-8 cannot hold",
    "not_an_object": "JSON, but no object",
    "doubled_key": "an object that names a key twice, of which one value would be lost",
    "ragged_row": "more or fewer cells than the header has",
    "bad_quotes": "a quotation mark that is not closed, or text behind the closing one",
    "no_prompt": "the prompt is missing, no text, or nothing in it can be seen",
    "no_response": "the answer is missing, no text, or nothing in it can be seen",
    "bad_messages": "`messages` is no conversation, or `prompt` or `response` beside it says something else",
    "bad_tools": "`tools` is no list of objects",
    "wrong_type": "an id, category or difficulty that is neither text nor a number, or a value that JSON cannot hold",
    "duplicate_id": "another prompt of the set has the id",
    "duplicate_prompt": "the prompt is in the set already",
    "empty_file": "the file holds no row",
    "damaged_file": "the file breaks off or cannot be read on from here",
}
"""What can be wrong, as the table of rejected rows and the facts name it."""

LONGEST = 8 * 2**20
"""Bytes of the longest row that is read; a context of a million tokens is about half of it."""

DEEPEST = 64
"""Lists and objects within each other; Python's own reader ends at about a thousand, where exactly depends on the caller."""

EXCERPT = 200
"""Characters of a rejected row that are shown."""


class Flaw(Exception):
    """A row that cannot be used: `reason` is a key of `REASONS`, `text` tells the user more."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason, text)
        self.reason, self.text = reason, text
