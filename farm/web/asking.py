"""What a reader asks of the law, as the query of an address: the options of ``farm predict`` by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from farm import catalog
from farm.domain.errors import RequestError
from farm.domain.parsing import is_empty, parse_switch

if TYPE_CHECKING:
    from analysis.costs import Terms
    from analysis.predictions import Predictions
    from analysis.questions import Question
    from farm.web.knowledge import Known

MOST: Final = 5_000  # configurations of one request; the command takes more


def nothing(value: Any) -> Any:
    """A field of a form that nobody filled in was not sent."""
    return None if is_empty(value) else value


Real = Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(nothing)]
Whole = Annotated[int | None, BeforeValidator(nothing)]
Text = Annotated[str | None, BeforeValidator(nothing)]


class Asked(BaseModel):
    """The options of ``farm predict``. Several values of an axis are separated by commas."""

    model_config = ConfigDict(extra="forbid")

    model: Text = None
    gpu: Text = None
    resolution: Text = None
    steps: Text = None
    precision: Text = None
    cfg: Text = None  # 0, 1 or both
    prompts: Text = None
    batch: Text = None
    frames: Text = None  # of a video
    country: Text = None
    grams_per_kwh: Real = None
    price: Real = None
    pue: Real = None
    host_watts: Real = None
    per_day: Whole = None
    level: Real = None
    law: Text = None

    def catalog_name(self, field: Literal["model", "gpu"]) -> str:
        """The catalog's name of the one model or GPU type that is asked about."""
        name = _catalog_names(getattr(self, field), field)
        if not name or "," in name:
            raise RequestError(field, getattr(self, field), "one name")
        return name

    def names(self, field: Literal["model", "gpu"]) -> list[str]:
        """The catalog's names of the models or GPU types that are asked about."""
        return list(dict.fromkeys(filter(None, (_catalog_names(getattr(self, field), field) or "").split(","))))

    def terms(self) -> Terms:
        """Whose electricity, what it costs. RequestError for what cannot be."""
        from analysis.costs import Terms

        return Terms(
            country=self.country,
            grams_per_kwh=self.grams_per_kwh,
            price=self.price,
            pue=1.0 if self.pue is None else self.pue,
            host_watts=self.host_watts or 0.0,
            per_day=self.per_day,
        )

    def question(self) -> Question:
        """The configurations asked about. RequestError for a value that is none, and for too many."""
        from analysis.cli.predict import parse_question
        from analysis.questions import REQUIRED

        axes = {
            "model": _catalog_names(self.model, "model"),
            "gpu": _catalog_names(self.gpu, "gpu"),
            "resolution": self.resolution,
            "steps": self.steps,
            "precision": self.precision,
            "cfg": _switch(self.cfg),
            "prompts": self.prompts,
            "batch": self.batch,
            "frames": self.frames,
        }
        for name in REQUIRED:
            if axes[name] is None:
                raise RequestError(name, None, "required")
        count = 1
        for text in axes.values():
            count *= len((text or "").split(","))
        if count * (2 if self.cfg == "both" else 1) > MOST:
            raise RequestError("lists", f"{count:,} configurations", f"at most {MOST:,}, or `farm predict`")
        return parse_question(axes, None)

    def answers(self, known: Known, table: Any) -> Predictions:
        """What a law says of configurations, on these terms."""
        from analysis.laws.base import LEVEL
        from analysis.prediction import answer

        fitted = known.fitted
        level = LEVEL if self.level is None else self.level
        return answer(fitted.law, table, terms=self.terms(), level=level, source=fitted.source, fit_id=fitted.fit_id)


class Choice(Asked):
    """Which of many answers, and in which order."""

    sort: Annotated[Literal["energy", "seconds", "grams", "cost"] | None, BeforeValidator(nothing)] = None
    max_joules: Real = None
    max_seconds: Real = None
    max_grams: Real = None
    sure: bool = False
    pareto: Annotated[Literal["seconds", "grams"] | None, BeforeValidator(nothing)] = None

    def chosen(self, answers: Predictions, question: Question) -> tuple[Predictions, Sequence[Any]]:
        """Those that meet the limits, in order, and what is left out with reasons."""
        from analysis.choices import Limits, chosen

        limits = Limits(joules=self.max_joules, seconds=self.max_seconds, grams=self.max_grams, sure=self.sure)
        return chosen(answers, question, limits=limits, sort_by=self.sort, pareto=self.pareto)


A = TypeVar("A", bound=Asked)


def asked_by(request: Request, query: type[A], usual: Mapping[str, str]) -> A:
    """The query of a request with the usual values of what it leaves out. RequestError for what cannot be read."""
    values = {**usual, **request.query_params}
    try:
        return query.model_validate({name: values[name] for name in values if name in query.model_fields})
    except ValidationError as error:
        first = error.errors()[0]
        raise RequestError(str(first["loc"][-1]), first["input"], first["msg"].lower()) from None


def refusal_status(request: Request) -> int:
    """Of a page that says why a question cannot be answered: 422, but 200 for a part that htmx asks for while a reader
    types, which a browser would report as a failure."""
    return 200 if request.headers.get("hx-request") else 422


def _catalog_names(text: str | None, field: str) -> str | None:
    """Names of the catalog for names that people have; never a folder of this machine, which a command may name."""
    if text is None:
        return None
    find: Any = catalog.find_model if field == "model" else catalog.find_gpu
    return ",".join(find(part).name for part in text.split(",") if part.strip())


def _switch(text: str | None) -> str | None:
    if text is None or text == "both":
        return text
    return "yes" if parse_switch("cfg", text) else "no"
