"""The plan of the house: modules import modules of the same floor or of one below, and never in a circle."""

import ast
import graphlib
import pathlib
import sys

import pytest

import tfp_realnvp

PACKAGE = pathlib.Path(tfp_realnvp.__file__).parent

# From the ground floor up. A module may import those of its own floor and of the floors below.
FLOORS = (
    ("scopes",),
    ("common", "internals", "noise", "precision", "representation", "threads"),
    ("replicas",),
    ("bijectors.bins", "bijectors.masks", "bijectors.passes", "bijectors.solves"),
    ("bijectors",),
    ("networks",),
    ("contexts", "parts", "dequantization", "progress", "optimizers", "discovery"),
    ("events", "guard"),
    ("trainer", "sampling"),
    ("export", "features"),
    ("model",),
    ("saving", "evaluation", "calibration"),
    ("architectures",),
    ("fingerprint", "model_zoo"),
    ("anomaly", "completion", "compression", "energy"),
)


def modules():
    """The name of each module within the package, without those of folders, and its path."""
    paths = (path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


def is_for_types_only(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported_names(tree):
    """Every name that a module imports from the package, but for those that only annotations need."""
    pending = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tfp_realnvp"):
            for alias in node.names:
                yield f"{node.module}.{alias.name}".removeprefix("tfp_realnvp.")
        elif not is_for_types_only(node):
            pending += ast.iter_child_nodes(node)


def imports():
    """module -> the modules that it imports; a name that a folder exports counts as the folder's."""
    names, found = modules(), {}
    for module, path in names.items():
        found[module] = set()
        for name in imported_names(ast.parse(path.read_text())):
            while name and name not in names and not (PACKAGE / name.replace(".", "/")).is_dir():
                name = name.rpartition(".")[0]
            found[module].add(name)
    return found


def floor(module):
    """The number of a module's or folder's floor; a module in a folder may have one of its own."""
    numbers = {name: number for number, names in enumerate(FLOORS) for name in names}
    while module not in numbers:
        assert module, "FLOORS must hold every module or its folder"
        module = module.rpartition(".")[0]
    return numbers[module]


@pytest.mark.parametrize("module", sorted(modules()))
def test_nothing_imports_upwards(module):
    for imported in imports()[module]:
        own_folder = imported == module.rpartition(".")[0]
        assert not own_folder, f"{module} imports a name from its own folder: name the module"
        assert floor(imported) <= floor(module), f"{module} imports {imported}, which is above it"


def test_there_is_no_circle():
    graph = imports()
    for folder in (
        "bijectors",
        "networks",
        "architectures",
        "anomaly",
        "completion",
        "compression",
        "energy",
    ):  # A folder stands for all of its modules.
        graph[folder] = {module for module in graph if module.startswith(f"{folder}.")}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) >= set(modules())


def main():
    """Prints the graph: each module and the modules that it imports."""
    for module, names in sorted(imports().items(), key=lambda item: (floor(item[0]), item[0])):
        print(f"{floor(module):2} {module}: {', '.join(sorted(names)) or '-'}")


if __name__ == "__main__":
    main() if sys.argv[1:] == ["--print"] else sys.exit(pytest.main(sys.argv))
