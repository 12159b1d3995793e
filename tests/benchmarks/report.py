"""What was measured, as text for a terminal, and for the documentation: a table, a list of aims, a
chart, and a file with all figures.

All of it is made of the one document that `run.py` writes as JSON, so it can be made again later.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from peers import BEFORE, NAMES
from workloads import BY_KEY, WAITING, Target, Workload

Document = dict[str, Any]
TRACED = 1.3
"""How much longer a traced request may take, without the time of the tracing itself."""
WAITED = 1 / 1.15
"""Of the ideal, where requests wait: a total within 15 % of it."""


@dataclass(frozen=True)
class Ratio:
    """How one peer's rate relates to another's: the median of the rounds, the least, the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}..{self.most:.2f})"


class Row:
    """The figures of one workload."""

    def __init__(self, key: str, results: dict[str, list[dict[str, float]]]) -> None:
        self.workload: Workload = BY_KEY[key]
        self.results = results
        self.peers = [key for key in NAMES if results.get(key)]

    def values(self, peer: str, field: str) -> list[float]:
        return [figures[field] for figures in self.results[peer]]

    def median(self, peer: str, field: str) -> float:
        return statistics.median(self.values(peer, field))

    def ratio(self, peer: str, base: str) -> Ratio | None:
        """Of the rates in the same round: a busy moment meets both."""
        if peer not in self.peers or base not in self.peers:
            return None
        pairs = zip(self.values(peer, "rate"), self.values(base, "rate"), strict=True)
        return _ratio([mine / other for mine, other in pairs])

    def of_ideal(self, peer: str) -> Ratio | None:
        """The least time that it can take, by the time that it took."""
        if self.workload.ideal is None:
            return None
        from_rate = self.workload.ideal / WAITING
        return _ratio([rate * from_rate for rate in self.values(peer, "rate")])

    def fastest(self) -> list[str]:
        return sorted(self.peers, key=lambda peer: -self.median(peer, "rate"))

    def first_but_ours(self) -> str | None:
        others = (peer for peer in self.fastest() if peer not in ("bare", "asyncflask", BEFORE))
        return next(others, None)


def _ratio(values: list[float]) -> Ratio:
    return Ratio(statistics.median(values), min(values), max(values))


def rows_of(document: Document) -> list[Row]:
    return [Row(key, results) for key, results in document["workloads"].items()]


def rows_by_key(document: Document) -> dict[str, Row]:
    return {row.workload.key: row for row in rows_of(document)}


# -- what was aimed at -------------------------------------------------------------------------


@dataclass(frozen=True)
class Aim:
    what: str
    got: str
    wanted: str
    met: bool

    def cells(self) -> tuple[str, ...]:
        return self.what, self.got, self.wanted, "yes" if self.met else "no"


AIMS = ("What", "asyncflask", "aim", "reached")


def aims_of(document: Document) -> Iterator[Aim]:
    for row in rows_of(document):
        if "asyncflask" not in row.peers:
            continue
        for target in row.workload.targets:
            if (ratio := row.ratio("asyncflask", target.peer)) is not None:
                yield _aim(row.workload, ratio, target)
        if (ratio := row.ratio("asyncflask", BEFORE)) is not None:
            what = f"{row.workload.title}, to {NAMES[BEFORE]}"
            yield Aim(what, str(ratio), "1.00", ratio.median >= 1)
        if row.workload.leads and (first := row.first_but_ours()) is not None:
            ratio = row.ratio("asyncflask", first)
            assert ratio is not None
            name = f"{row.workload.title}, to the fastest other, {NAMES[first]}"
            yield Aim(name, str(ratio), "over 1", ratio.median > 1)
        if (ratio := row.of_ideal("asyncflask")) is not None:
            title = f"{row.workload.title}, share of the ideal"
            yield Aim(title, str(ratio), f"{WAITED:.2f}", ratio.median >= WAITED)
    yield from _other_aims(document)


def _aim(workload: Workload, ratio: Ratio, target: Target) -> Aim:
    what = f"{workload.title}, to {NAMES[target.peer]}"
    return Aim(what, str(ratio), f"{target.ratio:.2f}", ratio.median >= target.ratio)


