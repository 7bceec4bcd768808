"""Two replicas over one PostgreSQL and one Lease of a real API server: exactly one of everything, whoever dies."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.bot.counts import Fleet
from tests.bot.rig import KIOSKS, UNFAIR, Origin, settings
from tests.lab.cluster import Cluster
from tests.lab.postgresql import Postgresql
from tests.lab.processes import LabProcess, Processes
from tests.rigs.slack import slack
from trimtab_bot.approvals.machine import Phase
from trimtab_bot.ledger.sql import SqlLedger
from trimtab_bot.ledger.verification import verify_postgresql
from trimtab_bot.records import IncidentPhase
from trimtab_bot.store.sql import SqlStore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
KILLS = 20


class Stage:
    """A repository whose newest merge is bad, a database, a namespace for the lease, and replicas."""

    def __init__(self, folder: Path, cluster: Cluster, url: str, slack_url: str, processes: Processes) -> None:
        self.origin = Origin(folder / "fleet.git")
        self.origin.release()
        self.fleet = Fleet(folder / "counts.json")
        for group in KIOSKS:
            self.fleet.runs(group, "triage", {"1.2.0": 2})
            self.fleet.decided(group, "triage", "1.2.0", UNFAIR)
        self.fleet.save()
        self.folder, self.url, self.slack_url, self.processes = folder, url, slack_url, processes
        self.namespace = cluster.namespace("replicas")
        self.leases = cluster.resource("coordination.k8s.io/v1", "Lease")
        (folder / "database.url").write_text(url)
        (folder / "state").mkdir()
        leader = {"namespace": self.namespace, "kubeconfig": str(cluster.kubeconfig), "duration": "2s"}
        database = {"urlFile": str(folder / "database.url")}
        (folder / "bot.yaml").write_text(json.dumps(settings(folder, leader=leader, database=database)))
        self.store = SqlStore.connect(url)
        self.count = 0

    def start(self, kill_at: int) -> LabProcess:
        self.count += 1
        command = [sys.executable, "-m", "tests.lab.replica", str(self.folder / "bot.yaml")]
        command += [
            str(self.folder / "counts.json"),
            self.slack_url,
            f"replica-{self.count}",
            "--kill-at",
            str(kill_at),
        ]
        environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        return self.processes.start(
            f"replica-{self.count}", command, environment=environment, directory=Path(__file__).parents[2]
        )

    def leader(self, replicas: list[LabProcess]) -> LabProcess | None:
        """The living replica that the lease names."""
        lease: dict[str, Any] = self.leases.get(namespace=self.namespace, name="trimtab-bot").to_dict()
        return next((each for each in replicas if each.name == lease["spec"].get("holderIdentity")), None)

    def merged(self) -> bool:
        with self.store.reading() as view:
            return any(each.ballot.phase is Phase.MERGED for each in view.proposals()) and not view.pending_records()

    def watched(self) -> bool:
        with self.store.reading() as view:
            return any(each.phase is not IncidentPhase.OPEN for each in view.incidents()) and not view.unsaid()


def test_the_leader_is_killed_twenty_times(
    tmp_path: Path, cluster: Cluster, postgresql: Postgresql, lab_processes: Processes
) -> None:
    """By itself, at durable steps, while there is something to do; by us from then on."""
    chance = random.Random(20261122)  # noqa: S311 - a seeded sample, no secret
    url = postgresql.database()
    with slack() as rig:
        stage = Stage(tmp_path, cluster, url, f"{rig.url}/api/", lab_processes)
        kills = 0
        replicas = [stage.start(chance.randint(1, 4)) for _ in range(2)]
        deadline = time.monotonic() + 400
        while kills < KILLS:
            assert time.monotonic() < deadline, f"{kills} kills only\n" + "\n".join(each.tail(5) for each in replicas)
            if stage.merged() and (leading := stage.leader(replicas)) is not None:
                leading.kill()
            for place, each in enumerate(replicas):
                if not each.running:
                    assert each.popen.returncode == -signal.SIGKILL, each.tail()
                    kills += 1
                    replicas[place] = stage.start(chance.randint(1, 4) if kills < KILLS - 1 else 0)
            time.sleep(0.1)
        while not (stage.merged() and stage.watched()):
            assert time.monotonic() < deadline, "\n".join(each.tail(5) for each in replicas)
            time.sleep(0.2)
        for each in replicas:
            each.stop()
        with stage.store.reading() as view:
            (incident,) = view.incidents()
            (proposal,) = view.proposals()
            head, epochs = view.ledger_head(), view.epoch()
            timeline = [entry.text for entry in view.timeline(incident.id)]
        assert epochs > KILLS / 2, "leadership went from one to the other"
        assert stage.origin.merges_of_the_bot() == [proposal.ballot.merged]
        assert [vote.person for vote in proposal.ballot.votes] == ["ada"]
        assert timeline.count(f"proposal merged as {(proposal.ballot.merged or '')[:12]}") == 1
        assert len(stage.origin.refs("refs/heads/trimtab")) == 1
        assert len(rig.messages) == 1
        assert head is not None
        found = verify_postgresql(url, (head.index, head.hash))
        assert (found.entries, found.fault) == (head.index, None)
        ledger = SqlLedger.connect(url, reading=True)
        events = [str(entry.record.body["event"]) for entry in ledger.entries(proposal.id)]
        ledger.close()
        assert [events.count(name) for name in ("proposing", "proposal", "approved", "merging", "merged")] == [1] * 5
        stage.store.close()
