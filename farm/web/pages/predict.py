"""What programs ask of the law and the catalog: the documents of ``farm predict``, ``law list`` and the catalog."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from farm.catalog import documents
from farm.web.asking import Choice
from farm.web.knowledge import PROGRAM_SECONDS, NotFitted
from farm.web.site import Here, Page, as_json

router = APIRouter(prefix="/api")
PAGE: Final = Page("Predict", None, 101, router)


@router.get("/predict")
def predict(request: Request, site: Here, asked: Annotated[Choice, Query()]) -> Response:
    """The document of `farm predict --json`; of several configurations, `predictions` and `left_out`."""
    question = asked.question()
    asked.terms()  # a wrong one is said before a fit is waited for
    known = site.knowledge.known(asked.law, wait=PROGRAM_SECONDS)
    if known is None:
        raise NotFitted("the law is still being fitted: ask again")
    answers, left_out = asked.chosen(asked.answers(known, question.table), question)
    if question.single:
        return as_json(request, answers[0].to_dict())
    return as_json(request, {"predictions": answers.to_dicts(), "left_out": list(left_out)})


@router.get("/laws")
def laws(request: Request, site: Here) -> Response:
    """The laws and the stored fits, as `farm law list --json`."""
    from analysis.records import listing
    from farm.fits import Fits

    return as_json(request, listing(Fits(site.store()).stored(documents=False)))


@router.get("/models")
def models(request: Request) -> Response:
    """The models of the catalog, as `farm models --json`."""
    return as_json(request, documents.models())


@router.get("/gpus")
def gpus(request: Request) -> Response:
    """The GPU types of the catalog, as `farm gpus --json`."""
    return as_json(request, documents.gpus())
