"""SAS tokens of IoT Hub, signed without a line of ours: the second witness of what `iothub-sas` does.

token = "SharedAccessSignature sr=R&sig=S&se=E", S = base64(HMAC-SHA256(base64-decoded key, R + LF + E)),
R and S percent-encoded, E in seconds since 1970 (Azure IoT Hub, "Control access with shared access signatures").
"""

import base64
import hashlib
import hmac
import time
from urllib.parse import quote


def sign(key_base64, host, device, lifetime_s=3600):
    return sign_resource(key_base64, quote(f"{host}/devices/{device}", safe=""), lifetime_s)


def sign_resource(key_base64, resource, lifetime_s=3600, policy=None):
    """`resource` as it stands in the token: what is signed is what is written."""
    expiry = int(time.time()) + lifetime_s
    mac = hmac.new(base64.b64decode(key_base64), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = quote(base64.b64encode(mac), safe="")
    of_policy = f"&skn={policy}" if policy else ""
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}{of_policy}"


def sign_by_text(key_text, resource, policy, lifetime_s=3600):
    """As clients of Event Hubs sign: with the key as it stands, not decoded."""
    written = quote(resource, safe="")
    expiry = int(time.time()) + lifetime_s
    mac = hmac.new(key_text.encode(), f"{written}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = quote(base64.b64encode(mac), safe="")
    return f"SharedAccessSignature sr={written}&sig={signature}&se={expiry}&skn={policy}"
