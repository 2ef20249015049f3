"""Kinds of functions that people publish, each as the source of a script and what happens to it.

Every kind is written to a folder of its own, run there as ``__main__``, captured, and called in a
process that has none of the folder's files. A script binds ``function``; one that imports
``publish`` from ``capturing`` is captured at the decoration.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A kind of function: its script, how it is called, what comes back."""

    id: str
    source: str
    args: tuple[Any, ...] = ()
    gives: Any = None
    form: str = "dill"
    files: Mapping[str, str | bytes] = MappingProxyType({})
    kwargs: Mapping[str, Any] = MappingProxyType({})
    requirements: tuple[str, ...] = ()
    twice: bool = False  # called two times, and the second answer counts


class Refused(NamedTuple):
    """A kind that cannot travel: words that the message must have, and the path."""

    id: str
    source: str
    words: tuple[str, ...]
    path: str
    files: Mapping[str, str | bytes] = MappingProxyType({})


class Shown:
    """A value known by its repr alone."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


TOOLS = {
    "tools.py": """
CONST = 40
def add(a): return a + CONST
def _down(n): return 0 if n == 0 else add(n) - CONST
class Thing:
    size = 3
    def __init__(self, n): self.n = n
    def grown(self): return self.n + self.size
    @classmethod
    def made(cls, n): return cls(n).grown()
    @staticmethod
    def still(n): return n + CONST
"""
}
PACKAGE = {
    "shop/__init__.py": "from .prices import price\n",
    "shop/prices.py": """
from pathlib import Path
from . import rates
from .deep.taxes import tax
def price(n): return n * rates.RATE + tax(n)
def words(): return (Path(__file__).parent / "data" / "words.txt").read_text().split()
""",
    "shop/rates.py": "RATE = 2\n",
    "shop/deep/__init__.py": "",
    "shop/deep/taxes.py": "from ..rates import RATE\ndef tax(n): return n + RATE\n",
    "shop/data/words.txt": "one two\n",
}

PLAIN = [
    Kind("trivial", "def function(a, b): return a + b", (1, 2), 3),
    Kind(
        "closure",
        "def make(n):\n    def function(a): return a * n\n    return function\nfunction = make(3)",
        (5,),
        15,
    ),
    Kind(
        "counter by nonlocal",
        """
def make():
    count = 0
    def function():
        nonlocal count
        count += 1
        return count
    return function
function = make()
""",
        gives=2,
        twice=True,
    ),
    Kind(
        "star arguments, keyword-only and defaults",
        "def function(a, /, b=2, *rest, c, d=4, **more): return [a, b, rest, c, d, more]",
        (1, 9, 8),
        [1, 9, (8,), 3, 4, {"x": 5}],
        kwargs={"c": 3, "x": 5},
    ),
    Kind("mutable default", "def function(a, seen=[]):\n    seen.append(a)\n    return seen", (1,), [1, 1], twice=True),
    Kind("annotations of the standard library", "from decimal import Decimal\ndef function(a: Decimal) -> list[Decimal]: return [str(x) for x in function.__annotations__]", (1,), ["a", "return"]),
    Kind("docstring", "def function():\n    'says it'\n    return function.__doc__", (), "says it"),
    Kind("attributes of a function", "def function(): return function.tag\nfunction.tag = 'kept'", (), "kept"),
    Kind("lambda", "function = lambda a: a * BASE\nBASE = 7", (3,), 21),
    Kind("nested definitions and lambdas", """
BASE = 2
def function(values):
    def inner(v): return (lambda w: w * BASE)(v)
    return sorted((inner(v) for v in values), key=lambda v: -v)
""", ([1, 3, 2],), [6, 4, 2]),
    Kind("comprehension over a global", "WORDS = ['a', 'b']\ndef function(): return {w: [w + x for x in WORDS] for w in WORDS}", (), {"a": ["aa", "ab"], "b": ["ba", "bb"]}),
    Kind("match and walrus", """
DEFAULT = 9
def function(v):
    match v:
        case {"n": int(n)} if (m := n + DEFAULT) > 10: return m
        case _: return DEFAULT
""", ({"n": 5},), 14),
    Kind("try, with and global statement", """
from contextlib import suppress
TOTAL = 1
def bump():
    global TOTAL
    TOTAL += 1
def function():
    with suppress(ZeroDivisionError): 1 / 0
    bump(); bump()
    return TOTAL
""", (), 3),
    Kind("a name that the function itself makes global", "def function():\n    global MADE\n    MADE = 5\n    return MADE", (), 5),
    Kind("a name that is asked for and absent", """
def function():
    try: return absent
    except NameError: return 'absent'
""", (), "absent"),
    Kind("attribute names are no globals", "class Box: pass\nBOX = Box()\nBOX.absent_elsewhere = 3\ndef function(): return BOX.absent_elsewhere", (), 3),
    Kind("exec'd function", "space = {'BASE': 4, '__name__': 'made_up'}\nexec('def function(a): return a * BASE', space)\nfunction = space['function']", (2,), 8),
    Kind("positional default that is an instance", "class Point:\n    def __init__(self, x): self.x = x\ndef function(p=Point(3)): return p.x", (), 3),
]  # fmt: skip

RECURSION = [
    Kind("recursion by its global name", "def function(n): return 1 if n < 2 else n * function(n - 1)", (5,), 120),
    Kind("mutual recursion", """
