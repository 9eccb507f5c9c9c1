"""What is in a checkpoint, by name: read by hand, as the layout is documented."""

import json
import pathlib


def leaves(path):
    """From the path of each leaf to what it is: its dtype, shape and stored bytes, or its value."""
    data = pathlib.Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    description = json.loads(header["__metadata__"]["coax"])

    def walk(tree, where):
        if tree is None:
            yield where, None
            return
        kind, value = next(iter(tree.items()))
        if kind in ("dict", "list", "tuple", "node"):
            for key, child in value:
                yield from walk(child, f"{where}/{key}")
        elif kind in ("array", "device", "scalar", "key"):
            looks, (begin, end) = description["arrays"][value], header[str(value)]["data_offsets"]
            yield where, (looks["dtype"], looks["shape"], data[start + begin : start + end])
        else:
            yield where, value

    found = {}
    for name, entry in description["objects"].items():
        found |= walk(entry["tree"], name)
        for path_of_part, tree in entry.get("parts", {}).items():
            found |= walk(tree, f"{path_of_part}:state")
    return found
