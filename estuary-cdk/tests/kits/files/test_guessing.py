"""A CSV file whose encoding nobody tells is read in the one it has, or refused."""

import codecs

import msgspec
import pytest

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files import FileReader, ParserOptions, guessing
from estuary_cdk.kits.files.guessing import guessed_encoding

TEXTS = {
    "utf-8": "id,name\n1,Zoë\n2,中文\n",
    "utf-16-le": "id,name\n1,Zoë\n",
    "utf-16-be": "id,name\n1,Zoë\n",
    "cp1252": "id,name\n1,Zoë\n2,Jürgen\n3,10 €\n",
    "cp932": "名前,年齢\n山田太郎,30\n鈴木花子,25\n" * 20,
    "gb18030": "姓名,年龄\n张三,30\n李四,25\n王五,我们的数据\n" * 20,
    "cp1251": "имя,возраст\nИван Петров,30\nМария,25\n" * 20,  # noqa: RUF001 - Russian
}


def read(content, block):
    reader = FileReader("f.csv", ParserOptions())
    blocks = [content[at : at + block] for at in range(0, len(content), block)]
    bodies = [b for each in blocks for records in reader.feed(each) for b in records.bodies]
    bodies += [body for records in reader.finish() for body in records.bodies]
    return [list(msgspec.json.decode(b"{" + body).values()) for body in bodies]


@pytest.mark.parametrize("encoding", TEXTS)
@pytest.mark.parametrize("block", [1, 50, 1 << 20])
def test_the_encoding_is_guessed_from_the_first_bytes(encoding, block):
    text = TEXTS[encoding]
    content = text.encode(encoding)
    assert guessed_encoding(content) == codecs.lookup(encoding).name
    rows = [line.split(",") for line in text.splitlines()[1:]]
    found = read(content, block)
    assert [list(map(str, row)) for row in found] == rows


def test_the_sample_decides_and_what_follows_is_held_to_it(monkeypatch):
    monkeypatch.setattr(guessing, "SAMPLE_BYTES", 10)
    with pytest.raises(DataError, match=r"byte 0xeb in line 4 .* isn't utf-8"):
        read("a\n1\n2\n3ë\n".encode("latin-1").replace(b"1", b"111111111"), 4)


def test_a_character_cut_by_the_end_of_the_sample_is_no_reason_to_guess():
    assert guessed_encoding("a,ü".encode()[:-1]) == "utf-8"