def even(n): return True if n == 0 else odd(n - 1)
def odd(n): return False if n == 0 else even(n - 1)
def function(n): return [even(n), odd(n)]
""", (7,), [False, True]),
    Kind("nested and recursive by its own variable", """
def make():
    def function(n): return 1 if n < 2 else n * function(n - 1)
    return function
function = make()
""", (5,), 120),
    Kind("decorated and recursive, global", """
from capturing import publish
@publish
def function(n): return 1 if n < 2 else n * function(n - 1)
""", (6,), 720),
    Kind("decorated and recursive, nested", """
from capturing import publish
def make():
    @publish
    def inner(n): return 1 if n < 2 else n * inner(n - 1)
    return inner
function = make()
""", (6,), 720),
    Kind("decorated again, as a cell of a notebook is", """
from capturing import publish
@publish
def function(n): return 'old'
@publish
def function(n): return 'new' if n == 0 else function(n - 1)
""", (2,), "new"),
    Kind("captured after decoration, calling itself by its proxy", """
from capturing import stub
def fact(n): return 1 if n < 2 else n * fact(n - 1)
function = fact
fact = stub(fact)
""", (5,), 120),
    Kind("decorated wrapper that is recursive", """
import functools
from capturing import publish
def doubled(f):
    @functools.wraps(f)
    def inner(n): return 2 * f(n)
    return inner
@publish
@doubled
def function(n): return 1 if n < 1 else function(n - 1)
""", (2,), 8),
    Kind("helpers that share a module's state", """
STATE = {'n': 0}
COUNT = 0
def put(v):
    global COUNT
    COUNT += v
    STATE['n'] += v
def get(): return [COUNT, STATE['n']]
def function(v):
    put(v); put(v)
    return get()
""", (3,), [6, 6]),
    Kind("a registry that leads back to its function", """
TABLE = {}
def register(f):
    TABLE[f.__name__] = f
    return f
@register
def one(): return 1
@register
def function(): return [name for name in TABLE] + [TABLE['one']()]
""", (), ["one", "function", 1]),
]  # fmt: skip

CALLABLES = [
    Kind("partial", "import functools\ndef add(a, b): return a + b\nfunction = functools.partial(add, 10)", (5,), 15),
    Kind("bound method", "class Adder:\n    def __init__(self, n): self.n = n\n    def add(self, a): return a + self.n\nfunction = Adder(4).add", (5,), 9),
    Kind("static method", "class Tools:\n    @staticmethod\n    def add(a): return a + 1\nfunction = Tools.add", (5,), 6),
    Kind("class method", "class Tools:\n    step = 2\n    @classmethod\n    def add(cls, a): return a + cls.step\nfunction = Tools.add", (5,), 7),
    Kind("callable object", "class Adder:\n    def __init__(self, n): self.n = n\n    def __call__(self, a): return a + self.n\nfunction = Adder(3)", (5,), 8),
    Kind("functools.wraps chain", """
import functools
def loud(f):
    @functools.wraps(f)
    def inner(*a): return f(*a) + '!'
    return inner
@loud
@loud
def function(a): return a
""", ("x",), "x!!"),
    Kind("lru_cache", "import functools\n@functools.lru_cache(maxsize=8)\ndef function(n): return n if n < 2 else function(n - 1) + function(n - 2)", (20,), 6765),
    Kind("functools.cache", "import functools\n@functools.cache\ndef function(n): return n * 2", (4,), 8),
    Kind("singledispatch", """
import functools
@functools.singledispatch
def function(v): return 'object'
@function.register
def _(v: int): return 'int'
@function.register(list)
def _(v): return [function(each) for each in v]
""", ([1, "a"],), ["int", "object"]),
    Kind("context manager", """
import contextlib
@contextlib.contextmanager
def doubled(n): yield n * 2
def function(n):
    with doubled(n) as m: return m
