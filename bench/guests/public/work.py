"""Python's own library taken apart: syntax trees, tokens, JSON and compression."""

import ast
import collections
import hashlib
import json
import pathlib
import re
import statistics
import sys

count = int(sys.argv[1])
folder = pathlib.Path(statistics.__file__).parent
names = sorted(path.name for path in folder.glob("*.py") if 3000 < path.stat().st_size < 40000)
kinds: collections.Counter[str] = collections.Counter()
words: collections.Counter[str] = collections.Counter()
digest = hashlib.sha256()
for name in (names * count)[: 2 * count]:
    text = (folder / name).read_text()
    tree = ast.parse(text)
    kinds.update(type(node).__name__ for node in ast.walk(tree))
    words.update(re.findall(r"[a-z_]{4,}", text))
    digest.update(ast.unparse(tree).encode())
    again = json.loads(json.dumps({"name": name, "words": words.most_common(200)}))
    digest.update(repr(again).encode())
values = [count * 1.5 for count in kinds.values()]
print(digest.hexdigest(), kinds.most_common(5), statistics.fmean(values), statistics.stdev(values))
