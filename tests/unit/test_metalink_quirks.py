"""The quirks of metalinks seen in the wild, one test each, by the number in their list."""

import pytest

from mountdl.descriptors import parse
from mountdl.descriptors.report import describe
from mountdl.errors import DescriptorError
from tests.support.metalinks import URL, V3, V4, codes, only, urls, v3, v4


def test_quirk_01_urls_padded_with_white_space():
    """56 % of real URLs have blanks around them."""
    assert urls(v3(urls="<url type='http'>\n\t http://h.example/a \r\n </url>")) == ["http://h.example/a"]
    found = only(
        v4(
            f"<size> 5\n</size><hash type=' sha-1 '>\n {'ab' * 20} </hash><url priority=' 7 ' location=' DE '> http://h.example/a </url>"
        )
    )
    assert (5, {"sha-1": bytes.fromhex("ab" * 20)}) == (found.size, found.digests)
    assert (found.mirrors[0].priority, found.mirrors[0].location) == (7, "de")


def test_quirk_03_sizes_and_hashes_of_other_versions_nested():
    """Fedora's alternates hold other versions' sizes and hashes in the default namespace."""
    alternates = (
        "<mm0:alternates xmlns:mm0='http://fedorahosted.org/mirrormanager'><mm0:alternate><size>99</size>"
        f"<verification><hash type='md5'>{'00' * 16}</hash></verification></mm0:alternate></mm0:alternates>"
    )
    found = only(v3(f"<size>4</size><verification><hash type='md5'>{'ab' * 16}</hash></verification>{alternates}"))
    assert (4, {"md5": bytes.fromhex("ab" * 16)}) == (found.size, found.digests)


def test_quirk_04_urls_of_publishers_beside_mirrors():
    """Publisher, licence and changelog have URLs that are no mirrors."""
    other = "".join(
        f"<{name}><url>http://bad.example/</url></{name}>"
        for name in ("publisher", "license", "changelog", "screenshot")
    )
    assert urls(v4(other + URL)) == ["http://h.example/a"]
    assert urls(v3(other)) == ["http://h.example/a"]


def test_quirk_05_preferences_beyond_100_and_below_1():
    """Ubuntu wrote 200, 120 and 110; MirrorCache counts below 0: the order stays, priorities are bounded."""
    given = [110, 200, 100, 0, 120, -5, 1]
    found = only(v3(urls="".join(f"<url preference='{n}'>http://h.example/{n}</url>" for n in given)))
    assert [int(ref.url.rpartition("/")[2]) for ref in found.mirrors] == [200, 120, 110, 100, 1, 0, -5]
    assert [ref.priority for ref in found.mirrors] == [1, 1, 1, 1, 100, 100, 100]


@pytest.mark.parametrize("size", ["", "<size></size>", "<size/>"])
def test_quirk_06_size_missing_or_empty(size):
    """407 of 1065 real files have no size: unknown, not 0."""
    assert only(v3(size)).size is None
    assert only(v4(size + URL)).size is None


def test_quirk_07_zsync_pieces_come_first():
    """MirrorBrain's fork puts sets of rolling sums before the one that verifies."""
    sets = f"<pieces type='zsync' length='4'><hash>abcd</hash></pieces><pieces type='sha-1' length='4'><hash>{'ab' * 20}</hash></pieces>"
    found = v4(f"<size>4</size>{sets}{URL}")
    assert only(found).pieces is not None
    assert only(found).pieces.algorithm == "sha-1"
    assert codes(found) == ["pieces-unknown-type"]


@pytest.mark.parametrize("namespace", ["http://www.metalinker.org", "https://www.metalinker.org/", ""])
def test_quirk_08_namespace_in_other_spellings(namespace):
    """No slash, https, none at all with version 3.0."""
    attribute = f' xmlns="{namespace}"' if namespace else ""
    data = f"<metalink{attribute} version='3.0'><files><file name='a'><resources>{URL}</resources></file></files></metalink>"
    assert urls(parse("a.metalink", data.encode())) == ["http://h.example/a"]


def test_quirk_08_no_namespace_and_no_version_is_no_metalink():
    with pytest.raises(DescriptorError) as caught:
        parse(
            "a.metalink",
            f"<metalink><files><file name='a'><resources>{URL}</resources></file></files></metalink>".encode(),
        )
    assert caught.value.kind == "not-metalink"


def test_quirk_09_type_contradicts_the_scheme_or_is_missing():
    """The scheme says what a URL is; without a type, the ending .torrent does."""
    found = only(
        v3(
            urls="<url type='ftp'>http://h.example/1</url><url>https://h.example/2</url>"
            "<url>http://h.example/3.torrent</url><url type='http'>http://h.example/4.torrent</url>"
            "<url type='bittorrent'>http://h.example/5</url>"
        )
    )
    assert [ref.url for ref in found.mirrors] == [
        "http://h.example/1",
        "https://h.example/2",
        "http://h.example/4.torrent",
    ]
    assert [ref.url for ref in found.swarms] == ["http://h.example/3.torrent", "http://h.example/5"]


