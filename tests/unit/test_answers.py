"""What answers mean: one test for each row of how servers behave."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mountdl.extents import Extent
from mountdl.sources.http.answers import (
    LONGEST_SKIP,
    LONGEST_WAIT,
    Asked,
    Garbled,
    Mismatch,
    Refuse,
    SequentialOnly,
    Take,
    Validator,
    Wait,
    content_range,
    judge,
    retry_after,
    validator_of,
)

NOW = 1_700_000_000.0
SIZE = 10_000_000


def asked(start: int = 1000, stop: int = 2000, **more: object) -> Asked:
    return Asked(Extent(start, stop), SIZE, **more)  # type: ignore[arg-type]


def partial(spec: str = f"bytes 1000-1999/{SIZE}", **more: str) -> dict[str, str]:
    headers = {"content-range": spec, "content-length": "1000"}
    return headers | {name.replace("_", "-"): value for name, value in more.items()}


def test_the_range_asked_for_is_taken() -> None:
    """206 with exactly the extent: store it all."""
    assert Take(Extent(1000, 2000)) == judge(206, partial(), asked(), NOW)


def test_unknown_total_is_fine() -> None:
    """206 with total `*` contradicts nothing."""
    assert Take(Extent(1000, 2000)) == judge(206, partial("bytes 1000-1999/*"), asked(), NOW)


def test_chunked_partial_answer_is_taken() -> None:
    """206 without a length: Content-Range says what comes."""
    headers = {"content-range": f"bytes 1000-1999/{SIZE}", "transfer-encoding": "chunked"}
    assert Take(Extent(1000, 2000)) == judge(206, headers, asked(), NOW)


def test_close_delimited_partial_answer_is_taken() -> None:
    """206 that ends with the connection: Content-Range tells when it is complete."""
    assert Take(Extent(1000, 2000)) == judge(206, {"content-range": f"bytes 1000-1999/{SIZE}"}, asked(), NOW)


def test_earlier_start_is_skipped() -> None:
    """206 from an earlier offset: Content-Range is the truth, the overlap is skipped."""
    got = judge(206, partial(f"bytes 900-1999/{SIZE}", content_length="1100"), asked(), NOW)
    assert Take(Extent(1000, 2000), skip=100) == got


@pytest.mark.parametrize("spec", ["bytes 1001-1999/", "bytes 0-999/", "bytes 5000-5999/"])
def test_other_start_is_garbled(spec: str) -> None:
    """206 that does not hold the first byte asked for: nothing of it is stored."""
    assert isinstance(judge(206, partial(f"{spec}{SIZE}"), asked(), NOW), Garbled)


def test_start_far_before_is_garbled() -> None:
    """206 that would have to be read over for megabytes is not worth it."""
    start = LONGEST_SKIP + 1
    headers = {"content-range": f"bytes 0-{start + 99}/{SIZE}", "content-length": str(start + 100)}
    assert isinstance(judge(206, headers, asked(start, start + 100), NOW), Garbled)


def test_partial_answer_without_content_range() -> None:
    """206 without Content-Range: nothing can be believed; one more try may tell."""
    assert judge(206, {"content-length": "1000"}, asked(), NOW) == Garbled(
        "a partial answer does not say which part it is", again=True
    )


@pytest.mark.parametrize(
    "spec",
    ["", "bytes", "bytes 1000-1999", "items 1000-1999/10000000", "bytes 1999-1000/10000000", "bytes */10000000",
     "bytes 1000-10000000/10000000", "bytes -1-5/10", "bytes ١-٢/٣", "bytes 1-" + "9" * 30 + "/*", f"bytes 1000-1999/{SIZE}, bytes 1-2/{SIZE}"],
)  # fmt: skip
def test_content_range_that_makes_no_sense(spec: str) -> None:
    """206 with a broken Content-Range: nothing can be believed."""
    assert isinstance(judge(206, partial(spec), asked(), NOW), Garbled)


def test_multipart_is_garbled() -> None:
    """206 multipart/byteranges: one range was asked."""
    headers = {"content-type": "multipart/byteranges; boundary=x", "content-length": "1200"}
    fault = "a fault of its server, so name another mirror"
    got = judge(206, headers, asked(), NOW)
    assert Garbled(f"answered one range with several parts (multipart/byteranges): {fault}") == got


def test_other_total_is_another_file() -> None:
    """206 whose total is not the size known: wrong file."""
    assert Mismatch(f"has 12345 bytes, not {SIZE}") == judge(206, partial("bytes 1000-1999/12345"), asked(), NOW)


def test_bytes_beyond_the_size_with_unknown_total() -> None:
    """206 `*` that claims bytes after the end of the content: wrong file."""
    headers = {"content-range": f"bytes 1000-{SIZE}/*"}
    assert isinstance(judge(206, headers, asked(), NOW), Mismatch)


def test_shorter_answer_is_taken() -> None:
    """206 shorter than asked (a cap): take it; the rest is asked for later."""
    got = judge(206, partial(f"bytes 1000-1499/{SIZE}", content_length="500"), asked(), NOW)
    assert Take(Extent(1000, 1500)) == got


def test_longer_answer_is_cut() -> None:
    """206 longer than asked: cut at the asked end."""
    got = judge(206, partial(f"bytes 1000-2999/{SIZE}", content_length="2000"), asked(), NOW)
    assert Take(Extent(1000, 2000)) == got


def test_length_longer_than_its_range_is_cut() -> None:
    """Content-Length says more than Content-Range: the range is what is believed."""
    assert Take(Extent(1000, 2000)) == judge(206, partial(content_length="1500"), asked(), NOW)


def test_length_shorter_than_its_range_is_believed() -> None:
    """Content-Length says less than Content-Range: the shorter one is what can come."""
    assert Take(Extent(1000, 1400)) == judge(206, partial(content_length="400"), asked(), NOW)
    assert isinstance(judge(206, partial(content_length="0"), asked(), NOW), Garbled)


@pytest.mark.parametrize("status", [200, 206])
def test_encoded_answer_is_garbled(status: int) -> None:
    """An encoding although identity was asked; its length is that of what is packed, and tells nothing."""
    headers = partial(content_encoding="gzip", content_length=str(SIZE if status == 200 else 1000))
    assert isinstance(judge(status, headers, asked(), NOW), Garbled)
    assert isinstance(judge(status, headers, asked(proof=True, path="/a.iso"), NOW), Garbled)
    packed = {"content-encoding": "br", "content-length": "77"}
    assert isinstance(judge(200, packed, asked(), NOW), Garbled)


def test_mislabelled_archive_needs_proof() -> None:
    """A .gz labelled gzip is the file itself when its size fits, but only a digest may judge that."""
    headers = partial(content_encoding="x-gzip")
    assert Take(Extent(1000, 2000)) == judge(206, headers, asked(path="/a.tar.GZ", proof=True), NOW)
    assert isinstance(judge(206, headers, asked(path="/a.tar.gz"), NOW), Garbled)
    unknown = partial("bytes 1000-1999/*", content_encoding="gzip")
    assert isinstance(judge(206, unknown, asked(path="/a.tar.gz", proof=True), NOW), Garbled)


def test_identity_encoding_is_no_encoding() -> None:
    """Content-Encoding: identity says nothing."""
    assert Take(Extent(1000, 2000)) == judge(206, partial(content_encoding="Identity"), asked(), NOW)


def test_range_ignored_near_the_start() -> None:
    """200 to a range near offset 0: read over the gap and know that it serves no ranges."""
    got = judge(200, {"content-length": str(SIZE)}, asked(), NOW)
    assert Take(Extent(1000, 2000), skip=1000, sequential=True) == got


def test_range_ignored_far_in() -> None:
    """200 to a range far in: never stored at that offset."""
    start = LONGEST_SKIP + 1
    assert SequentialOnly() == judge(200, {"content-length": str(SIZE)}, asked(start, start + 1), NOW)


def test_whole_file_for_the_whole_file() -> None:
    """200 where all was asked for is right and says nothing about ranges."""
    assert Take(Extent(0, SIZE)) == judge(200, {"content-length": str(SIZE)}, asked(0, SIZE), NOW)


def test_whole_file_of_other_size() -> None:
    """200 with another length: wrong file (a login page, mostly)."""
    assert Mismatch(f"has 900 bytes, not {SIZE}") == judge(200, {"content-length": "900"}, asked(0, 10), NOW)


def test_whole_file_without_length() -> None:
    """200 that ends with the connection: usable from 0; the known size tells when it is complete."""
    assert Take(Extent(0, 10), sequential=True) == judge(200, {}, asked(0, 10), NOW)


def test_login_page() -> None:
    """200 text/html of another length, or of none, in place of a file: never stored, unless the file is a page."""
    headers = {"content-type": "text/html; charset=utf-8", "transfer-encoding": "chunked"}
    login = Garbled("sent a web page in place of the file; open it in a browser to see what it wants")
    assert login == judge(200, headers, asked(0, 10, path="/a.iso"), NOW)
    assert login == judge(200, {"content-type": "text/html", "content-length": "77"}, asked(0, 10), NOW)
    assert Take(Extent(0, 10), sequential=True) == judge(200, headers, asked(0, 10, path="/a.html"), NOW)


def test_beyond_the_end() -> None:
    """416 tells the size it has; either way it lacks bytes that the content has."""
    assert Mismatch(f"has 500 bytes, not {SIZE}") == judge(416, {"content-range": "bytes */500"}, asked(), NOW)
    assert Mismatch("does not have bytes from 1000 on") == judge(416, {}, asked(), NOW)


@pytest.mark.parametrize("status", [429, 503])
def test_busy_server(status: int) -> None:
    """429 and 503 say when to come back, in seconds or as a date; ten minutes at most."""
    reason = f"answered {status}"
    assert Wait(reason, 7.0, crowded=True, everywhere=status == 429) == judge(
        status, {"retry-after": "7"}, asked(), NOW
    )
    date = "Tue, 14 Nov 2023 22:13:50 GMT"
    assert Wait(reason, 30.0, crowded=True, everywhere=status == 429) == judge(
        status, {"retry-after": date}, asked(), NOW
    )
    assert Wait(reason, LONGEST_WAIT, crowded=True, everywhere=status == 429) == judge(
        status, {"retry-after": "99999999999999999999"}, asked(), NOW
    )
    assert Wait(reason, None, crowded=True, everywhere=status == 429) == judge(status, {}, asked(), NOW)


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "٣", "Tue, 99 Nov 2023 22:13:50 GMT", None])
def test_retry_after_that_makes_no_sense(text: str | None) -> None:
    """A Retry-After that can't be read is as none."""
    assert retry_after(text, NOW) is None


