"""CSV files that are sent to us, as rows of texts."""

import csv
import io
from collections.abc import Iterator

SEPARATORS = ",;\t"
"""What programs put between cells; spreadsheets in French take the semicolon."""


def read_rows(data: bytes, *, most: int) -> list[dict[str, str]]:
    """The lines below the first one, each under the names of the first; at most `most` of them are read.

    Empty cells and empty lines are left out. The file is UTF-8, with or without a byte order mark; of comma,
    semicolon and tab the one that stands in the first line most often separates. ValueError, with a sentence
    that may be shown, for what cannot be read.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8") from None
    separator = max(SEPARATORS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[dict[str, str]] = []
    try:
        names = [name.strip() for name in next(reader, [])]
        if len(set(names)) < len(names) or not all(names):
            raise ValueError("the first line names each column, and each once")
        for cells in _filled(reader):
            if len(cells) > len(names):
                raise ValueError(f"line {reader.line_num} has more cells than the first line has names")
            rows.append({name: cell for name, cell in zip(names, cells, strict=False) if cell})
            if len(rows) == most:
                break
    except csv.Error:
        raise ValueError(f"line {reader.line_num} cannot be read; see its quotation marks") from None
    return rows


def _filled(lines: Iterator[list[str]]) -> Iterator[list[str]]:
    return (cells for cells in lines if any(cells))
