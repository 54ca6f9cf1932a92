"""The list of cases; a module `cases_TOPIC.py` adds its own by decorating functions of one argument, the `World`."""

CASES = {}
# The names of cases that run one after another, as they share the hub of `iothub emulator run` and read its journal.
IN_TURN = []


def case(run):
    """A case on ground of its own, which runs beside others."""
    name = run.__name__.replace("_", "-")
    if name in CASES:
        raise ValueError(f"two cases are named {name}")
    CASES[name] = run
    return run


def case_in_turn(run):
    """A case at the one hub of `iothub emulator run`."""
    case(run)
    IN_TURN.append(run.__name__.replace("_", "-"))
    return run


def cases_of(make, *variants):
    """Cases that differ by one word: `cases_of(node_sends_telemetry, "tcp", "ws")` makes two."""
    for variant in variants:

        def run(world, variant=variant):
            make(world, variant)

        run.__name__ = f"{make.__name__}_{variant}"
        case(run)