def test_a_retry_after_is_by_the_clock_of_its_server() -> None:
    """Ours may be a year late or early; a Date that can't be read is as none."""
    until, date = "Tue, 14 Nov 2023 22:13:50 GMT", "Tue, 14 Nov 2023 22:13:20 GMT"
    for wrong in (-4e7, 0.0, 3600.0, 4e7):
        assert retry_after(until, NOW + wrong, date) == 30.0
    for odd in ("", "yesterday", None, "Tue, 99 Nov 2023 22:13:20 GMT"):
        assert retry_after(until, NOW, odd) == retry_after(until, NOW)
    got = judge(503, {"retry-after": until, "date": date}, asked(), NOW + 4e7)
    assert isinstance(got, Wait)
    assert got.retry_after == 30.0


def test_retry_after_in_the_past() -> None:
    """A date that is over means now."""
    assert retry_after("Tue, 14 Nov 2000 22:13:50 GMT", NOW) == 0.0


@pytest.mark.parametrize("status", [403, 408, 425, 500, 502, 504, 599])
def test_later_perhaps(status: int) -> None:
    """403 and 5xx: back off and try again."""
    assert Wait(f"answered {status}") == judge(status, {}, asked(), NOW)


@pytest.mark.parametrize("status", [400, 401, 404, 405, 410, 451, 300, 304, 301])
def test_never(status: int) -> None:
    """404, 410 and their like: drop it for this content."""
    assert isinstance(judge(status, {}, asked(), NOW), Refuse)