""", (4,), 8),
    Kind("async", "async def helper(a): return a + 1\nasync def function(a): return await helper(a)", (1,), 2),
    Kind("async and decorated", "from capturing import publish\n@publish\nasync def function(a): return 0 if a == 0 else await function(a - 1)", (3,), 0),
    Kind("generator", "def function(n):\n    for i in range(n): yield i * STEP\nSTEP = 2", (3,), [0, 2, 4]),
    Kind("async generator", "async def function(n):\n    for i in range(n): yield i", (3,), [0, 1, 2]),
    Kind("a builtin", "import math\nfunction = math.sqrt", (9,), 3.0, form="import"),
    Kind("a function of the standard library", "from textwrap import shorten as function", ("a b c d e", 7), "a [...]", form="import"),
    Kind("operator.itemgetter", "import operator\nfunction = operator.itemgetter(1)", ([5, 6],), 6),
]  # fmt: skip

REMOTE = [
    Kind("a gateway's module", "import away.remote.shop as shop\ndef function(): return shop.__name__", (), "away.remote.shop"),
    Kind("a gateway's module, imported in the body", "def function():\n    import away.remote.shop as shop\n    return shop.__name__", (), "away.remote.shop"),
    Kind("a proxy of another function", "from capturing import stub\ndef other(n): ...\nother = stub(other)\ndef function(): return [type(other).__name__, other.connection.url]", (), ["RemoteFunction", "http://gw.example:8080"]),
    Kind("a connection by its name", "from away import FaasConnection\ndef function(): return FaasConnection.named('shop').url", (), "http://shop.example:8080"),
]  # fmt: skip

VALUES = [
    Kind("constants, list and dict", "N, L, D = 1, [2, 3], {'k': (4,)}\ndef function(): return [N, L, D]", (), [1, [2, 3], {"k": (4,)}]),
    Kind("set of texts and membership in a literal", "S = {'b', 'a', 'c'}\ndef function(v): return [sorted(S), v in {'x', 'y'}]", ("x",), [["a", "b", "c"], True]),
    Kind("bytes, date, Decimal, Path and regular expression", """
import datetime, decimal, pathlib, re
B, D, M, P, R = b'b', datetime.date(2020, 1, 2), decimal.Decimal('1.5'), pathlib.PurePosixPath('a/b'), re.compile('a+')
def function(): return [B, D.year, str(M), P.name, bool(R.match('aa'))]
""", (), [b"b", 2020, "1.5", "b", True]),
    Kind("value that is its own part", "LOOP = [1]\nLOOP.append(LOOP)\ndef function(): return LOOP[1][1] is LOOP", (), True),
    Kind("bytes in memory", "import io\nB = io.BytesIO(b'abc')\ndef function(): return B.getvalue()", (), b"abc"),
    Kind("module as a name", "import math as m\ndef function(a): return m.floor(a)", (1.5,), 1),
    Kind("module of a module as a name", "import os.path as p\nimport concurrent.futures as cf\ndef function(a): return [p.basename(a), cf.__name__]", ("x/y",), ["y", "concurrent.futures"]),
    Kind("dotted module of the standard library", "import xml.etree.ElementTree\nimport importlib.util\ndef function(t): return [xml.etree.ElementTree.fromstring(t).tag, importlib.util.find_spec('json').name]", ("<a/>",), ["a", "json"]),
    Kind("from-import of the standard library", "from collections import Counter, defaultdict\nfrom os.path import join\ndef function(t): return [dict(Counter(t)), join('a', 'b'), defaultdict(int)['x']]", ("aab",), [{"a": 2, "b": 1}, "a/b", 0]),
    Kind("import in the body", "def function(a):\n    import json\n    from textwrap import dedent\n    return json.dumps(dedent(a))", (" a",), '"a"'),
    Kind("logger", "import logging\nLOG = logging.getLogger('shop')\ndef function():\n    LOG.debug('x')\n    return LOG.name", (), "shop"),
    Kind("typing generics and type variables", """
from typing import Generic, TypeVar, Optional, Union
T = TypeVar('T', bound=object)
class Box(Generic[T]):
    def __init__(self, v: T): self.v = v
    def get(self) -> T: return self.v
Ints = list[int]
Maybe = Optional[Union[int, str]]
def function(a: Ints) -> Maybe: return [Box[int](a).get(), str(Ints), str(Maybe)]
""", ([1],), [[1], "list[int]", "typing.Union[int, str, NoneType]"]),
]  # fmt: skip

CLASSES = [
    Kind("class with inheritance and super", """
BONUS = 5
class Base:
    def worth(self): return 1
class Child(Base):
    def worth(self): return super().worth() + BONUS
def function(): return Child().worth()
""", (), 6),
    Kind("class that makes itself", "class Node:\n    def __init__(self, n): self.n = n\n    def next(self): return Node(self.n + 1)\ndef function(): return Node(1).next().n", (), 2),
    Kind("classes that know each other through a table", """
TABLE = {}
class A:
    def other(self): return TABLE['b']().name()
class B:
    def name(self): return type(TABLE['a']()).__name__
TABLE.update(a=A, b=B)
def function(): return A().other()
""", (), "A"),
    Kind("class that holds its own instance", "class Unit:\n    def __init__(self, n): self.n = n\nUnit.ONE = Unit(1)\ndef function(): return Unit.ONE.n + isinstance(Unit.ONE, Unit)", (), 2),
    Kind("exception class", """
class Bad(ValueError):
    def __init__(self, code):
        super().__init__(f'code {code}')
        self.code = code
def function(n):
    try: raise Bad(n)
    except ValueError as error: return [str(error), error.code]
""", (4,), ["code 4", 4]),
    Kind("instance with state, property and class attribute", """
class Cart:
    tax = 2
    def __init__(self): self.items = [1, 2]
    @property
    def total(self): return sum(self.items) * self.tax
