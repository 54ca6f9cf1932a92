"""Certificates for devices, by OpenSSL and without a line of ours."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import run

NEW = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]


@dataclass
class Certificate:
    file: Path
    key: Path

    def fingerprint(self, digest):
        """As OpenSSL prints it, colons and all."""
        command = ["openssl", "x509", "-in", self.file, "-noout", "-fingerprint", f"-{digest}"]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return printed.strip().split("=")[1]


def authority(world):
    return _made(world, "/CN=interop device CA")


def self_signed(world, name):
    return _made(world, f"/CN={name}")


def signed_by(world, ca, name):
    return _made(
        world, f"/CN={name}", "-CA", ca.file, "-CAkey", ca.key, "-addext", "basicConstraints=critical,CA:FALSE"
    )


def _made(world, subject, *more):
    folder = world.folder("certificate")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    run(*NEW, "-out", made.file, "-keyout", made.key, "-subj", subject, *more)
    return made