@pytest.mark.parametrize("status", [201, 204, 205])
def test_success_without_the_file(status: int) -> None:
    """A success that is no answer to a range request."""
    assert isinstance(judge(status, {}, asked(), NOW), Garbled)


@pytest.mark.parametrize(("status", "spec"), [(206, f"bytes 1000-1999/{SIZE}"), (200, "")])
def test_changed_file(status: int, spec: str) -> None:
    """Another ETag or Last-Modified than before: the file changed there."""
    headers = {"content-range": spec, "content-length": str(SIZE if status == 200 else 1000), "etag": '"b"'}
    assert Mismatch("the file changed at the mirror") == judge(status, headers, asked(validator=Validator('"a"')), NOW)
    same = judge(status, headers, asked(validator=Validator('"b"', "Mon")), NOW)
    assert isinstance(same, Take)


def test_validators() -> None:
    """ETags decide where both have one, else the date; only a strong ETag may stand in If-Range."""
    assert Validator('"a"', "x") == validator_of({"etag": '"a"', "last-modified": "x"})
    assert Validator('"a"').if_range == '"a"'
    assert Validator('W/"a"').if_range is None
    assert Validator(None, "Mon").if_range is None
    assert not Validator('"a"', "Mon").contradicts(Validator('W/"a"', "Tue"))
    assert Validator('W/"a"').contradicts(Validator('W/"b"'))
    assert Validator(None, "Mon").contradicts(Validator('"a"', "Tue"))
    assert not Validator(None, "Mon").contradicts(Validator('"a"'))


