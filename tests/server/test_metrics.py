"""The service's figures and probes, as those who watch over it ask for them."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from tests.serving import Service


def _figures(service: Service) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    with service.http() as http:
        page = http.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_the_figures_follow_what_happens(own_service: Service) -> None:
    """Machines by state, tasks by how they ended, requests by operation: counted, not guessed."""
    own_service.start()
    before = _figures(own_service)
    with own_service.http() as http:
        http.get("/v1/machines/web-1")
        http.get("/v1/machines/web-1")
        http.get("/nonsense/of/a/stranger")
    with own_service.connect() as inn:
        machine = inn.machines["web-1"]
        task = machine.turn_off() if machine.state.name == "RUNNING" else machine.startup()
        assert task.wait(30)
    after = _figures(own_service)

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after.get(key, 0) - before.get(key, 0)

    assert grown("innkeeper_http_requests_total", operation="get_machine", status="200") >= 2
    assert grown("innkeeper_http_requests_total", operation="unknown", status="404") == 1
    ended = [key for key in after if key[0] == "innkeeper_tasks_ended_total"]
    assert sum(after[key] - before.get(key, 0) for key in ended) == 1
    machines = [value for (name, _), value in after.items() if name == "innkeeper_machines"]
    assert sum(machines) == 3
    assert any(name == "process_open_fds" for name, _ in after)
    assert not any("stranger" in str(labels) for _, labels in after)


def test_the_probes_answer(service: Service) -> None:
    """Alive, and ready."""
    with service.http() as http:
        assert http.get("/livez").status_code == 200
        ready = http.get("/readyz")
    assert (ready.status_code, ready.text) == (200, "ready\n")