CART = Cart()
def function(): return CART.total
""", (), 6),
    Kind("abstract class and registered class", """
import abc
class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
class Square(Shape):
    def area(self): return 4
class Other: pass
Shape.register(Other)
def function():
    try: Shape()
    except TypeError: return [Square().area(), isinstance(Other(), Shape)]
""", (), [4, True]),
    Kind("metaclass and slots", """
class Meta(type):
    def __new__(mcls, name, bases, space):
        space['made_by'] = mcls.__name__
        return super().__new__(mcls, name, bases, space)
class Slim(metaclass=Meta):
    __slots__ = ('a', 'b')
    def __init__(self): self.a, self.b = 1, 2
def function(): return [Slim.made_by, Slim().b, hasattr(Slim(), '__dict__')]
""", (), ["Meta", 2, False]),
    Kind("dataclass", """
from dataclasses import dataclass, field, replace
@dataclass(order=True)
class Item:
    name: str
    price: int = 1
    tags: list = field(default_factory=list)
    def double(self): return replace(self, price=self.price * 2)
def function(): return [repr(Item('a').double()), Item('a') < Item('b'), Item('a') == Item('a')]
""", (), ["Item(name='a', price=2, tags=[])", True, True]),
    Kind("frozen dataclass with slots", "from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\nclass P:\n    x: int\ndef function(): return [P(2).x, hash(P(2)) == hash(P(2))]", (), [2, True]),
    Kind("NamedTuple with a method", "from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n    y: int = 4\n    def sum(self): return self.x + self.y\ndef function(): return [P(1).sum(), P(1)._fields, tuple(P(1))]", (), [5, ("x", "y"), (1, 4)]),
    Kind("namedtuple", "from collections import namedtuple\nP = namedtuple('P', 'x y', defaults=[7])\ndef function(): return P(1).y", (), 7),
    Kind("enum", """
import enum
class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1
    BLUE = 'b'
    @property
    def low(self): return self.name.lower()
    @classmethod
    def _missing_(cls, value): return cls.BLUE
def function(): return [Colour.CRIMSON.name, Colour('b').low, Colour('?').name, len(Colour)]
""", (), ["RED", "blue", "BLUE", 2]),
    Kind("IntEnum, StrEnum, Flag and auto", """
from enum import IntEnum, StrEnum, Flag, auto, IntFlag, KEEP
class N(IntEnum):
    ONE = 1
    TWO = 2
class S(StrEnum):
    A = auto()
class F(Flag):
    X = auto()
    Y = auto()
    XY = X | Y
class K(IntFlag, boundary=KEEP):
    P = 1
def function(): return [N.TWO + 1, S.A + '!', (F.X | F.Y) is F.XY, F.Y.value, K(9).value]
""", (), [3, "a!", True, 2, 9]),
    Kind("enum with an __init__ and a method that uses the enum", """
from enum import Enum
class Planet(Enum):
    EARTH = (5, 6)
    MARS = (3, 4)
    def __init__(self, mass, radius): self.mass, self.radius = mass, radius
    def larger(self): return max(Planet, key=lambda p: p.mass).name
DEFAULT = Planet.MARS
def function(p=Planet.EARTH): return [p.radius, DEFAULT.larger(), DEFAULT is Planet.MARS]
""", (), [6, "EARTH", True]),
    Kind("evaluated annotations of a local class", "class A: pass\ndef function(a: A = None) -> list[A]: return function.__annotations__['a'] is A", (), True),
    Kind("class in a function", "def make():\n    class Inner:\n        def hi(self): return __class__.__qualname__\n    return Inner\nInner = make()\ndef function(): return Inner().hi()", (), "make.<locals>.Inner"),
    Kind("descriptor, class_getitem and init_subclass", """
NAMES = []
class Field:
    def __set_name__(self, owner, name): self.name = name
    def __get__(self, obj, owner): return self.name
class Base:
    def __init_subclass__(cls): cls.tagged = True
    def __class_getitem__(cls, item): return item
class Sub(Base):
    field = Field()
