import json
import pickle  # noqa: TID251  # to see that it is refused

import pytest

from libs.runtime.secret import Secret


def test_text_comes_out_only_by_reveal() -> None:
    secret = Secret("hush")
    assert secret.reveal() == "hush"
    assert "hush" not in f"{secret} {secret!r} {[secret]}"


def test_it_is_not_serialised() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(Secret("hush"))
    with pytest.raises(TypeError):
        json.dumps(Secret("hush"))


def test_equality_and_truth() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret("")
    assert len({Secret("a"), Secret("a")}) == 1
