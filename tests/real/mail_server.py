"""A mail server for tests: aiosmtpd, which takes a mail by STARTTLS and with a password only, and writes what it took to
standard output, one JSON object a line. Arguments: port, certificate, key."""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Handler:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        taken = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None,
            "user": session.auth_data.login.decode(),
            "headers": {name.lower(): str(value) for name, value in mail.items()},
            "text": mail.get_body(("plain",)).get_content(),
            "html": mail.get_body(("html",)).get_content(),
            "defects": [str(defect) for part in mail.walk() for defect in part.defects],
        }
        print(json.dumps(taken), flush=True)
        return "250 taken"


def authenticator(server, session, envelope, mechanism, data):
    return AuthResult(success=data.password == b"hunter2", handled=False, auth_data=data)


port, certificate, key = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
controller = Controller(
    Handler(),
    hostname="127.0.0.1",
    port=port,
    tls_context=context,
    require_starttls=True,
    auth_required=True,
    authenticator=authenticator,
)
controller.start()
asyncio.new_event_loop().run_forever()