def function(): return [Sub.field, Sub.tagged, Sub[3]]
""", (), ["field", True, 3]),
]  # fmt: skip

MODULES = [
    Kind("function of a local module", "from tools import add as function", (2,), 42, form="import", files=TOOLS),
    Kind("function of a local module that calls others", "from tools import _down as function", (2,), 2, form="import", files=TOOLS),
    Kind("class method of a local module", "import tools\nfunction = tools.Thing.made", (2,), 5, form="import", files=TOOLS),
    Kind("static method of a local module", "import tools\nfunction = tools.Thing.still", (2,), 42, form="import", files=TOOLS),
    Kind("bound method of a local module's class", "import tools\nfunction = tools.Thing(4).grown", (), 7, files=TOOLS),
    Kind("local module as an attribute", "import tools\ndef function(a): return tools.add(a)", (2,), 42, files=TOOLS),
    Kind("from-import of a local module", "from tools import add, CONST\ndef function(a): return add(a) + CONST", (2,), 82, files=TOOLS),
    Kind("subclass of a local module's class", "from tools import Thing\nclass Mine(Thing):\n    size = 10\ndef function(): return Mine(1).grown()", (), 11, files=TOOLS),
    Kind("instance of a local module's class", "import tools\nT = tools.Thing(3)\ndef function(): return T.grown()", (), 6, files=TOOLS),
    Kind("dotted local module", "import shop.deep.taxes\ndef function(a): return shop.deep.taxes.tax(a)", (2,), 4, files=PACKAGE),
    Kind("import of a local module in the body", "def function(a):\n    from shop.prices import price\n    return price(a)", (2,), 8, files=PACKAGE),
    Kind("package with relative imports and data", "from shop.prices import words as function", (), ["one", "two"], form="import", files=PACKAGE),
    Kind("function that a package re-exports", "from shop import price as function", (2,), 8, form="import", files=PACKAGE),
    Kind("local module that needs another", "import tools, outer\nfunction = outer.twice", (2,), 84, form="import", files={**TOOLS, "outer.py": "import tools\ndef twice(a): return 2 * tools.add(a)\n"}),
    Kind("decorated in a module", "import jobs\nfunction = jobs.job", (2,), 12, form="import", files={"jobs.py": "from capturing import publish\n@publish\ndef job(a): return later(a)\ndef later(a): return a + 10\n"}),
    Kind("decorated and recursive in a module", "import jobs\nfunction = jobs.job", (5,), 120, form="import", files={"jobs.py": "from capturing import publish\n@publish\ndef job(n): return 1 if n < 2 else n * job(n - 1)\n"}),
    Kind("decorated twice in a module", "import jobs\nfunction = jobs.job", (5,), 11, files={"jobs.py": "import functools\nfrom capturing import publish\nBASE = 10\ndef more(f):\n    @functools.wraps(f)\n    def inner(a): return f(a) + 1\n    return inner\n@publish\n@more\ndef job(a): return BASE\n"}),
    Kind("closure of a module sees its module", "import jobs\nfunction = jobs.make(3)", (2,), 46, files={"jobs.py": "BASE = 40\ndef make(n):\n    def inner(a): return a * n + helper()\n    return inner\ndef helper(): return BASE\n"}),
    Kind("method of a class, by its class, in a module", "import jobs\nfunction = jobs.Job.run", (2,), 3, form="import", files={"jobs.py": "from capturing import publish\nclass Job:\n    @staticmethod\n    @publish\n    def run(a): return a + 1\n"}),
    Kind("namespace package", "from space.inner import f as function", (1,), 2, form="import", files={"space/inner.py": "from . import more\ndef f(a): return a + more.ONE\n", "space/more.py": "ONE = 1\n"}),
    Kind("optional import that is absent", "from soft import f as function", (), None, form="import", files={"soft.py": "try:\n    import not_there_at_all as n\nexcept ImportError:\n    n = None\nif __name__ == '__main__':\n    import not_there_either\ndef f(): return n\n"}),
    Kind("module found by its file alone", "import importlib.util\nspec = importlib.util.spec_from_file_location('odd_name', 'parts/file.py')\nm = importlib.util.module_from_spec(spec)\nimport sys\nsys.modules['odd_name'] = m\nspec.loader.exec_module(m)\nfunction = m.f", (1,), 3, form="import", files={"parts/file.py": "def f(a): return a + 2\n"}),
    Kind("installed distribution under another name", "import yaml\ndef function(): return 1", (), 1, requirements=()),
]  # fmt: skip

MORE = [
    Kind("two closures that share a variable", """
def make():
    n = 0
    def bump():
        nonlocal n
        n += 1
    def function():
        bump(); bump()
        return n
    return function
function = make()
""", (), 2),
    Kind("class with keywords for init_subclass", "class Base:\n    def __init_subclass__(cls, tag='none'): cls.tag = tag\nclass Sub(Base, tag='x'): pass\ndef function(): return issubclass(Sub, Base)", (), True),
    Kind("Protocol, TypedDict and NewType", """
from typing import Protocol, TypedDict, NewType, runtime_checkable
@runtime_checkable
class Sized(Protocol):
    def size(self) -> int: ...
class Row(TypedDict, total=False):
    a: int
Id = NewType('Id', int)
class Box:
    def size(self): return 3
def function(): return [isinstance(Box(), Sized), Row(a=1), Id(4)]
""", (), [True, {"a": 1}, 4]),
    Kind("cached_property, property with a setter and total_ordering", """
import functools
@functools.total_ordering
class A:
    def __init__(self, n): self._n = n
    @functools.cached_property
    def double(self): return self._n * 2
    @property
    def n(self): return self._n
    @n.setter
    def n(self, v): self._n = v + 1
    def __eq__(self, o): return self._n == o._n
    def __lt__(self, o): return self._n < o._n
def function():
    a = A(1)
    a.n = 4
    return [a.double, a.n, A(1) <= A(2)]
""", (), [10, 5, True]),
    Kind("collections", """
