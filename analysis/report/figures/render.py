"""A figure as files: PNG, SVG, an interactive page without a network, and the CSV of the rows it shows."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

import altair as alt

from analysis.report.figures import theme
from farm.domain import RequestError
from farm.files import table
from farm.files.atomic import atomic_write

FORMATS: Final = (".png", ".svg", ".html", ".csv")
SOFTWARE: Final = "joulefarm"  # in every PNG: by it a later report knows its own figure
PNG_SCALE: Final = 2.0
PNG_HEAD: Final = 33  # bytes of a PNG's signature and header: what follows may be a chunk of text


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure: its definition, what it shows in words, and the rows it shows."""

    chart: alt.TopLevelMixin
    alt: str  # for those who do not see it
    caption: str = ""
    rows: Sequence[Mapping[str, Any]] = field(default=())
    datasets: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)  # by the names the chart uses

    def spec(self, colours: Mapping[str, str] | None = theme.LIGHT) -> dict[str, Any]:
        """The Vega-Lite document; without a configuration where ``colours`` is None."""
        document: dict[str, Any] = self.chart.to_dict(validate=False)
        document.pop("config", None)
        if colours is not None:
            document["config"] = theme.config(colours)
        return document | {"description": self.alt, "datasets": dict(self.datasets)}


def svg(picture: Picture, colours: Mapping[str, str] = theme.LIGHT) -> str:
    """As SVG, its text as text."""
    import vl_convert

    text = str(vl_convert.vegalite_to_svg(picture.spec(colours)))
    numbers = {name: str(i) for i, name in enumerate(dict.fromkeys(re.findall(r'id="clip(\d+)"', text)))}
    # The engine counts its clips over all pictures of a process: numbered anew, the same picture is the same file.
    return re.sub(r"\bclip(\d+)\b", lambda match: f"clip{numbers.get(match[1], match[1])}", text)


def png(picture: Picture, colours: Mapping[str, str] = theme.LIGHT) -> bytes:
    """As PNG at twice the size, saying whose it is."""
    import vl_convert

    content = bytes(vl_convert.vegalite_to_png(picture.spec(colours), scale=PNG_SCALE))
    text = b"tEXtSoftware\0" + SOFTWARE.encode()
    chunk = struct.pack(">I", len(text) - 4) + text + struct.pack(">I", zlib.crc32(text))
    return content[:PNG_HEAD] + chunk + content[PNG_HEAD:]


@cache
def scripts() -> str:
    """Vega, Vega-Lite and vega-embed as one script that sets ``vegaEmbed`` and needs no network."""
    import vl_convert

    everything = "window.vegaEmbed = vegaEmbed;"
    return str(vl_convert.javascript_bundle(everything)).replace("</script", "<\\/script")


def embedded_json(picture: Picture) -> str:
    """The definition as JSON that may stand inside a script element."""
    return json.dumps(picture.spec(None)).replace("<", "\\u003c")


def html(picture: Picture, title: str) -> str:
    """A page of this figure alone, interactive, light or dark as the reader's system is."""
    themes = json.dumps({"light": theme.config(theme.LIGHT), "dark": theme.config(theme.DARK)})
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>:root{{color-scheme:light dark}}body{{margin:2rem;font:16px/1.5 {theme.FONT}}}svg{{max-width:100%;height:auto}}
</style></head><body><main><figure aria-label="{escape(picture.alt, quote=True)}"><div id="figure"></div>
<figcaption>{escape(picture.caption)}</figcaption></figure></main>
<script>{scripts()}</script>
<script>
const spec = {embedded_json(picture)}, themes = {themes}, dark = matchMedia("(prefers-color-scheme: dark)");
const draw = () => vegaEmbed("#figure", {{...spec, config: themes[dark.matches ? "dark" : "light"]}},
  {{renderer: "svg", actions: false}});
dark.addEventListener("change", draw); draw();
</script></body></html>
"""


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of a figure or table as CSV."""
    names = dict.fromkeys(name for row in rows for name in row)
    return table.csv_text({name: [row.get(name) for row in rows] for name in names})


def save(
    picture: Picture, out: str | Path, formats: Sequence[str] = (".png", ".svg"), *, field: str = "out"
) -> list[Path]:
    """Write ``out`` (.png, .svg, .html or .csv), or where it has no such suffix a file a format; the paths.

    All of them are written or none. RequestError, naming ``field``, where the folder is not there or cannot be written.
    """
    path = Path(out)
    if not path.name:
        raise RequestError(field, str(out) or "nothing", "a file's name")
    paths = [path] if path.suffix in FORMATS else [path.with_name(path.name + suffix) for suffix in formats]
    with ExitStack() as all_or_none:
        for target in paths:
            file = all_or_none.enter_context(atomic_write(target, field))
            file.write_bytes(_content(picture, target))
    return paths


def _content(picture: Picture, target: Path) -> bytes:
    match target.suffix:
        case ".png":
            return png(picture)
        case ".svg":
            return svg(picture).encode()
        case ".html":
            return html(picture, target.stem).encode()
        case _:
            return csv_text(picture.rows).encode()
