"""Each C file includes the header of every standard function that it uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"

# Types such as size_t and uint8_t are part of crlcheck_values.h's interface; what is
# called is not. Some versions of Python.h bring string.h and stdlib.h, others do not.
HEADERS = {
    "stdatomic.h": r"atomic_\w+",
    "stdio.h": r"f?printf|f?puts|fopen|fclose|perror",
    "stdlib.h": r"malloc|calloc|realloc|aligned_alloc|free|abort|exit|getenv|qsort|bsearch",
    "string.h": r"mem(?:cpy|move|set|cmp|chr)|str(?:len|n?cmp|n?cpy|r?chr|str)",
    "sys/mman.h": r"mmap|munmap|madvise",
    "dlfcn.h": r"dlsym|dlopen|dlclose",
}
COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def missing_headers(source: str) -> set[str]:
    """Standard headers whose functions *source* calls without including them."""
    included = set(re.findall(r"^#include <([^>]+)>", source, re.MULTILINE))
    code = COMMENT_OR_STRING.sub(" ", source)
    used = {
        header
        for header, functions in HEADERS.items()
        if re.search(rf"(?<![\w.>])(?:{functions})\s*\(", code)
    }
    return used - included


@pytest.mark.parametrize(
    "path",
    sorted(NATIVE.rglob("*.[ch]")),
    ids=lambda path: str(path.relative_to(NATIVE)),
)
def test_no_file_relies_on_what_other_headers_include(path: Path) -> None:
    """Whatever is included elsewhere, a file that calls memcpy includes string.h."""
    assert missing_headers(path.read_text(encoding="utf-8")) == set()


def test_a_missing_header_is_found() -> None:
    """Calls in comments and strings do not count, and what is included does."""
    source = '#include <stdlib.h>\n// memset(\nvoid f(void) { free(0); memcpy(a, "strlen(", 1); }'
    assert missing_headers(source) == {"string.h"}
