"""The list of cases; a module `cases_TOPIC.py` adds its own by decorating functions of one argument, the `World`."""

CASES = {}


def case(run):
    name = run.__name__.replace("_", "-")
    if name in CASES:
        raise ValueError(f"two cases are named {name}")
    CASES[name] = run
    return run