from collections import OrderedDict, defaultdict, deque, ChainMap, Counter
from types import SimpleNamespace, MappingProxyType
O, D, Q, C = OrderedDict(b=1, a=2), defaultdict(lambda: 7), deque([1, 2], maxlen=2), ChainMap({'a': 1}, {'b': 2})
N, M, K = SimpleNamespace(x=1), MappingProxyType({'a': 1}), Counter('aab')
def function(): return [list(O), D['q'], list(Q), C['b'], N.x, M['a'], K['a']]
""", (), [["b", "a"], 7, [1, 2], 2, 1, 1, 2]),
    Kind("times, fractions, ranges and slices", """
import datetime, fractions, uuid, zoneinfo, random, string
T = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
F, U, R, S, E = fractions.Fraction(1, 3), uuid.UUID(int=5), range(3), slice(1, 2), ...
G, ST = random.Random(4), string.Template('$a')
def function(): return [T.isoformat(), str(F), U.int, list(R), [1, 2, 3][S], E is ..., ST.substitute(a=1), G.random() == random.Random(4).random()]
""", (), ["2020-01-01T00:00:00+00:00", "1/3", 5, [0, 1, 2], [2], True, "1", True]),
    Kind("instances with their own way of pickling", """
class A:
    def __init__(self, n): self.n, self.cache = n, {}
    def __getstate__(self): return {'n': self.n}
    def __setstate__(self, state): self.n, self.cache = state['n'], 'new'
class B:
    def __init__(self, n): self.n = n
    def __reduce__(self): return B, (self.n + 1,)
X, Y = A(1), B(1)
def function(): return [X.n, X.cache, Y.n]
""", (), [1, "new", 2]),
    Kind("slots with inheritance and state", "class A:\n    __slots__ = ('a',)\nclass B(A):\n    __slots__ = ('b', '__dict__')\nX = B()\nX.a, X.b, X.c = 1, 2, 3\ndef function(): return [X.a, X.b, X.c]", (), [1, 2, 3]),
    Kind("a method of a builtin type", "function = str.upper", ("a",), "A"),
    Kind("a bound method of a builtin value", "function = '-'.join", (["a", "b"],), "a-b"),
    Kind("a builtin type", "function = int", ("12",), 12, form="import"),
    Kind("a class of the script", "class function:\n    def __init__(self, n): self.n = n\n    def __repr__(self): return f'<{self.n}>'", (3,), Shown("<3>")),
    Kind("async context manager and closure", """
import contextlib, asyncio
def make(n):
    @contextlib.asynccontextmanager
    async def held():
        await asyncio.sleep(0)
        yield n
    async def function():
        async with held() as v: return v
    return function
function = make(3)
""", (), 3),
    Kind("star import of a local module", "from tools import *\ndef function(a): return add(a) + CONST", (1,), 81, files=TOOLS),
    Kind("wrapper of a local module around a script's function", "from deco import loud\n@loud\ndef function(a): return a + END\nEND = '!'", ("a",), "A!", files={"deco.py": "import functools\nMARK = str.upper\ndef loud(f):\n    @functools.wraps(f)\n    def inner(*a): return MARK(f(*a))\n    return inner\n"}),
    Kind("class decorator and class factory", """
def tag(v):
    def deco(cls):
        cls.tag = v
        return cls
    return deco
@tag(3)
class A: pass
B = type('B', (A,), {'more': lambda self: self.tag + 1})
def function(): return [A.tag, B().more()]
""", (), [3, 4]),
    Kind("exception group and notes", "E = ExceptionGroup('g', [ValueError('a'), KeyError('b')])\nE.add_note('n')\ndef function(): return [len(E.exceptions), E.__notes__]", (), [2, ["n"]]),
    Kind("enum in a function and nested classes", """
import enum
class Outer:
    class Kind(enum.Enum):
        A = 'a'
    class Deep:
        def kind(self): return Outer.Kind.A.value
def function(): return Outer.Deep().kind()
""", (), "a"),
    Kind("dataclass with inheritance, post_init and class variables", """
from dataclasses import dataclass, field, KW_ONLY, InitVar, asdict
from typing import ClassVar
@dataclass
class Base:
    count: ClassVar[int] = 2
    a: int
@dataclass
class Child(Base):
    _: KW_ONLY
    b: list = field(default_factory=lambda: [1], repr=False)
    c: InitVar[int] = 0
    d: int = field(init=False)
    def __post_init__(self, c): self.d = self.a + c + self.count