def _other_aims(document: Document) -> Iterator[Aim]:
    if (upload := document.get("memory")) and "asyncflask" in upload:
        grown = upload["asyncflask"]["grown"]
        megabytes = upload["asyncflask"]["megabytes"]
        what = f"memory for an upload of {megabytes} MB"
        yield Aim(what, f"{grown:.1f} MB", "under 20 MB", grown < 20)
    if (traced := _traced(rows_by_key(document))) is not None:
        what = "CPU of a traced request without the tracing's own, to that of an untraced one"
        yield Aim(what, f"{traced:.2f}", f"at most {TRACED:.2f}", traced <= TRACED)
    if hops := document.get("hops", {}).get("asyncflask"):
        more = hops["async view, 3 sync hooks"] - hops["sync view, 3 sync hooks"]
        yield Aim("more thread hops of an async view with sync hooks", str(more), "1", more <= 1)
    startup = document.get("startup", {})
    for what, field, peer, most in (
        ("time to import", "import", "flask", 1.0),
        ("time to the first answer", "first_answer", "starlette", 1.1),
    ):
        if "asyncflask" in startup and peer in startup:
            ratio = startup["asyncflask"][field] / startup[peer][field]
            what = f"{what}, to {NAMES[peer]}'s"
            yield Aim(what, f"{ratio:.2f}", f"at most {most:.2f}", ratio <= most)
    for kind, by_count in document.get("growth", {}).get("asyncflask", {}).items():
        times = [figures["request"] for figures in by_count.values()]
        ratio = max(times) / min(times)
        what = f"longest by shortest time of a request, {' to '.join(_ends(by_count))} {kind}"
        yield Aim(what, f"{ratio:.2f}", "at most 1.20", ratio <= 1.2)


def _traced(rows: dict[str, Row]) -> float | None:
    """What a bare callable takes longer when it is traced is the tracing's own time."""
    plain, traced = rows.get("trace-none"), rows.get("trace-asgi")
    if plain is None or traced is None or "bare" not in plain.peers:
        return None
    own = traced.median("bare", "cpu") - plain.median("bare", "cpu")
    return (traced.median("asyncflask", "cpu") - own) / plain.median("asyncflask", "cpu")


def _ends(mapping: dict[str, Any]) -> tuple[str, str]:
    keys = list(mapping)
    return keys[0], keys[-1]


# -- tables ------------------------------------------------------------------------------------

HEADINGS = ("requests/s", "to bare", "to Starlette", "p99 ms", "CPU µs", "MB")


def row_cells(row: Row) -> Iterator[tuple[str, ...]]:
    """The fastest first."""
    for peer in row.fastest():
        ratios = [row.ratio(peer, base) for base in ("bare", "starlette")]
        if row.workload.ideal is not None:
            ratios[0] = row.of_ideal(peer)
        yield (
            NAMES[peer],
            f"{row.median(peer, 'rate'):,.0f}",
            *("" if ratio is None else str(ratio) for ratio in ratios),
            f"{row.median(peer, 'p99') * 1e3:,.1f}",
            f"{row.median(peer, 'cpu') * 1e6:,.0f}",
            f"{row.median(peer, 'memory'):,.0f}",
        )


def headings(row: Row) -> tuple[str, ...]:
    if row.workload.ideal is None:
        return (row.workload.title, *HEADINGS)
    return (row.workload.title, HEADINGS[0], "to the ideal", *HEADINGS[2:])


def extra_tables(document: Document) -> Iterator[list[tuple[str, ...]]]:
    """What no server's rate says. The first line of each is its head."""
    if upload := document.get("memory"):
        yield [
            ("large upload", "MB", "seconds", "memory, MB more"),
            *(
                (NAMES[peer], str(u["megabytes"]), f"{u['seconds']:.1f}", f"{u['grown']:.1f}")
                for peer, u in upload.items()
            ),
        ]
    if startup := document.get("startup"):
        yield [
            ("start", "import, ms", "first answer, ms"),
            *(
                (NAMES[peer], f"{s['import'] * 1e3:,.0f}", f"{s['first_answer'] * 1e3:,.0f}")
                for peer, s in startup.items()
            ),
        ]
    if hops := document.get("hops"):
        cases = list(next(iter(hops.values())))
        yield [
            ("thread hops per request", *cases),
            *((NAMES[peer], *map(str, counts.values())) for peer, counts in hops.items()),
        ]
    for peer, kinds in document.get("growth", {}).items():
        numbers = {number for by_count in kinds.values() for number in by_count}
        counts = sorted(numbers, key=lambda number: int(number.replace(",", "")))
        yield [
            (f"{NAMES[peer]}, µs by number", *counts),
            *(
                (f"{kind}: {what}", *_cells(by_count, counts, what))
                for kind, by_count in kinds.items()
                for what in next(iter(by_count.values()))
            ),
        ]


