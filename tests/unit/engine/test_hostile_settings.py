"""A configuration in a record can be any text: comparing it, and looking what it calls the domain, raises nothing."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xensnap.engine import settings

TEXTS = st.text(max_size=60) | st.sampled_from(["name", "c_info.name", "memory"]).flatmap(
    lambda key: st.text(max_size=20).map(lambda value: f"{key} = {value}")
)


@given(TEXTS, TEXTS)
@example('name = "g"\x08', "")
@example("name = 'g'", 'name = "g"')
@example('{"name": ' + "[" * 5000, "")
def test_any_texts_are_compared(before: str, after: str) -> None:
    assert isinstance(settings.name(before), str)
    assert all(": " in change for change in settings.differing(before, after))
    assert all(": " in change for change in settings.of_the_machine(before, after))


@pytest.mark.parametrize("text", ["name = 'guest'", 'name = "guest"', '{"c_info": {"name": "guest"}}', "name = guest"])
def test_a_domain_is_called_what_its_configuration_says_in_any_form(text: str) -> None:
    assert settings.name(text) == "guest"