def test_quirk_09_a_torrent_file_as_the_file_itself():
    assert urls(v3(urls="<url>http://h.example/a.torrent</url>", name="a.torrent")) == ["http://h.example/a.torrent"]


def test_quirk_10_protocol_attribute_upper_case_location_one_connection():
    """Fedora's mirror list."""
    text = "<resources maxconnections='1'><url protocol='http' type='http' location='JP' preference='100'>http://h.example/a</url></resources>"
    data = f"<metalink version='3.0' xmlns='{V3}'><files><file name='a'>{text}</file></files></metalink>"
    found = only(parse("a.metalink", data.encode()))
    assert (found.max_connections, found.mirrors[0].location) == (1, "jp")


@pytest.mark.parametrize("inside", ["", "<files/>", "<files></files>"])
def test_quirk_11_an_error_answer_is_an_empty_metalink(inside):
    """MirrorManager answers so when it has nothing."""
    with pytest.raises(DescriptorError) as caught:
        parse("a.metalink", f"<metalink version='3.0' xmlns='{V3}'>{inside}</metalink>".encode())
    assert caught.value.kind == "no-files"


def test_quirk_12_raw_ampersand_and_a_latin1_byte():
    """16 of 894 real documents are not well-formed; the reason is told with its place."""
    with pytest.raises(DescriptorError) as caught:
        v3(urls="\n<url>magnet:?xt=urn:btih:x&dn=y</url>")
    assert caught.value.kind == "not-well-formed"
    assert "line 2" in str(caught.value)
    assert "&amp;" in str(caught.value)
    with pytest.raises(DescriptorError) as caught:
        v3(urls="<url>http://h/?a=1 & b</url>")
    assert "&amp;" in str(caught.value)
    with pytest.raises(DescriptorError) as caught:
        v3(urls="<url>http://h/?a<b</url>< ")
    assert "&amp;" not in str(caught.value)
    with pytest.raises(DescriptorError) as caught:
        parse("a.metalink", f"<metalink version='3.0' xmlns='{V3}'>".encode() + b"\xe9</metalink>")
    assert caught.value.kind == "not-well-formed"


def test_quirk_13_two_dashes_in_a_comment():
    with pytest.raises(DescriptorError) as caught:
        v4("<!-- client -- unknown -->" + URL)
    assert caught.value.kind == "not-well-formed"


def test_quirk_14_sha1_topics_only_in_magnet_urls():
    """A magnet that names no torrent is not a swarm; the file lives on its mirrors."""
    magnet = f"<url type='magnet'>magnet:?xt=urn:sha1:{'ab' * 20}&amp;dn=x</url>"
    found = v3(urls=magnet + URL)
    assert only(found).swarms == ()
    assert codes(found) == ["magnet-without-topic"]
    for topic in ("xt=urn:btih:xyz", "xt=urn:btih:" + "0" * 40, "dn=urn:btih:" + "ab" * 20):
        assert codes(v3(urls=f"<url>magnet:?{topic}</url>{URL}")) == ["magnet-without-topic"]


def test_quirk_15_magnet_as_metaurl_or_url():
    """MirrorBrain writes magnets where metadata URLs belong."""
    magnet = f"magnet:?xt=urn:btih:{'ab' * 20}&amp;dn=x"
    plain = magnet.replace("&amp;", "&")
    assert [(plain, "torrent")] == [
        (ref.url, ref.mediatype) for ref in only(v4(f"<metaurl mediatype='torrent'>{magnet}</metaurl>")).swarms
    ]
    assert [plain] == [
        ref.url for ref in only(v3(urls=f"<url type='bittorrent' preference='100'> {magnet} </url>")).swarms
    ]


def test_quirk_22_md5_with_31_digits_beside_a_sound_sha1():
    found = v4(f"<hash type='md5'>{'a' * 31}</hash><hash type='sha-1'>{'ab' * 20}</hash>{URL}")
    assert list(only(found).digests) == ["sha-1"]
    assert codes(found) == ["bad-hash"]


def test_quirk_23_prose_as_a_digest():
    found = v4(
        f"<hash type='md5'>we-only-check-the-strongest-hash-provided</hash><hash type='sha256'>{'ab' * 32}</hash>{URL}"
    )
    assert list(only(found).digests) == ["sha-256"]


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "./a", "../a", "a/../b", "a/", "a//b", "", ".", "..", "a/./b", "..\\a", "a\\..\\b", "C:\\x"]
)
def test_quirk_24_25_names_that_are_refused(name):
    """Absolute, upwards and backslash names lose their file; none becomes another name."""
    found = v4(URL, name)
    assert (found.entries, codes(found)) == ((), ["unsafe-name"])