def _cells(by_count: dict[str, dict[str, float]], counts: list[str], what: str) -> Iterator[str]:
    for count in counts:
        yield f"{by_count[count][what]:.1f}" if count in by_count else ""


def text(document: Document) -> str:
    lines = []
    for row in rows_of(document):
        lines += _aligned([headings(row), *row_cells(row)])
    for table in extra_tables(document):
        lines += _aligned(table)
    if aims := list(aims_of(document)):
        lines += _aligned([AIMS, *(aim.cells() for aim in aims)])
    return "\n".join([*lines, *facts(document)])


def _aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ] + [""]


# -- for the documentation ---------------------------------------------------------------------

COMPARED = ("bare", "starlette", "fastapi", "falcon", "blacksheep", "quart", "flask")
"""The columns of the table."""
DETAILS = (
    *("hooks", "hooks-none", "hooks-teardown", "hooks-mixed", "hooks-none-sync"),
    *("stream-lone", "trace-none"),
)
"""Rows that are not in the table, but in the file with all figures."""
CSV_HEADINGS = (
    *("row", "workload", "peer", "rounds", "requests_per_second", "p50_ms", "p99_ms"),
    *("server_cpu_us", "server_mb", "asyncflask_to_peer", "least", "most"),
)


def table_rst(document: Document) -> str:
    """asyncflask's rates, as they relate to those of the others; the rest in short below it."""
    peers = [key for key in COMPARED if any(key in row.peers for row in rows_of(document))]
    table = [("", "requests/s", *(NAMES[peer] for peer in peers))]
    for row in rows_of(document):
        if row.workload.key in DETAILS or "asyncflask" not in row.peers:
            continue
        ratios = [row.ratio("asyncflask", peer) for peer in peers]
        cells = ("" if ratio is None else f"{ratio.median:.2f}" for ratio in ratios)
        table.append((row.workload.title, f"{row.median('asyncflask', 'rate'):,.0f}", *cells))
    widths = " ".join(["34", "12", *["9"] * len(peers)])
    return "\n".join([_list_table(table, widths), *_in_short(document), *facts(document), ""])


def _in_short(document: Document) -> Iterator[str]:
    """What is no rate."""
    if startup := document.get("startup"):
        for what, field in (
            ("Import, in milliseconds of processor time", "import"),
            ("Milliseconds from the start of the server to the first answer", "first_answer"),
        ):
            times = {NAMES[peer]: s[field] * 1e3 for peer, s in startup.items() if peer != "bare"}
            shown = (f"{name} {time:,.0f}" for name, time in times.items())
            yield f"- {what}: {', '.join(shown)}."
    if upload := document.get("memory"):
        shown = (f"{NAMES[peer]} {figures['grown']:.1f}" for peer, figures in upload.items())
        megabytes = next(iter(upload.values()))["megabytes"]
        yield f"- Memory for an upload of {megabytes:,} MB, in MB: {', '.join(shown)}."
    for peer, kinds in document.get("growth", {}).items():
        shown = (
            f"{' to '.join(_ends(by_count))} {kind} {_last_to_first(by_count):.2f}"
            for kind, by_count in kinds.items()
        )
        yield f"- Time of a request as the app grows, {NAMES[peer]}: {', '.join(shown)} times."
    yield ""


def _last_to_first(by_count: dict[str, dict[str, float]]) -> float:
    times = [figures["request"] for figures in by_count.values()]
    return times[-1] / times[0]


def aims_rst(document: Document) -> str:
    return _list_table([AIMS, *(aim.cells() for aim in aims_of(document))], "52 22 16 10")


