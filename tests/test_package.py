"""The packages as a whole: what they export, what they import, and which way."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import gates
import nngraph

ROOT = Path(__file__).parents[1]
HEAVY = ("sklearn", "matplotlib", "torch", "jax", "pandas")

# The floors of the house, lowest first: a module may import from floors below, and from its own where named here.
FLOORS = [
    ["gates.arrays"],
    ["gates.contract"],
    ["gates.arithmetic", "gates.shaping", "gates.layers", "gates.normalization", "gates.checking.slopes"],
    ["gates.losses", "gates.checking.trial"],
    ["gates.outputs", "gates.checking.gradient"],
    ["gates.checking.jacobian", "gates.checking.variants"],
    ["gates.checking.evidence"],
    ["gates.checking.sums", "gates.checking.masks", "gates.checking.report"],
    ["gates.checking.mistakes", "gates.checking.chain", "gates.checking.outcome"],
    ["gates.checking.diagnosis", "gates.checking.examples"],
    ["gates.checking.blame"],
    ["gates.checking.check_arrays", "gates.checking.check_gradient", "gates.checking.check_purity"],
    ["gates.checking.checks"],
    ["gates.checking.parametrize"],
    ["gates.checking"],
    ["gates"],
    ["nngraph.nodes"],
    ["nngraph.graph"],
    ["nngraph.program.program"],
    ["nngraph.program.functions"],
    ["nngraph.program.passes", "nngraph.program.flops", "nngraph.program.memory"],
    ["nngraph.program.printing.special", "nngraph.program.printing.names"],
    ["nngraph.program.printing.literals"],
    ["nngraph.program.printing.expressions", "nngraph.program.printing.legible", "nngraph.program.printing.memory"],
    ["nngraph.program.printing.statements"],
    ["nngraph.program.printing.source"],
    ["nngraph.program.printing", "nngraph.program.report"],
    ["nngraph.program.recorded"],
    ["nngraph.program"],
    ["nngraph.capture.tape", "nngraph.capture.followed"],
    ["nngraph.capture.face"],
    ["nngraph.capture.recorder"],
    ["nngraph.capture.follower"],
    ["nngraph.capture.graphs"],
    ["nngraph.capture.costs"],
    ["nngraph.capture"],
    ["nngraph.engines.layout"],
    [
        "nngraph.engines.gathering",
        "nngraph.engines.lowering",
        "nngraph.engines.namespace",
        "nngraph.engines.ones",
        "nngraph.engines.pool",
    ],
    ["nngraph.engines.writer"],
    ["nngraph.engines.compiled"],
    ["nngraph.engines.comparison", "nngraph.engines.rows", "nngraph.engines.settings"],
    ["nngraph.engines.engine"],
    ["nngraph.engines"],
    ["nngraph.causes", "nngraph.initializers", "nngraph.progress", "nngraph.tables"],
    ["nngraph.validation"],
    ["nngraph.optimizers", "nngraph.schedules", "nngraph.penalties", "nngraph.history", "nngraph.tracing"],
    ["nngraph.storage.file"],
    ["nngraph.storage.writing", "nngraph.storage.reading", "nngraph.storage.kinds", "nngraph.storage.generators"],
    ["nngraph.storage.encoding", "nngraph.storage.decoding"],
    ["nngraph.objective", "nngraph.flat"],
    ["nngraph.steps", "nngraph.update"],
    ["nngraph.training", "nngraph.batches", "nngraph.descent"],
    ["nngraph.checkpoint", "nngraph.fitting", "nngraph.meter", "nngraph.minimize"],
    ["nngraph.callbacks", "nngraph.course"],
    ["nngraph.export", "nngraph.summary"],
    ["nngraph.diagnosis.motion"],
    ["nngraph.diagnosis.evidence"],
    ["nngraph.diagnosis.finding"],
    ["nngraph.diagnosis.of_data"],
    ["nngraph.diagnosis.of_nets"],
    ["nngraph.diagnosis.rules"],
    ["nngraph.diagnosis.report"],
    ["nngraph.diagnosis"],
    ["nngraph.architecture", "nngraph.printed"],
    ["nngraph.storage.graphs"],
    ["nngraph.learning"],
    ["nngraph.trained"],
    ["nngraph.stored"],
    ["nngraph.model", "nngraph.plotting"],
    ["nngraph.storage.loading"],
    ["nngraph.storage"],
    ["nngraph.checking", "nngraph.cli", "nngraph.ensemble"],
    ["nngraph.estimators.data", "nngraph.estimators.names", "nngraph.estimators.progress", "nngraph.estimators.rules"],
    [
        "nngraph.estimators.constraints",
        "nngraph.estimators.online",
        "nngraph.estimators.opened",
        "nngraph.estimators.watch",
    ],
    ["nngraph.estimators.base"],
    ["nngraph.estimators.classifier", "nngraph.estimators.regressor"],
    ["nngraph.estimators"],
    ["nngraph", "nngraph.__main__"],
]


@pytest.mark.parametrize("package", [gates, nngraph])
def test_all_equals_what_is_imported(package):
    """`__all__` has every public name that the package's `__init__` imports, sorted, and no other."""
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    imported = {a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names}
    assert sorted(imported - {"TYPE_CHECKING", "Any"}) == sorted(package.__all__)
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = package.nothing


def test_import_loads_no_heavy_package():
    """`import nngraph` imports neither scikit-learn nor matplotlib, nor scipy's special functions, nor the proofs."""
    code = (
        "import sys, gates, nngraph; late = ('scipy.special', 'gates.checking', 'nngraph.checking');"
        "print([m for m in sys.modules if m.split('.')[0] in %r or m in late])"
    )
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code % (HEAVY,)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_arrows_point_down():
    """A module imports only from lower floors of the house, and nothing inside a function."""
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    files = [path for package in ("gates", "nngraph") for path in (ROOT / package).glob("**/*.py")]
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}
    assert modules.keys() == floor.keys()
    for name, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        everywhere = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
        # pytest is there only for who tests.
        typed = [x for node in tree.body if ast.unparse(node).startswith("if TYPE_CHECKING:") for x in node.body]
        inside = [x for x in everywhere if x not in [*top, *typed] and ast.unparse(x) != "import pytest"]
        assert inside == [], f"{name} imports inside a function"
        for node in top:
            for alias in node.names:
                module = node.module if isinstance(node, ast.ImportFrom) else alias.name
                # `from package import module` takes a module, not what the package exports.
                source = f"{module}.{alias.name}" if f"{module}.{alias.name}" in floor else module
                assert source not in floor or floor[source] < floor[name], f"{name} imports from {source}"


def test_version_and_types_are_shipped():
    """The installed distribution has the version of the package, and both packages say that they are typed."""
    metadata = importlib.import_module("importlib.metadata")
    assert metadata.version("nngraph") == nngraph.__version__
    for package in (gates, nngraph):
        assert (Path(package.__file__).parent / "py.typed").exists()


def test_the_oldest_versions_are_the_floors():
    """What `make test-oldest` installs is what setup.cfg promises."""
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    requirements = setup.split("install_requires =")[1].split("\n\n")[0]
    floors = dict(line.split(" >= ") for line in requirements.split("\n") if ">=" in line)
    pins = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").split("# ---")[0]
    oldest = dict(line.split("==") for line in pins.splitlines() if "==" in line)
    assert {name.strip(): version for name, version in floors.items()} == {
        name: version.removesuffix(".0") for name, version in oldest.items()
    }
