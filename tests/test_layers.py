"""Imports point down: read from the source of every module, whoever imports it when."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "away"

# A room: its level, and what it may import besides lower levels and its own folder. The longest
# name that fits a module decides.
LEVELS = {
    "away.exceptions": 0,
    "away.names": 0,
    "away.hidden_modules": 0,
    "away.secret_texts": 0,
    "away.syntax_trees": 0,
    "away.user_lines": 0,
    "away.signatures": 1,
    "away.module_descriptions": 1,
    "away.config": 1,
    "away.protocol": 1,
    "away.typed_values": 1,
    "away.connection": 2,
    "away.capture": 2,
    "away.requirements": 2,
    "away.appearance": 2,
    "away.notebook": 2,
    "away.call_faces": 2,
    "away.calls": 2,
    "away.references": 2,
    "away.request_headers": 2,
    "away.responses": 2,
    "away.mapping": 2,
    "away.async_functions": 2,
    "away.decorated": 2,
    "away.load_limits": 1,
    "away.functions": 3,
    "away.modules": 3,
    "away.left_proxies": 3,
    "away.placement": 3,
    "away.publish": 3,
    "away.stubs": 4,
    "away.publish_mode": 4,
    "away.builder": 4,
    "away.executor": 4,
    "away.hooks": 4,
    "away.remote": 5,
    "away.cli": 5,
    "away.terminal": 5,
    "away.publish_commands": 5,
    "away.secret_commands": 5,
    "away.stub_commands": 5,
    "away.command_options": 5,
    "away.described": 5,
    "away.failures": 5,
    "away.arguments": 5,
    "away.declarations": 5,
    "away.outcomes": 5,
    "away.__main__": 5,
    "away.testing": 5,
}
# Within a level: who may import whom.
ALSO = {
    "away.builder": {"away.publish_mode", "away.stubs"},
    "away.executor": {"away.builder"},
    "away.names": {"away.exceptions"},
    "away.hidden_modules": {"away.exceptions", "away.names"},
    "away.module_descriptions": {"away.protocol", "away.signatures"},
    "away.capture": {"away.requirements"},
    "away.functions": {"away.left_proxies"},
    "away.left_proxies": {"away.functions"},
    "away.modules": {"away.functions"},
    "away.references": {"away.connection"},
    "away.responses": {"away.connection"},
    "away.mapping": {"away.calls", "away.connection"},
    "away.async_functions": {"away.mapping", "away.responses"},
    "away.cli": {
        "away.arguments",
        "away.command_options",
        "away.described",
        "away.failures",
        "away.outcomes",
        "away.publish_commands",
        "away.secret_commands",
        "away.stub_commands",
        "away.terminal",
    },
    "away.publish_commands": {
        "away.arguments",
        "away.command_options",
        "away.declarations",
        "away.failures",
        "away.outcomes",
        "away.terminal",
    },
    "away.stub_commands": {
        "away.arguments",
        "away.command_options",
        "away.failures",
        "away.terminal",
    },
    "away.secret_commands": {"away.arguments", "away.command_options", "away.terminal"},
    "away.failures": {"away.arguments", "away.declarations", "away.terminal"},
    "away.declarations": {"away.arguments"},
    "away.outcomes": {"away.terminal"},
    "away.__main__": {"away.cli"},
}
# Beside the levels: what each may import, late or not. Nothing of the gateway's knows the client,
# but for the public face, which gives one out; so its tests prove something about the client.
BESIDE = {
    "away.runtime": {
        "away.exceptions",
        "away.protocol",
        "away.names",
        "away.secret_texts",
        "away.secrets",
    },
    "away.secrets": {"away.exceptions", "away.names"},
    "away.gateway": {"away.exceptions", "away.names", "away.secret_texts"},
    "away.gateway.__init__": {
        "away.exceptions",
        "away.names",
        "away.config",
        "away.connection",
    },
    "away.gateway.announcement": set(),
}
# What others may import of a room beside the levels.
OPEN = {
    "away.gateway.announcement": {"away.config", "away.connection", "away.cli", "away.testing"},
    "away.gateway": {"away.cli", "away.testing"},
    "away.secrets": {"away.runtime"},
    # It is published, as a user's function would be.
    "away.runtime.callables": {"away.executor"},
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(module: str, *, only_at_import: bool = False) -> list[tuple[str, int]]:
    """List the modules of Away that a module imports, with the lines; types alone do not count."""
    tree = ast.parse(MODULES[module].read_text())
    found: list[tuple[str, int]] = []
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo.extend(node.orelse)
            continue
        if only_at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno} imports relatively"
            base = node.module or ""
            for alias in node.names:
                if (base, alias.name) == ("away", "__version__"):
                    continue
                whole = f"{base}.{alias.name}"
                is_module = whole in MODULES or f"{whole}.__init__" in MODULES
                # Nobody inside imports the package's root: the large rings of other projects all
                # come from there, and inside an image `builder` is a stand-in there.
                is_module = is_module and (base != "away" or module == "away.__init__")
                found.append((whole if is_module else base, node.lineno))
        todo.extend(ast.iter_child_nodes(node))
    return [(name, line) for name, line in found if name.split(".")[0] == "away"]


def room_of(module: str, table: dict[str, object]) -> str | None:
    fits = [room for room in table if module == room or module.startswith(f"{room}.")]
    return max(fits, key=len, default=None)


def may_import(importer: str, imported: str) -> bool:
    folder = importer.split(".")[1]
    if imported.split(".")[1] == folder:
        return True
    opened = room_of(imported, OPEN)
    if opened is not None and room_of(importer, dict.fromkeys(OPEN[opened])):
        return True
    also = ALSO.get(f"away.{folder}", set())
    if room_of(imported, dict.fromkeys(also)):
        return True
    beside = room_of(importer, BESIDE)
    if beside is not None:
        return room_of(imported, dict.fromkeys(BESIDE[beside])) is not None
    mine, theirs = room_of(importer, LEVELS), room_of(imported, LEVELS)
    return mine is not None and theirs is not None and LEVELS[theirs] < LEVELS[mine]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "away.__init__"])
def test_a_module_imports_only_what_stands_lower(module):
    public = module.removesuffix(".__init__") if module not in BESIDE else module
    wrong = [
        f"{MODULES[module]}:{line} imports {imported}"
        for imported, line in imports_of(module)
        if (imported == "away" and module != "away.runtime.standins")
        or (imported != "away" and not may_import(public, imported))
    ]
    assert not wrong


def test_the_package_root_imports_nothing_when_it_is_imported():
    assert imports_of("away.__init__", only_at_import=True) == []


def test_every_module_has_its_place():
    placeless = [
        name
        for name in MODULES
        if name != "away.__init__" and not (room_of(name, LEVELS) or room_of(name, BESIDE))
    ]
    assert not placeless


def test_no_modules_import_each_other_in_a_ring():
    def target(name: str) -> str:
        return name if name in MODULES else f"{name}.__init__"

    graph = {
        module: {target(name) for name, _ in imports_of(module, only_at_import=True)} & set(MODULES)
        for module in MODULES
    }
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module not in done:
            for each in sorted(graph[module]):
                walk(each, (*path, module))
            done.add(module)

    for module in graph:
        walk(module, ())


def test_files_inside_a_folder_do_not_import_its_public_face():
    # A face that gathers nothing from its files, such as a seam that they fill, closes no ring.
    faces = {
        module.removesuffix(".__init__")
        for module in MODULES
        if module.endswith(".__init__")
        and any(name.startswith(module.removesuffix("__init__")) for name, _ in imports_of(module))
    }
    wrong = [
        f"{MODULES[module]}:{line} imports {imported}"
        for module in MODULES
        if not module.endswith((".__init__", ".__main__")) and module.count(".") > 1
        for imported, line in imports_of(module)
        if imported == module.rpartition(".")[0] and imported in faces
    ]
    assert not wrong
