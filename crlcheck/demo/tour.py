"""Run the demo's first half: send API Gateway events to authorizers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from crlcheck.demo.apis import EXPECTED, HTTP, REST, Answer, Api
from crlcheck.demo.events import PATH
from crlcheck.demo.site import STORE, Site, Step, words

_APIS = (REST, HTTP)


@dataclass(frozen=True, slots=True)
class Decision:
    """
    An authorizer's decision on one client.

    ``answer`` is None if it could not be read, or if a second call got another one.
    ``seconds`` is the time of the first call.
    """

    api: str
    client: str
    answer: Answer | None
    seconds: float
    seconds_again: float

    @property
    def is_right(self) -> bool:
        """Whether the client was let in, or kept out, for the right reason."""
        return self.answer == EXPECTED[self.client]


@dataclass(frozen=True, slots=True)
class TourReport:
    """The decisions and sizes of a tour; sizes are in bytes."""

    steps: tuple[Step, ...]
    decisions: tuple[Decision, ...]
    num_entries: int
    crl_size: int
    image_size: int

    @property
    def is_right(self) -> bool:
        """Whether there is a decision for each client of each API, and all are right."""
        found = sorted((decision.api, decision.client) for decision in self.decisions)
        expected = sorted((api.name, client) for api in _APIS for client in EXPECTED)
        return found == expected and all(decision.is_right for decision in self.decisions)


def run_tour(site: Site) -> TourReport:
    """
    Let an authorizer of each kind of API decide on each client.

    Raises:
        DemoError: a part did not run at all.
    """
    decisions = [decision for api in _APIS for decision in _authorize(api, site)]
    return TourReport(
        tuple(site.steps),
        tuple(decisions),
        site.world.num_entries,
        len(site.world.crl),
        site.image_size,
    )


def _authorize(api: Api, site: Site) -> Iterator[Decision]:
    """Let the authorizer decide on each client, and again once its image is loaded."""
    settings = {"CRLCHECK_STORE": STORE, "CRLCHECK_RESPONSE": api.response}
    with site.step(f"the authorizer starts, for the {api.name} API") as notes:
        function = site.start_function("lambda_authorizer.handler.handler", settings)
        notes.append(words(settings))
    events = {
        name: api.make_event(client.certificate, PATH)
        for name, client in site.world.clients.items()
    }
    first = {name: function.ask(event) for name, event in events.items()}
    again = {name: function.ask(event) for name, event in events.items()}
    for name in events:
        answers = [api.read_answer(asked["answer"]) for asked in (first[name], again[name])]
        yield Decision(
            api.name,
            name,
            answers[0] if answers[0] == answers[1] else None,
            first[name]["seconds"],
            again[name]["seconds"],
        )
