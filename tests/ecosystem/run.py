"""The suites of Flask's extensions, under Flask and under this package:
``python tests/ecosystem/run.py``.

For each extension in `packages.toml`: a virtual environment of its own in ``build/ecosystem``,
the tests of its source release and our own in `apps`, one run under real Flask and one under
asyncflask (there, `site/sitecustomize.py` is all the difference). Nothing of the extensions is
kept here.

Exit status 0: whatever passes under Flask passes under asyncflask too, but for the differences
listed with their reasons in `packages.toml`, and no row is worse than in `recorded.toml`.

With ``--served`` the two runs are asyncflask and asyncflask served: each request of the test
client goes over a socket to uvicorn (the plugin `served`). Exit status 0 then says that whatever
passes in process passes served too, but for what `packages.toml` lists.

With ``--quick`` the seven that take the least time share one environment and the second run alone
is made; exit status 0 then says that no fewer tests pass than are recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tarfile
import tomllib
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.suites import SUITE_SECONDS, Run, fetch, run, run_pytest, ways_of

HERE: Final = Path(__file__).resolve().parent
REPOSITORY: Final = HERE.parents[1]
BUILD: Final = REPOSITORY / "build" / "ecosystem"

REQUIREMENTS: Final = ("flask[async]==3.1.3", "httpx", "pytest==8.4.2")
"""In every environment, beside asyncflask and the extension."""


JOBS: Final = 2
"""How many packages are tested at once."""

Labels = tuple[str, str]
"""Of the two runs that are compared."""

IN_PROCESS: Final = ("flask", "asyncflask")
SERVED: Final = ("asyncflask", "served")

TITLES: Final = {"flask": "Flask 3.1.3", "asyncflask": "asyncflask", "served": "served"}


class Package(NamedTuple):
    """A table of `packages.toml`."""

    name: str
    version: str
    release: str = ""
    """The source release, ``name-version`` as in its file's name; empty: it has no tests."""
    sha256: str = ""
    requirements: tuple[str, ...] = ()
    """Of the tests, beside what the extension itself requires."""
    settings: str = os.devnull
    """The file in the release with pytest's settings."""
    arguments: tuple[str, ...] = ("tests",)
    """For pytest."""
    seconds: float = SUITE_SECONDS
    """How long the tests may take."""
    quick: bool = False
    """Whether it is among those of ``--quick``."""
    left_out: str = ""
    """Which of the tests `arguments` leaves out: what they need."""
    differences: dict[str, str] = {}
    """Tests that pass under Flask alone, each with the reason. ``*`` in a name stands for any
    text."""
    served: dict[str, str] = {}
    """Likewise, tests that pass under asyncflask, but not served."""

    @property
    def folder(self) -> Path:
        return BUILD / self.name.lower()

    @property
    def wanted(self) -> list[str]:
        """What is installed to test it."""
        return [f"{self.name}=={self.version}", *self.requirements, *REQUIREMENTS]


class Row(NamedTuple):
    """Two runs of a package's tests, to be compared."""

    package: Package
    first: Run
    second: Run
    labels: Labels

    @property
    def runs(self) -> list[tuple[str, Run]]:
        return list(zip(self.labels, (self.first, self.second), strict=True))

    @property
    def reasons(self) -> dict[str, str]:
        return self.package.served if self.labels == SERVED else self.package.differences

    def reason(self, test: str) -> str | None:
        return next((why for name, why in self.reasons.items() if stands_for(name, test)), None)

    def worse(self) -> list[str]:
        """The tests that pass in the first run alone."""
        there, here = self.first.results, self.second.results
        passed = (test for test, result in there.items() if result.outcome == "passed")
        return [test for test in passed if test not in here or here[test].outcome != "passed"]

    def problems(self, recorded: Entry) -> list[str]:
        """What is not as it should be, each as a text to print."""
        name, worse = self.package.name, self.worse()
        found: list[str] = []
        for label, suite in self.runs:
            if not suite.complete:
                found.append(f"{suite.output}\n{name} did not run to its end ({label}).")
        for test in worse:
            if self.reason(test) is None:
                result = self.second.results.get(test)
                details = result.details if result else "It was not run."
                found.append(f"UNEXIN_PROCESSED DIFFERENCE {name} {test}\n{details}\n")
        for pattern in self.reasons:
            if not any(stands_for(pattern, test) for test in worse):
                found.append(f"NO DIFFERENCE ANY MORE {name} {pattern}")
        for label, suite in self.runs:
            if suite.count("passed") < recorded.get(label, 0):
                found.append(
                    f"{name}: {suite.count('passed')} tests pass ({label});"
                    f" {recorded[label]} are recorded."
                )
        return found

    def entry(self) -> Entry:
        """What is recorded of it."""
        counts = {
            key: count
            for label, suite in self.runs
            for key, count in (
                (label, suite.count("passed")),
                (f"{label}_of", len(suite.results) - suite.count("skipped")),
            )
        }
        remarks = dict.fromkeys(self.reason(test) or "?" for test in self.worse())
        if self.labels == SERVED:
            return {**counts, "served_remarks": " ".join(remarks)}
        if self.package.left_out:
            remarks[f"Left out: {self.package.left_out}"] = None
        return {**counts, "remarks": " ".join(remarks)}

    def cells(self) -> list[str]:
        return cells(self.package, self.entry(), self.labels)


