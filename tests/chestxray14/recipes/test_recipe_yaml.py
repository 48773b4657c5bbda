"""A recipe file that is none is one sentence with file and line, whatever is in it, and takes no memory."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import awb
from examples.chestxray14.recipes.find import find_recipe
from examples.chestxray14.recipes.schema import load_recipe
from examples.chestxray14.recipes.strict_yaml import parse_yaml, to_yaml

BOMB = "a: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"b{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 7)
)
TINY = find_recipe("tiny").to_yaml()


def refused(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(awb.AWBError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 400
    return message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (BOMB, "line 1: anchors (&) and aliases (*) are not for recipes"),
        ("a: *b\n", "line 1: anchors (&) and aliases (*)"),
        (TINY + "more:\n  <<: *b\n", "anchors (&) and aliases (*)"),
        ("name: a\n" + "[" * 100_000, "has more than 100,000 bytes"),
        ("name: a\nmodel: " + "[" * 1_000, "line 2: more than 20 lists and mappings in each other"),
        ("name: a\nmodel: " + "{a: " * 1_000, "line 2: more than 20 lists and mappings in each other"),
        ("name: " + "x" * 5_000, "line 1: a value of 5,000 characters"),
        ("name: a\nseed: " + "9" * 900, "line 2: a whole number of more than 64 bits"),
        ("name: a\nname: b", "line 2: name given twice"),
        ("name: a\n1.5: b", "line 2: a key that is not text"),
        ("name: a\n[b]: c", "line 2: a key that is not text"),
        ("name: a\nlr: .nan", "line 2: .nan is not a finite number"),
        ("name: a\nlr: -.inf", "line 2: -.inf is not a finite number"),
        ("name: a\nlr: 1e999", "line 2: 1e999 is not a finite number"),
        ("name: a\nlr: !!int x", "line 2: the tag 'tag:yaml.org,2002:int' is not for recipes"),
        ("name: a\nlr: !!python/object/apply:os.system [ls]", "line 2: the tag"),
        ("name: a\nlr: !!binary aGVsbG8=", "line 2: the tag"),
        ("name: a\n\tlr: 1", "line 2: while scanning for the next token found character '\\t'"),
        ("name: {a: 1", "line 1: while parsing a flow mapping"),
        ("name: a\n---\nname: b", "line 2: expected a single document"),
        ('name: a\nmodel: "\\ud800"', "line 2: half of a character"),
        ("name: a\nmodel: \x07", "line 2: the character '\\x07'"),
        ("name: a\nmodel: ä\n".encode("latin-1"), "line 2: not text in UTF-8"),
        (TINY.encode("utf-16"), "line 1: not text in UTF-8"),
        ("", "holds nothing; expected a recipe (name, model, data, stages, training) or a study (base"),
        ("- name\n", "holds a list; expected a recipe (name, model"),
        ("name\n", "holds a str; expected a recipe (name, model"),
        (TINY.replace("seed: 0", "seed: 2026-01-02", 1), "seed: expected a whole number, not '2026-01-02'"),
        (TINY.replace("image_size: 64", "image_size: 1:30"), "image_size: expected a whole number, not '1:30'"),
        (TINY.replace("image_size: 64", "image_size: 1_000"), "not '1_000'"),
        (TINY + "".join(f"k{i}: {{}}\n" for i in range(3_000)), "k7 is not a key; and 2,992 more"),
        (TINY.replace("image_size: 64", f"image_size: [{'1, ' * 5_000}]"), "image_size: expected a whole number"),
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_one_sentence_with_file_and_line(tmp_path: Path, content: str | bytes, words: str) -> None:
    assert words in refused(tmp_path / "r.yaml", content)


def test_a_mark_before_the_first_key_is_none_of_it(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes(TINY.encode("utf-8-sig"))
    assert load_recipe(tmp_path / "r.yaml").name == "tiny"


@pytest.mark.parametrize(
    ("text", "value"),
    [("012", 12), ("-7", -7), ("1:30", "1:30"), ("2026-01-02", "2026-01-02"), ("0x1f", "0x1f"), ("yes", True),
     ("<<", "<<"), ("=", "="), ("~", None), ("", None)],
)  # fmt: skip
def test_a_value_is_what_it_looks_like(text: str, value: object) -> None:
    read = parse_yaml(f"a: {text}", "text")["a"]
    assert read == value
    assert type(read) is type(value)


plain = st.text(st.characters(exclude_categories=("Cs",)), max_size=20) | st.from_regex(
    r"[-+]?[0-9][0-9.:_eE+-]{0,8}", fullmatch=True
)


@given(plain)
def test_any_name_is_read_back_as_it_was_written(name: str) -> None:
    content: Any = {"name": name, "values": [name, 1e-5, 1, True, None]}
    assert parse_yaml(to_yaml(content), "text") == content
