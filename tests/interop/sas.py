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
    resource = quote(f"{host}/devices/{device}", safe="")
    expiry = int(time.time()) + lifetime_s
    mac = hmac.new(base64.b64decode(key_base64), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = quote(base64.b64encode(mac), safe="")
    return f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"
