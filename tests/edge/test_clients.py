"""Clients that users have, unchanged, against a real server process. They live in an environment of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.edge import graphs
from tests.edge.devices import Server, activate, place, serving
from trimtab_edge.serving.grpc import open_inference_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".peers/clients/bin/python"
SCRIPTS = Path(__file__).parent / "clients"
TRITON = {
    "health_and_metadata", "infer_with_id", "requested_outputs", "many_rows", "json_tensors", "binary_tensors",
    "json_in_binary_out", "parallel_requests", "repository", "refusals",
}  # fmt: skip
KSERVE = {"rest_health", "rest_json", "rest_binary", "rest_error", "grpc_health", "grpc_infer"}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def environment() -> Path:
    """The interpreter beside the clients; made here where it is not there yet."""
    made = subprocess.run(
        ["sh", "tools/peers", "clients"], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False
    )
    if made.returncode:
        pytest.skip(f"needs an environment with the clients: {made.stderr.strip().splitlines()[-1]}")
    return PYTHON


@pytest.fixture(scope="module")
def server(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    del environment  # without clients nobody needs a server
    repository = tmp_path_factory.mktemp("models")
    for model in ("adder", "loose", "ordered"):
        place(repository, model, "1.0.0", graphs.adder(0.5))
    activate(repository, "ordered", "1.0.0", None)
    for datatype in graphs.ELEMENT:
        place(repository, f"identity-{datatype.lower()}", "1.0.0", graphs.identity(datatype))
    with serving(repository, tmp_path_factory.mktemp("log") / "serve.log", "--grpc-port", "0") as running:
        running.wait_ready("ordered")
        yield running
        assert running.stop() == 0


def told(environment: Path, script: str, *arguments: str) -> dict[str, str | None]:
    """What a script's checks came to."""
    # Nothing of this process's environment may lead the client to other modules or through a proxy.
    keep = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    command = [str(environment), str(SCRIPTS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=keep, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, str | None] = json.loads(done.stdout)
    return found


def field_numbers() -> dict[str, dict[str, tuple[int, int, bool]]]:
    """Every field of every message of ours: its number, type, and whether it is repeated."""
    found = {}

    def add(message: Descriptor, within: str) -> None:
        name = f"{within}{message.name}"
        found[name] = {field.name: (field.number, field.type, field.is_repeated) for field in message.fields}
        for nested in message.nested_types:
            if not nested.GetOptions().map_entry:
                add(nested, f"{name}.")

    for message in pb.DESCRIPTOR.message_types_by_name.values():
        add(message, "")
    return found


def check(found: dict[str, str | None], names: set[str]) -> None:
    """Every check was made, and none went wrong."""
    assert found.keys() == names
    assert {name: wrong for name, wrong in found.items() if wrong is not None} == {}


def test_tritonclient_over_http(environment: Path, server: Server) -> None:
    check(told(environment, "triton.py", "http", f"{server.host}:{server.port}"), TRITON)


def test_tritonclient_over_grpc_and_our_field_numbers_are_its_own(
    environment: Path, server: Server, tmp_path: Path
) -> None:
    numbers = tmp_path / "ours.json"
    numbers.write_text(json.dumps(field_numbers()))
    found = told(environment, "triton.py", "grpc", server.grpc_address, str(numbers))
    check(found, TRITON | {"field_numbers"})


def test_the_kserve_client_over_http_and_grpc(environment: Path, server: Server) -> None:
    check(told(environment, "kserve_client.py", server.url, server.grpc_address), KSERVE)
