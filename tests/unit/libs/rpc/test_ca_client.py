from pathlib import Path

import pytest

from libs.pki import csr
from libs.protos.istio.ca.v1 import ca_pb2, ca_pb2_grpc
from libs.rpc import ca_client, server
from libs.rpc.errors import CaError
from libs.rpc.peer import Context, bearer_token
from tests.support.grpc_peers import SERVER_NAME, server_keychain, test_root

ROOT = test_root()
REQUEST = csr.make_with_key()[1]


class Answers(ca_pb2_grpc.IstioCertificateServiceServicer):
    """A CA that says what it was asked."""

    def __init__(self, entries: int = 3) -> None:
        self._entries = entries

    async def CreateCertificate(  # noqa: N802  # the protocol's name
        self, request: ca_pb2.IstioCertificateRequest, context: Context
    ) -> ca_pb2.IstioCertificateResponse:
        said = [bearer_token(context), request.csr, str(request.validity_duration)]
        return ca_pb2.IstioCertificateResponse(cert_chain=said[: self._entries])


def files(folder: Path, port: int) -> ca_client.CaAddress:
    (folder / "root").write_bytes(ROOT.root_pem)
    (folder / "token").write_text("a.b.c\n")
    return ca_client.CaAddress(f"127.0.0.1:{port}", folder / "root", folder / "token", SERVER_NAME)


def serving(answers: Answers) -> object:
    port = server.Port("127.0.0.1:0", server_keychain(ROOT).server_credentials(mutual=False))
    register = ca_pb2_grpc.add_IstioCertificateServiceServicer_to_server
    return server.running([lambda to: register(answers, to)], port)


async def test_token_and_request_are_sent(tmp_path: Path) -> None:
    async with serving(Answers()) as port:
        chain = await ca_client.sign(files(tmp_path, port), REQUEST, lifetime=60)
    assert chain == ["a.b.c", REQUEST.decode(), "60"]


async def test_an_answer_without_a_root_is_refused(tmp_path: Path) -> None:
    async with serving(Answers(entries=1)) as port:
        with pytest.raises(CaError, match="no root"):
            await ca_client.sign(files(tmp_path, port), REQUEST)


async def test_absence_wrong_name_and_missing_files_are_one_kind_of_error(tmp_path: Path) -> None:
    async with serving(Answers()) as port:
        address = files(tmp_path, port)
        wrong = ca_client.CaAddress(address.address, address.root_file, address.token_file, "x.y")
        with pytest.raises(CaError, match="UNAVAILABLE"):
            await ca_client.sign(wrong, REQUEST)
    with pytest.raises(CaError, match="UNAVAILABLE"):
        await ca_client.sign(address, REQUEST)
    address.token_file.unlink()
    with pytest.raises(CaError, match="cannot read"):
        await ca_client.sign(address, REQUEST)