def stands_for(name: str, test: str) -> bool:
    return fnmatchcase(test, name.replace("[", "[[]"))


Entry = dict[str, Any]
"""Of `recorded.toml`: how many tests passed in each run, of how many that were not skipped, and
the remarks."""


def cells(package: Package, entry: Entry, labels: Labels) -> list[str]:
    counts = [f"{entry[label]} of {entry[f'{label}_of']}" for label in labels]
    remarks = entry["served_remarks" if labels == SERVED else "remarks"]
    return [package.name, package.version, *counts, remarks]


def headings(labels: Labels) -> list[str]:
    return ["Package", "Version", *(TITLES[label] for label in labels), "Remarks"]


def read_packages() -> list[Package]:
    tables = tomllib.loads((HERE / "packages.toml").read_text(encoding="utf-8"))
    return [Package(name, **table) for name, table in tables.items()]


def read_recorded() -> dict[str, Entry]:
    file = HERE / "recorded.toml"
    return tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def write_recorded(recorded: dict[str, Entry], packages: list[Package]) -> None:
    lines = ["# How many tests passed. Written by `run.py --record`.", ""]
    for name in (package.name for package in packages if package.name in recorded):
        values = (f"{key} = {json.dumps(value)}" for key, value in recorded[name].items())
        lines.append(f"{name} = {{ {', '.join(values)} }}")
    (HERE / "recorded.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def environment(folder: Path, wanted: list[str]) -> Path:
    """The folder with the programs of the virtual environment *folder*, made if what is *wanted*
    in it has changed."""
    stamp = folder / "requirements.json"
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    if not stamp.exists() or json.loads(stamp.read_text()) != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet", "--prefer-binary"]
        run([*pip, "--editable", str(REPOSITORY), *wanted])
        stamp.write_text(json.dumps(wanted))
    return programs


def download(package: Package) -> Path:
    return fetch(package.release, package.sha256, package.folder)


def unpack(package: Package) -> Path:
    """The folder of the release, in which to run its tests."""
    archive = download(package)
    folder = package.folder / package.release
    shutil.rmtree(folder, ignore_errors=True)  # without what an earlier run left there
    with tarfile.open(archive) as tar:
        tar.extractall(package.folder, filter="data")
    return folder


def run_package(package: Package, labels: Labels = IN_PROCESS) -> Row:
    programs = environment(package.folder / "venv", package.wanted)
    first, second = (run_suites(package, programs, label) for label in labels)
    return Row(package, first, second, labels)


def run_suites(package: Package, programs: Path, label: str) -> Run:
    """The release's tests and our own, those that there are, as if they were one suite."""
    package.folder.mkdir(parents=True, exist_ok=True)
    runs: list[Run] = []
    apps = HERE / "apps"
    ours = apps / f"test_{package.name.lower().replace('-', '_')}.py"
    suites: list[tuple[Path, list[str]]] = []
    if package.release:
        suites.append((unpack(package), ["-c", package.settings, *package.arguments]))
    if ours.exists():
        suites.append((apps, ["-c", os.devnull, ours.name]))
    isolated = ["--rootdir=.", "--confcutdir=."]  # nothing of the folders above
    cache = ["-o", f"cache_dir={package.folder / 'cache'}"]
    plugins = ["-p", "which_flask", *(["-p", "served"] if label == "served" else [])]
    for number, (folder, arguments) in enumerate(suites):
        suite = run_pytest(
            programs / "python",
            [*plugins, *arguments, *isolated, *cache],
            cwd=folder,
            seconds=package.seconds,
            record=package.folder / f"{label}-{number}.jsonl",
            path=[HERE / "plugins", *([] if label == "flask" else [HERE / "site"])],
            variables={
                "PATH": os.pathsep.join([str(programs), os.environ.get("PATH", "")]),
                "ECOSYSTEM_FLASK": "flask" if label == "flask" else "asyncflask",
            },
        )
        prefix = "apps/" if folder == apps else ""
        results = {f"{prefix}{test}": result for test, result in suite.results.items()}
        runs.append(suite._replace(results=results))
        if label == "served":
            print(f"{package.name}: {ways_of(suite)}", file=sys.stderr, flush=True)
    results = {test: result for suite in runs for test, result in suite.results.items()}
    incomplete = [suite for suite in runs if not suite.complete]
    status = max(suite.status for suite in incomplete or runs)
    return Run(results, status, "\n".join(suite.output for suite in incomplete))


def run_quick(packages: list[Package], recorded: dict[str, Entry], label: str) -> int:
    """Those that are marked, in one run alone."""
    with ThreadPoolExecutor(JOBS) as pool:
        archives = [pool.submit(download, package) for package in packages if package.release]
        wanted = dict.fromkeys(text for package in packages for text in package.wanted)
        programs = environment(BUILD / "quick", list(wanted))
        for archive in archives:
            archive.result()
        suites = list(pool.map(lambda package: run_suites(package, programs, label), packages))
    rows = [["Package", "Version", TITLES[label], "Recorded"]]
    worse = False
    for package, suite in zip(packages, suites, strict=True):
        expected = recorded.get(package.name, {}).get(label, 0)
        passed = suite.count("passed")
        rows.append([package.name, package.version, str(passed), str(expected)])
        if passed < expected or not suite.complete:
            worse = True
            for test, result in suite.results.items():
                if result.outcome not in ("passed", "skipped"):
                    print(f"{package.name} {test} {result.outcome}\n{result.details}")
            print(suite.output)
    print(table(rows))
    return 1 if worse else 0


def table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (map(str.ljust, row, widths) for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in padded)


def rst(rows: list[list[str]]) -> str:
    """The rows as a table of the documentation."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        marks = ["   * -", *["     -"] * (len(row) - 1)]
        lines += [f"{mark} {cell}".rstrip() for mark, cell in zip(marks, row, strict=True)]
    return "\n".join(lines)


def main() -> int:
    packages = read_packages()
    names = [package.name for package in packages]
    parser = argparse.ArgumentParser(description="Run the suites of Flask's extensions.")
    parser.add_argument("--only", metavar="NAME", choices=names, nargs="+", help="these alone")
    parser.add_argument(
        "--rst",
        metavar="FILE",
        type=Path,
        help="write the table of what is recorded, for the docs",
    )
    parser.add_argument("--record", action="store_true", help="keep these results as recorded")
    parser.add_argument("--quick", action="store_true", help="seven, in the second run alone")
    parser.add_argument(
        "--served", action="store_true", help="carry each request of the test client to uvicorn"
    )
    options = parser.parse_args()

    labels = SERVED if options.served else IN_PROCESS
    recorded = read_recorded()
    if options.quick:
        return run_quick([package for package in packages if package.quick], recorded, labels[1])
    rows: dict[str, list[str]] = {}
    found: list[str] = []
    with ThreadPoolExecutor(JOBS) as pool:
        chosen = [package for package in packages if package.name in (options.only or names)]
        chosen.sort(key=lambda package: -package.seconds)  # it would be alone at the end
        pending = [pool.submit(run_package, package, labels) for package in chosen]
        for done in as_completed(pending):
            row = done.result()
            name = row.package.name
            rows[name] = row.cells()
            print("  ".join(rows[name]), file=sys.stderr, flush=True)
            if options.record:
                recorded[name] = {**recorded.get(name, {}), **row.entry()}
                write_recorded(recorded, packages)
            found += row.problems(recorded.get(name, {}))
    if options.rst:
        known = [package for package in packages if labels[1] in recorded.get(package.name, {})]
        lines = [cells(package, recorded[package.name], labels) for package in known]
        options.rst.write_text(rst([headings(labels), *lines]) + "\n", encoding="utf-8")
    for problem in found:
        print(problem)
    print(table([headings(labels), *(rows[name] for name in names if name in rows)]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
