"""The command line through a real service, https and self-signed, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from coppice.settings import Settings
from tests.cli.conftest import Coppice
from tests.serving import Service, serving

SMALL = ("weights.pth", "--class-def", "model.py", "--model-name", "Small", "--input-size", "1,8,8")

pytestmark = pytest.mark.slow


@pytest.fixture
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(Settings(data_dir=tmp_path_factory.mktemp("service") / "data", port=0)) as running:
        yield running


def test_a_service_gives_what_this_machine_gives(files: Path, coppice: Coppice, service: Service) -> None:
    there = coppice("prune", *SMALL, "--percent", "0.4", "-o", "there", "--json", "--server", service.url, "--insecure")
    here = coppice("prune", *SMALL, "--percent", "0.4", "-o", "here", "--json")

    assert there.returncode == 0, there.stderr
    reports = [json.loads(found.stdout) for found in (there, here)]
    assert reports[0]["groups"] == reports[1]["groups"]
    kept = [
        torch.load(files / folder / _file(report, "state_dict"), weights_only=True)
        for folder, report in zip(("there", "here"), reports, strict=True)
    ]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[1])


def test_a_service_quantizes_to_the_same_bytes(files: Path, coppice: Coppice, service: Service) -> None:
    asked = (*SMALL, "--precision", "int4", "--json")
    there = coppice("quantize", *asked, "-o", "there", "--server", service.url, "--insecure")
    here = coppice("quantize", *asked, "-o", "here")

    assert there.returncode == here.returncode == 0, there.stderr
    report = json.loads(there.stdout)
    assert report["quantized"]["arithmetic"] == "float"
    name = _file(report, "quantized")
    assert (files / "there" / name).read_bytes() == (files / "here" / name).read_bytes()


def test_ones_jobs_are_listed_and_deleted_from_the_command_line(coppice: Coppice, service: Service) -> None:
    there = ("--server", service.url, "--insecure")
    failing = (*SMALL, "--percent", "0.4", "--omit", "nothere", "-o", "out.pt", "--priority", "high", *there)
    assert coppice("prune", *failing).returncode == 2
    listed = coppice("jobs", "list", "--state", "failed", "--json", *there)
    (job,) = json.loads(listed.stdout)["jobs"]
    assert (job["code"], job["priority"], job["call"]) == ("unknown_layer", "high", "pt_prune")
    assert job["txid"] in coppice("jobs", "list", *there).stdout
    assert coppice("jobs", "delete", job["txid"], *there).returncode == 0
    assert coppice("jobs", "delete", job["txid"], *there).returncode == 7  # unknown by now
    assert json.loads(coppice("jobs", "list", "--json", *there).stdout) == {"jobs": []}


def test_a_job_is_taken_up_again_from_the_command_line(files: Path, coppice: Coppice, service: Service) -> None:
    there = ("--server", service.url, "--insecure")
    assert coppice("prune", *SMALL, "--percent", "0.4", "-o", "first.pt", *there).returncode == 0
    (job,) = json.loads(coppice("jobs", "list", "--json", *there).stdout)["jobs"]
    txid = job["txid"]

    assert json.loads(coppice("jobs", "show", txid, "--json", *there).stdout)["status"] == 0
    assert json.loads(coppice("jobs", "wait", txid, "--json", *there).stdout) == {"done": txid}
    taken = json.loads(coppice("jobs", "download", txid, "-o", "again.pt", "--json", *there).stdout)
    assert taken == {"txid": txid, "written": ["again.pt"]}
    assert (files / "again.pt").read_bytes() == (files / "first.pt").read_bytes()
    told = json.loads(coppice("report", txid, "--json", *there).stdout)
    assert [group["removed"] for group in told["groups"]] == [4]
    refused = coppice("jobs", "cancel", "nothere", "--json", *there)
    assert (refused.returncode, json.loads(refused.stdout)["code"]) == (7, "unknown_transaction")


def test_terms_are_for_a_service(coppice: Coppice) -> None:
    alone = coppice("prune", *SMALL, "--percent", "0.4", "-o", "out.pt", "--priority", "high", "--json")
    assert (alone.returncode, json.loads(alone.stdout)["field"]) == (2, "priority")


def test_a_job_that_fails_there_ends_with_its_own_code_here(coppice: Coppice, service: Service) -> None:
    arguments = (*SMALL, "--percent", "0.4", "--omit", "nothere", "-o", "out.pt", "--server", service.url)
    failed, untrusted = coppice("prune", *arguments, "--insecure", "--json"), coppice("prune", *arguments)

    assert (failed.returncode, json.loads(failed.stdout)["code"]) == (2, "unknown_layer")
    # Without --insecure a certificate that nobody signed is refused before a byte is sent.
    assert untrusted.returncode == 69
    assert "--insecure" in untrusted.stderr


def _file(report: dict[str, list[dict[str, str]]], name: str) -> str:
    return next(artifact["file"] for artifact in report["artifacts"] if artifact["name"] == name)