def function(): return asdict(Child(1, c=5))
""", (), {"a": 1, "b": [1], "d": 8}),
    Kind("generator expression, nested comprehension and class body comprehension", "N = 3\nclass A:\n    squares = [i * i for i in range(N)]\n    names = tuple(f'{x}' for x in 'ab')\ndef function(): return [A.squares, A.names, [[j for j in range(i)] for i in range(N)]]", (), [[0, 1, 4], ("a", "b"), [[], [0], [0, 1]]]),
    Kind("weak references to a class", "import weakref\nclass A: pass\nR = weakref.ref(A)\ndef function(): return R().__name__ if R() else None", (), "A"),
    Kind("a function that is compared and hashed as a key", "def a(): return 1\ndef b(): return 2\nT = {a: 'a', b: 'b'}\nS = {a, b}\ndef function(): return [T[a], a in S, len(S)]", (), ["a", True, 2]),
    Kind("warnings filter and logging handler by name", "import logging\nLOG = logging.getLogger(__name__)\ndef function(): return LOG.name", (), "__main__"),
    Kind("deep chain of helpers", "".join(f"def h{i}(n): return h{i-1}(n) + 1\n" if i else "def h0(n): return n\n" for i in range(60)) + "def function(n): return h59(n)", (1,), 60),
    Kind("long list of instances", "class P:\n    def __init__(self, n): self.n = n\nL = [P(i) for i in range(2000)]\ndef function(): return sum(p.n for p in L)", (), 1999000),
]  # fmt: skip

NEWER = [
    Kind("type parameters and type aliases", """
type Pair[T] = tuple[T, T]
class Box[T: int]:
    def __init__(self, v: T): self.v = v
    def get(self) -> T: return self.v
