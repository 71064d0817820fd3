"""Carbon of electricity: what CodeCarbon says where it is installed, what ships where it is not."""

from __future__ import annotations

import pytest

from analysis import carbon
from analysis.carbon import electricity
from farm.domain import RequestError


@pytest.mark.parametrize(
    ("spelled", "code"),
    [
        ("FR", "FRA"),
        ("fra", "FRA"),
        ("UK", "GBR"),
        ("US-CA", "USA-CA"),
        ("usa-california", "USA-CA"),
        ("USA:New York", "USA-NY"),
        ("CA-QC", "CAN-QC"),
        ("CAN/British Columbia", "CAN-BC"),
    ],
)
def test_a_country_or_region_is_found_as_people_write_it(spelled: str, code: str) -> None:
    assert electricity(spelled).country == code


@pytest.mark.parametrize(
    ("spelled", "word"), [("XX", "ISO 3166"), ("", "ISO 3166"), ("US-ZZ", "NY"), ("FR-75", "FRA alone")]
)
def test_an_unknown_one_is_refused_with_what_there_is(spelled: str, word: str) -> None:
    with pytest.raises(RequestError, match="country") as refusal:
        electricity(spelled)
    assert word in str(refusal.value)


@pytest.mark.parametrize(("country", "region"), [("USA", "california"), ("CAN", "quebec"), ("FRA", None)])
def test_codecarbon_says_the_same(country: str, region: str | None) -> None:
    emissions = pytest.importorskip("codecarbon.core.emissions")
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    geography = GeoMetadata(country_iso_code=country, country_name=country, region=region)
    kilograms = emissions.Emissions(DataSource()).get_private_infra_emissions(Energy.from_energy(kWh=1.0), geography)
    ours = electricity(country if region is None else f"{country}-{region}")
    assert ours.grams_per_kwh == pytest.approx(1000 * kilograms, rel=1e-9)
    assert ours.source.startswith("CodeCarbon")


def test_what_ships_is_what_codecarbon_had() -> None:
    """The table of a host without CodeCarbon: every country and region, to the digits that were written."""
    theirs = {entry.country: entry.grams_per_kwh for entry in carbon._codecarbon()}
    ours = {entry.country: entry.grams_per_kwh for entry in carbon._shipped()}
    assert len(ours) == len(set(ours)) > 270
    assert theirs.keys() <= ours.keys()
    assert {key: ours[key] for key in theirs} == pytest.approx(theirs, abs=5e-4)
