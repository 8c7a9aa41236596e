import pytest
from jinja2 import UndefinedError

from waldo.templates import load_template


def test_values_are_escaped_in_html_only(tmp_path):
    for name, expected in (("page.html", "&lt;b&gt;\n"), ("card.md.jinja", "<b>\n")):
        (tmp_path / name).write_text("{{ value }}\n")
        assert load_template(tmp_path / name).render(value="<b>") == expected


def test_json_cannot_close_its_element(tmp_path):
    (tmp_path / "page.html").write_text("{{ value | tojson }}")
    assert load_template(tmp_path / "page.html").render(value={"b": "</script>", "a": "é"}) == (
        '{"b": "\\u003c/script\\u003e", "a": "é"}'
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        load_template(tmp_path / "page.html").render(value=float("nan"))


def test_an_undefined_variable_is_an_error(tmp_path):
    (tmp_path / "page.html").write_text("{{ valeu }}")
    with pytest.raises(UndefinedError, match="'valeu' is undefined"):
        load_template(tmp_path / "page.html").render(value=1)


def test_filters(tmp_path):
    (tmp_path / "card.md").write_text("{{ value | double }}")
    assert load_template(tmp_path / "card.md", {"double": lambda text: text * 2}).render(value="ab") == "abab"