def first[T](p: Pair[T]) -> T: return p[0]
def function(a: Pair[int]): return [Box[int](a).get(), first(a), Pair.__name__]
""", ((1, 2),), [(1, 2), 1, "Pair"]),
]  # fmt: skip

KINDS = [*PLAIN, *RECURSION, *CALLABLES, *REMOTE, *VALUES, *CLASSES, *MODULES, *MORE]
if sys.version_info >= (3, 12):
    KINDS += NEWER


def _global(
    kind: str, value: str, imports: str, words: str, hint: str = "inside the function"
) -> Refused:
    source = f"{imports}\nTHING = {value}\ndef function(): return THING"
    return Refused(
        f"global {kind}", source, (f"the global `THING`, {words}", hint), "function → THING"
    )


REFUSED = [
    _global("Lock", "threading.Lock()", "import threading", "a threading.Lock"),
    _global("RLock", "threading.RLock()", "import threading", "a threading.RLock"),
    _global("Condition", "threading.Condition()", "import threading", "a threading.Condition"),
    _global("Event", "threading.Event()", "import threading", "a threading.Event"),
    _global("Thread", "threading.Thread()", "import threading", "a threading.Thread", "start it inside"),
    _global("thread local", "threading.local()", "import threading", "a threading.local"),
    _global("queue", "queue.Queue()", "import queue", "a queue.Queue"),
    _global("socket", "socket.socket()", "import socket", "a socket.socket", "open it inside"),
    _global("text file", "open('main.py')", "", "an open file", "read it now"),
    _global("binary file", "open('main.py', 'rb')", "", "an open file", "read it now"),
    _global("process", "subprocess.Popen(['true'])", "import subprocess", "a subprocess.Popen", "start it inside"),
    _global("generator", "(x for x in [1])", "", "a generator", "a list of its items"),
    _global("coroutine", "(lambda c: c)(work())", "async def work(): pass", "a coroutine", "await it"),
    _global("context variable", "contextvars.ContextVar('v')", "import contextvars", "a contextvars.ContextVar", "as an argument"),
    _global("database", "sqlite3.connect(':memory:')", "import sqlite3", "a sqlite3.Connection", "open it inside"),
    _global("HTTP session", "requests.Session()", "import requests", "a requests.sessions.Session", "make it inside"),
    _global("pool", "ThreadPoolExecutor(1)", "from concurrent.futures import ThreadPoolExecutor", "a concurrent.futures.thread.ThreadPoolExecutor"),
    _global("memory view", "memoryview(b'a')", "", "a memoryview", "capture bytes"),
    _global("large value", "list(range(400_000))", "", "a list of more than 1 MB", "max_value_bytes="),
    _global("large text", "'x' * 1_000_001", "", "a str of more than 1 MB", "pass it as an argument"),
    _global("module made in memory", "types.ModuleType('made')", "import types", "the module made, which comes from no file", "as a file"),
    _global("the script's namespace", "globals()", "", "the whole namespace", "by its own name"),
    _global("what refuses to be pickled", "Stiff()", "class Stiff:\n    def __reduce__(self): raise TypeError('no pickle of this')", "which cannot be pickled (TypeError: no pickle of this)"),
    _global("deep nesting", "deep()", "def deep():\n    v = []\n    for _ in range(100_000): v = [v]\n    return v", "a structure nested deeper"),
    Refused("enum that numbers its members itself", "import enum\nclass Auto(enum.Enum):\n    def __new__(cls, label):\n        self = object.__new__(cls)\n        self._value_ = len(cls.__members__)\n        self.label = label\n        return self\n    A = 'a'\ndef function(): return Auto.A", ("`Auto`", "__new__ of its own", "module of its own"), "function → Auto"),
    Refused("inside a dict in a list", "import threading\nTHING = [1, {'k': (2, threading.Lock())}]\ndef function(): return THING", ("the global `THING[1]['k'][1]`, a threading.Lock",), "function → THING[1]['k'][1]"),
    Refused("attribute of an instance", "import threading\nclass Pool:\n    def __init__(self): self.lock = threading.Lock()\nPOOL = Pool()\ndef function(): return POOL", ("the global `POOL.lock`, a threading.Lock",), "function → POOL.lock"),
    Refused("attribute of a class", "import threading\nclass Pool:\n    lock = threading.Lock()\ndef function(): return Pool", ("the global `Pool.lock`, a threading.Lock",), "function → Pool.lock"),
    Refused("through a helper", "import threading\nLOCK = threading.Lock()\ndef helper(): return LOCK\ndef function(): return helper()", ("`function` uses the global `helper`, which uses the global `LOCK`, a threading.Lock",), "function → helper → LOCK"),
    Refused("through a method", "import threading\nLOCK = threading.Lock()\nclass Pool:\n    def take(self): return LOCK\ndef function(): return Pool()", ("`function` uses the global `Pool`, in which `Pool.take` uses the global `LOCK`",), "function → Pool → Pool.take → LOCK"),
    Refused("variable of an enclosing function", "import threading\ndef make():\n    lock = threading.Lock()\n    def function(): return lock\n    return function\nfunction = make()", ("`function` uses the variable `lock`, a threading.Lock",), "function → lock"),
    Refused("default of a parameter", "import threading\ndef function(a=1, lock=threading.Lock()): return lock", ("`function` has a default for `lock`, a threading.Lock",), "function → lock"),
    Refused("default of a keyword-only parameter", "import threading\ndef function(*, lock=threading.Lock()): return lock", ("`function` has a default for `lock`, a threading.Lock",), "function → lock"),
    Refused("bound method of what holds a lock", "import threading\nclass Pool:\n    def __init__(self): self.lock = threading.Lock()\n    def take(self): return 1\nfunction = Pool().take", ("lock", "a threading.Lock"), "Pool.take.lock"),
    Refused("connection to a gateway", "from away.connection import FaasConnection\nfaas = FaasConnection('gw.example', name='shop')\ndef function(): return faas.functions()", ("the global `faas`", "FaasConnection.named('shop') inside"), "function → faas"),
    Refused("name not bound yet", "from capturing import publish\n@publish\ndef function(): return later()\ndef later(): return 1", ("`later`, which has no value", "define it above", "builder.publish(faas)(function)", "mirror_in_faas"), "function → later"),
    Refused("names not bound yet, one in a helper", "from capturing import publish\ndef helper(): return LIMIT\n@publish\ndef function(): return helper(), later()\ndef later(): return 1\nLIMIT = 1", ("`later`, `LIMIT` (in `helper`), which have no value",), "function → later"),
    Refused("variable not bound yet", "from capturing import publish\ndef make():\n    @publish\n    def function(): return later()\n    def later(): return 1\n    return function\nfunction = make()", ("`later`, which has no value",), "function → later"),
    Refused("local module that hides one of Python's", "import queue\ndef function(): return queue.MINE", ("queue.py", "hides Python's own module queue", "rename"), "queue", {"queue.py": "MINE = 1\n"}),
    Refused("compiled local module", "def function():\n    import fast\n    return fast.f()", ("fast", "compiled for this machine", "wheel"), "fast", {"fast.cpython-311-x86_64-linux-gnu.so": b"\x7fELF", "fast.so": b"\x7fELF"}),
    Refused("secret in a packed file", "import capturing\ncapturing.remember('pass')\nfrom conf import f as function", ("conf.py, line 2", "FaasConnection.named"), "conf.py:2", {"conf.py": "# the word pass alone is none\nfaas = dict(password='pass')\ndef f(): return 1\n"}),
    Refused("secret in a data file", "import capturing\ncapturing.remember('hunter2hunter2')\nfrom conf import f as function", ("conf/data.ini, line 2",), "conf/data.ini:2", {"conf/__init__.py": "def f(): return 1\n", "conf/data.ini": "[a]\npassword=hunter2hunter2\n"}),
    Refused("secret as a number", "import capturing\ncapturing.remember('1234')\nfrom conf import f as function", ("conf.py, line 1",), "conf.py:1", {"conf.py": "faas = dict(password=1234)\ndef f(): return 1\n"}),
    Refused("secret with an escape", "import capturing\ncapturing.remember('a\"b')\nfrom conf import f as function", ("conf.py, line 1",), "conf.py:1", {"conf.py": "P = 'a\\x22b'\ndef f(): return 1\n"}),
    Refused("secret in a captured value", "import capturing\ncapturing.remember('pass')\nCONF = {'user': 'me', 'word': 'pass'}\ndef function(): return CONF", ("the global `CONF['word']`, which holds a password",), "function → CONF['word']"),
    Refused("secret in code", "import capturing\ncapturing.remember('longpassword')\ndef helper(): return 'x-longpassword-y'\ndef function(): return helper()", ("`helper`", "whose code holds a password"), "function → helper"),
]  # fmt: skip
