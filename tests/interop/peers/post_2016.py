"""The program of the 2016 post on its address string alone, with today's Proton instead of its Messenger.

Messenger is gone from Proton, and its URL parser never took the address (it cut the user information at the first
"@"). The post's author patched that parser to search the last "@"; `take_apart` below is that rule and nothing
else, and `job` names what Messenger put on the wire: PLAIN, the host of the URL as `open.hostname`, a link called
"sender-xxx" with the path as source and target, a transfer that is settled already, `to` as the URL without its
user information, and the body as an amqp-value string.

stdin:  {"url", "body", "dial_host", "dial_port", "tls_name", "ca", "timeout_s"}; the dialled place stands in for
        the DNS name of a hub that is not ours to point anywhere
stdout: as proton_send.py
"""

import json
import sys
from urllib.parse import unquote

from proton_send import send


def take_apart(url):
    authority, _, path = url.removeprefix("amqps://").partition("/")
    user_information, _, host = authority.rpartition("@")
    user, _, password = user_information.partition(":")
    return unquote(user), unquote(password), host, path


def job(request):
    user, password, host, path = take_apart(request["url"])
    return {
        "host": request["dial_host"],
        "port": request["dial_port"],
        "tls_name": request["tls_name"],
        "ca": request["ca"],
        "timeout_s": request["timeout_s"],
        "virtual_host": host,
        "user": user,
        "password": password,
        "address": path,
        "both_termini": True,
        "link_name": "sender-xxx",
        "message": {
            "body_kind": "value",
            "body": request["body"],
            "settled": True,
            "to": f"amqps://{host}/{path}",
        },
    }


if __name__ == "__main__":
    print(json.dumps(send(job(json.load(sys.stdin)))), flush=True)
