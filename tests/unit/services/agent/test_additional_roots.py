"""Roots beside the mesh's own: what is no certificate must not take the others away."""

from pathlib import Path

import pytest

from libs.protos.xds.v1 import relay_pb2
from services.agent import additional_roots
from services.agent.files import FileSecrets
from services.agent.secrets import ROOTCA, Secrets
from tests.support.certificates import TestAuthority


def root() -> str:
    return TestAuthority().issue("web").roots.decode()


def test_certificates_are_joined_and_others_are_left_out_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, other = root(), root()
    found = additional_roots.usable([one, "no certificate", "", other.strip()])
    assert found == f"{one.strip()}\n{other.strip()}\n"
    assert len(caplog.records) == 2


def test_they_stand_beside_roots_that_a_pod_was_given(tmp_path: Path) -> None:
    given, beside = root(), root()
    (tmp_path / "root.pem").write_text(given)
    secrets = Secrets()
    FileSecrets(secrets).follow_root(ROOTCA, tmp_path / "root.pem", beside=beside)
    served = secrets.get(ROOTCA)
    assert served is not None
    context = relay_pb2.Secret.FromString(served.body).validation_context
    assert context.trusted_ca.inline_bytes.decode() == f"{given.strip()}\n{beside}"
