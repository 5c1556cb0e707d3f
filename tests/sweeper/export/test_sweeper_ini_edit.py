import configparser

from hypothesis import given
from hypothesis import strategies as st

from sweeper.ini_edit import edit_ini

TEXT = """\
# a file
[train]
; first
Gamma : 0.9   # remark
batch_size = auto
list = [1,
    2]

[env]
frameskip=4
"""


def test_only_the_value_changes() -> None:
    assert edit_ini(TEXT, {"train.gamma": 0.5}) == TEXT.replace("0.9 ", "0.5 ")


def test_a_value_over_several_lines_is_replaced_whole() -> None:
    edited = edit_ini(TEXT, {"train.list": [3]})
    assert "list = [3]\n\n[env]" in edited
    assert "    2]" not in edited


def test_new_keys_go_to_the_end_of_their_section() -> None:
    edited = edit_ini(TEXT, {"train.seed": 7, "vec.num_envs": 8})
    assert "    2]\nseed = 7\n\n[env]" in edited
    assert edited.endswith("[vec]\nnum_envs = 8\n")


def test_remarks_stay_and_quotes_are_no_remarks() -> None:
    text = "[a]\nx = 'one # two'\ny =   # nothing yet\nz = 16384#32768 ; old\n"
    edited = edit_ini(text, {"a.x": 1, "a.y": 2, "a.z": 3})
    assert edited == "[a]\nx = 1\ny =   2  # nothing yet\nz = 3 ; old\n"


def test_sections_of_one_environment() -> None:
    assert edit_ini("[A-v1.2:train]\nx = 1\n", {"A-v1.2:train.x": 2}) == "[A-v1.2:train]\nx = 2\n"


def test_line_ends_stay() -> None:
    edited = edit_ini(TEXT.replace("\n", "\r\n"), {"train.gamma": 0.5, "train.seed": 3})
    assert edited.count("\n") == edited.count("\r\n")


names = st.sampled_from(["a", "b", "c"])
files = st.dictionaries(names, st.dictionaries(names, st.integers(0, 99), max_size=3), max_size=3)
changes = st.dictionaries(st.tuples(names, names).map(".".join), st.integers(100, 199), max_size=4)


@given(files, changes)
def test_the_edited_text_holds_exactly_what_was_asked(content, wanted) -> None:
    text = "".join(
        f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()) + "\n"
        for section, keys in content.items()
    )
    parser = configparser.ConfigParser()
    parser.read_string(edit_ini(text, wanted))
    found = {
        f"{section}.{key}": int(value)
        for section in parser.sections()
        for key, value in parser[section].items()
    }
    expected = {f"{section}.{key}": value for section, keys in content.items() for key, value in keys.items()}
    assert found == {**expected, **wanted}