@given(first=st.integers(0, 10**18), count=st.integers(1, 10**6), more=st.integers(0, 10**6))
def test_content_range_is_read_back(first: int, count: int, more: int) -> None:
    """What is written as a Content-Range is read as the same extent."""
    text = f"bytes {first}-{first + count - 1}/{first + count + more}"
    assert content_range(text) == (Extent(first, first + count), first + count + more)


NAMES = [
    "content-range",
    "content-length",
    "content-type",
    "content-encoding",
    "etag",
    "last-modified",
    "retry-after",
    "transfer-encoding",
]
VALUES = st.one_of(
    st.text(max_size=30),
    st.builds("bytes {}-{}/{}".format, st.integers(0, 40), st.integers(0, 40), st.sampled_from(["*", 30, 20])),
    st.integers(0, 40).map(str),
)


@given(
    status=st.sampled_from([200, 206, 416, 429, 503, 404, 204, 301]),
    headers=st.dictionaries(st.sampled_from(NAMES), VALUES),
    start=st.integers(0, 29),
    count=st.integers(1, 30),
)
def test_whatever_is_taken_was_asked_for(status: int, headers: dict[str, str], start: int, count: int) -> None:
    """No answer makes bytes stored outside of what was asked, and progress is never empty."""
    want = Extent(start, min(start + count, 30))
    got = judge(status, headers, Asked(want, 30), NOW)
    if isinstance(got, Take):
        assert status in {200, 206}
        assert got.extent
        assert got.extent.start == want.start
        assert want.covers(got.extent)
        assert 0 <= got.skip <= LONGEST_SKIP
    if isinstance(got, Wait):
        assert got.retry_after is None or 0 <= got.retry_after <= LONGEST_WAIT