def all_csv(document: Document) -> str:
    """One line for each peer of each row."""
    file = io.StringIO()
    lines = csv.writer(file, lineterminator="\n")
    lines.writerow(CSV_HEADINGS)
    for row in rows_of(document):
        for peer in row.fastest():
            ratio = row.ratio("asyncflask", peer)
            ratios = ("", "", "") if ratio is None else (ratio.median, ratio.least, ratio.most)
            lines.writerow(
                [
                    *(row.workload.key, row.workload.title, NAMES[peer], len(row.results[peer])),
                    f"{row.median(peer, 'rate'):.0f}",
                    *(f"{row.median(peer, field) * 1e3:.2f}" for field in ("p50", "p99")),
                    f"{row.median(peer, 'cpu') * 1e6:.1f}",
                    f"{row.median(peer, 'memory'):.1f}",
                    *(value if value == "" else f"{value:.3f}" for value in ratios),
                ]
            )
    return file.getvalue()


def _list_table(table: Iterable[tuple[str, ...]], widths: str) -> str:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for first, *others in table:
        lines += [f"   * - {first}".rstrip(), *(f"     - {cell}".rstrip() for cell in others)]
    return "\n".join([*lines, ""])


def facts(document: Document) -> list[str]:
    """Under which conditions it was measured."""
    used = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    most = max((len(next(iter(row.results.values()))) for row in rows_of(document)), default=0)
    pinned = "one core each for server and client of" if document["pinned"] else "not pinned, on"
    return [
        f"Measured on {document['date']} by ``{document['command']}``, in"
        f" {document['minutes']:.0f} minutes, with a load average of {document['load']:.1f} at the"
        f" beginning: medians of {most} rounds of {document['seconds']} s"
        " (fewer for rows without an aim),"
        f" {document['connections']} connections where nothing else is said. {pinned.capitalize()}"
        f" {document['processor']}; {document['python']}; {document['system']}. {used}."
    ]


# -- the chart ---------------------------------------------------------------------------------

CHARTED = (
    *("text-async", "text-sync", "params", "json", "stack-one-async", "stack-one-sync"),
    *("orm", "stream-sync"),
)
IN_CHART = ("bare", "asyncflask", "starlette", "fastapi", "falcon", "quart", "flask")
LINE, GAP, LEFT, BAR, COLUMN = 20, 34, 92, 236, 430
OURS, BARE, OTHERS = "#c2410c", "#9ca3af", "#475569"


def svg(document: Document) -> str:
    """Bars of requests per second, in two columns, the fastest of each workload on top."""
    rows = [row for row in rows_of(document) if row.workload.key in CHARTED]
    body: list[str] = []
    heights = [10, 10]
    for row in rows:
        column = heights.index(min(heights))
        body += _panel(row, 16 + column * COLUMN, heights[column])
        heights[column] += LINE * len(_shown(row)) + GAP
    width, height = 2 * COLUMN + 10, max(heights)
    style = (
        "text{font:13px sans-serif;fill:#1f2937}.title{font-weight:bold}"
        ".ours{font-weight:bold;fill:#c2410c}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}" role="img">',
            f"<title>Requests per second, {document['date']}</title>",
            f"<style>{style}</style>",
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
            *body,
            "</svg>",
            "",
        ]
    )


def _shown(row: Row) -> list[str]:
    return [peer for peer in row.fastest() if peer in IN_CHART]


def _panel(row: Row, x: int, y: int) -> Iterator[str]:
    yield f'<text class="title" x="{x}" y="{y + 16}">{escape(row.workload.title)}</text>'
    peers = _shown(row)
    most = max(row.median(peer, "rate") for peer in peers)
    for number, peer in enumerate(peers):
        rate = row.median(peer, "rate")
        top = y + 24 + number * LINE
        width = max(1.0, BAR * rate / most)
        ours = ' class="ours"' if peer == "asyncflask" else ""
        color = OURS if ours else BARE if peer == "bare" else OTHERS
        yield f'<text{ours} x="{x}" y="{top + 12}">{escape(NAMES[peer])}</text>'
        yield (
            f'<rect x="{x + LEFT}" y="{top + 1}" width="{width:.1f}" height="{LINE - 6}"'
            f' rx="2" fill="{color}"/>'
        )
        yield f'<text{ours} x="{x + LEFT + width + 6:.1f}" y="{top + 12}">{rate:,.0f}</text>'