@pytest.mark.parametrize(
    "name",
    [
        "~",
        "~/x",
        ".dot",
        "a>b",
        "a|b",
        "C:",
        "CON",
        "a.",
        "a ",
        "..fine../x..y.bin",
        "%2e%2e/x",
        "\uff0f",
        "\u2044",
        "e\u0301",
    ],
)
def test_quirk_24_names_that_are_harmless_here(name):
    assert name == str(only(v4(URL, name.replace(">", "&gt;"))).path)


def test_quirk_26_traversal_in_the_name_of_a_signature():
    """The name is ignored, the text is kept."""
    found = v3("<verification><signature type='pgp' file='../../x'>text</signature></verification>")
    signature = only(found).signature
    assert signature is not None
    assert (signature.name, signature.text) == ("a.iso.sig", "text\n")
    assert codes(found) == ["unsafe-name"]


def test_quirk_27_signature_text_padded():
    armour = "-----BEGIN PGP SIGNATURE-----\r\n\r\nabc\r\n-----END PGP SIGNATURE-----"
    found = only(
        v4(f"<signature mediatype='application/pgp-signature'>\n{armour}\n\t</signature>{URL}", "d/a.iso")
    ).signature
    assert found is not None
    assert (armour.replace("\r\n", "\n") + "\n", "a.iso.asc") == (found.text, found.name)


def test_quirk_28_type_attribute_in_version_4_and_relative_metaurl():
    """An unknown attribute is ignored; a relative address needs a base."""
    inside = "<url type='http'>http://h.example/a</url><metaurl mediatype='torrent'>a.torrent</metaurl>"
    found = v4(inside)
    assert (urls(found), codes(found)) == (["http://h.example/a"], ["relative-url"])
    data = f"<metalink xmlns='{V4}'><file name='a'>{inside}</file></metalink>".encode()
    based = only(parse("a", data, base_url="http://h.example/d/x.meta4"))
    assert [ref.url for ref in based.swarms] == ["http://h.example/d/a.torrent"]


def test_quirk_29_one_torrent_for_several_files():
    """Each keeps its name inside; a file without a metaurl between them stays what it is."""

    def file(name: str, inside: str) -> str:
        return f"<file name='{name}'><size>1</size>{URL}{inside}</file>"

    meta = "<metaurl mediatype='torrent' name='{}'>http://h.example/t</metaurl>"
    data = f"<metalink xmlns='{V4}'>{file('a', meta.format('t/a'))}{file('b', '')}{file('c', meta.format('t/c'))}</metalink>"
    assert [[ref.name for ref in entry.swarms] for entry in parse("x", data.encode()).entries] == [["t/a"], [], ["t/c"]]


def test_quirk_34_dates_of_all_shapes():
    """Two thirds of real dates look like none that the format allows."""
    moment = 1165566992 * 10**9
    for text in (
        "2006-12-08-08:36:32",
        "Fri, 08 Dec 2006 08:36:32 GMT",
        "Fri Dec  8 08:36:32 2006",
        "2006-12-08T08:36:32Z",
        "2006-12-08 08:36:32 UTC",
        "2006-12-08T10:36:32+02:00",
        "Fri, 08 Dec 2006 09:36:32 +0100",
    ):
        assert moment == v3(root=f" pubdate='{text}'").published_ns, text
    found = v3(root=" pubdate='yesterday' refreshdate='2006-13-45-99:99:99'")
    assert (found.published_ns, found.updated_ns) == (None, None)
    assert codes(found) == ["bad-date", "bad-date"]


def test_quirk_35_version_and_system_under_the_root():
    """Files inherit what they leave open."""
    found = only(v3("<os>BSD</os>", around="<version>1.2</version><os>Linux-x86</os><language>de</language>"))
    assert (found.version, found.os, found.languages) == ("1.2", ("BSD",), ("de",))


def test_quirk_36_odd_hash_types():
    """Shown where they are known, dropped where not; the best that can be computed counts."""
    hashes = f"<hash type='pgp'/><hash type='ripemd160'>{'ab' * 20}</hash><hash type='tiger192'>{'ab' * 24}</hash><hash type='gnunet'>X</hash><hash type='ed2k'>{'ab' * 16}</hash><hash type='crc32'>{'ab' * 4}</hash>"
    found = v3(f"<verification>{hashes}</verification>")
    assert list(only(found).digests) == ["ripemd160", "tiger", "ed2k", "crc32"]
    assert codes(found) == ["unknown-hash", "unknown-hash"]
    assert describe(found)["files"][0]["strongest"] == "tiger"


def test_quirk_43_equal_preferences_keep_the_order():
    found = v3(urls="".join(f"<url preference='10'>http://h.example/{n}</url>" for n in range(20)))
    assert [f"http://h.example/{n}" for n in range(20)] == urls(found)


@pytest.mark.parametrize(
    ("given", "taken"),
    [("ftp", None), ("sp", "sp"), ("uk", "uk"), ("CS", "cs"), ("yu", "yu"), ("", None), ("d1", None)],
)
def test_quirk_44_locations_that_are_no_countries(given, taken):
    assert taken == only(v3(urls=f"<url location='{given}'>http://h.example/a</url>")).mirrors[0].location
