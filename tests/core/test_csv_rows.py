"""CSV files that are sent to us: separators, quotes, empty cells, and what cannot be read."""

import contextlib
import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.csv_rows import SEPARATORS, read_rows

CELLS = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=20)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5), st.sampled_from(SEPARATORS))
def test_rows_when_they_were_written_by_a_csv_writer(rows: list[tuple[str, str]], separator: str) -> None:
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=separator)
    writer.writerow(("a", "b"))
    writer.writerows(rows)
    data = file.getvalue().encode()
    assert read_rows(data, most=10) == [{"a": a, "b": b} for a, b in rows]
    assert read_rows(b"\xef\xbb\xbf" + data, most=10) == read_rows(data, most=10)


@given(st.binary(max_size=200))
def test_rows_when_the_file_is_noise(data: bytes) -> None:
    """Rows or a ValueError, nothing else."""
    with contextlib.suppress(ValueError):
        assert len(read_rows(data, most=5)) <= 5


def test_rows_when_cells_and_lines_are_empty() -> None:
    data = b"a, b ,c\n1,,3\n\n,,\n4\n"
    assert read_rows(data, most=10) == [{"a": "1", "c": "3"}, {"a": "4"}]
    assert read_rows(data, most=1) == [{"a": "1", "c": "3"}]
    assert read_rows(b"", most=10) == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"a,b\n\xff,1\n", "not UTF-8"),
        (b"a,a\n1,2\n", "each once"),
        (b"a,,c\n1,2,3\n", "each once"),
        (b"a,b\n1,2,3\n", "line 2 has more cells"),
        (b'a,b\n1,2\n"3" 4,5\n', "line 3 cannot be read"),
        (b'a,b\n"1,2\n', "cannot be read"),
        (b"a\n" + b"x" * 200_000 + b"\n", "line 2 cannot be read"),
    ],
)
def test_rows_when_the_file_cannot_be_read(data: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_rows(data, most=10)
