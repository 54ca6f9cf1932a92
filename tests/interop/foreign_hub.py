"""A hub that is not ours, for our client: a listener on Qpid Proton or on rhea, over TLS."""

import json
import sys

from harness import (
    DEVICE,
    ENDS_WITHIN_S,
    HERE,
    HUB,
    STARTS_WITHIN_S,
    node_environment,
    password_file,
    server_certificate,
)

USER = f"{DEVICE}@sas.{HUB}"


class ForeignHub:
    """It takes SASL PLAIN with this token, or ANONYMOUS and tokens put to `$cbs`. See peers/proton_hub.py."""

    def __init__(self, world, kind, token, window, messages, commands=()):
        folder = world.folder(f"{kind}-hub")
        self.ca, certificate, key = server_certificate(folder)
        self.token = token
        # Thousands of frames are too many to write down.
        trace = messages == 1
        job = {
            "certificate": str(certificate),
            "key": str(key),
            "window": window,
            "messages": messages,
            "commands": list(commands),
            "timeout_s": ENDS_WITHIN_S,
        }
        if kind == "proton":
            sasl_dir = str(password_file(folder, USER, token)) if token else None
            command, more = [sys.executable, HERE / "peers" / "proton_hub.py"], {"sasl_dir": sasl_dir}
            environment = {"PN_TRACE_FRM": "1"} if trace else {}
        else:
            command, more = ["node", HERE / "peers" / "rhea_hub.js"], {
                "user": USER if token else None,
                "password": token,
            }
            environment = node_environment(self.ca, trace)
        self.process = world.start(f"{kind}-hub", command, stdin=json.dumps(job | more), env=environment)
        self.port = self.process.json_line(STARTS_WITHIN_S)["port"]

    def result(self):
        """What it has seen, when the client has gone."""
        return self.process.json_line(10)
