import base64, hmac, os, time
from urllib.parse import quote_plus
from proton import Message, SSLDomain, symbol
from proton.reactor import LinkOption
from proton.utils import BlockingConnection

class TwinLink(LinkOption):
    def apply(self, link):
        link.properties = {symbol("com.microsoft:channel-correlation-id"): "twin:1"}

host, device, key = (p.split("=", 1)[1] for p in os.environ["IOTHUB_DEVICE_CONNECTION_STRING"].split(";"))
resource, end = quote_plus(f"{host}/devices/{device}"), int(time.time()) + 3600
mac = hmac.digest(base64.b64decode(key), f"{resource}\n{end}".encode(), "sha256")
token = f"SharedAccessSignature sr={resource}&sig={quote_plus(base64.b64encode(mac))}&se={end}"
user = f"{device}@sas.{host.split(':')[0].split('.')[0]}"
tls = SSLDomain(SSLDomain.MODE_CLIENT)
tls.set_trusted_ca_db(os.environ["IOTHUB_CA_FILE"])
hub = BlockingConnection(f"amqps://{host}", user=user, password=token, allowed_mechs="PLAIN", ssl_domain=tls)
hub.create_sender(f"/devices/{device}/messages/events").send(Message("Hello from Python"))
answers = hub.create_receiver(f"/devices/{device}/twin", options=TwinLink())
get = Message(correlation_id="1", annotations={symbol("operation"): "GET"})
hub.create_sender(f"/devices/{device}/twin", options=TwinLink()).send(get)
answer = answers.receive(timeout=30)
print("twin:", bytes(answer.body).decode())
hub.close()
