# SPDX-FileCopyrightText: The vpnami authors
# SPDX-License-Identifier: MPL-2.0
"""cloud-init's part handler for the user-data of vpnami.

vpnami-firstboot reads the user-data by itself, from the metadata service. This
handler only tells cloud-init that the document is known, because cloud-init
warns of a document that nobody claims, and a warning makes its status degraded.

A document that starts with "#vpnami" reaches cloud-init under the type
text/x-not-multipart when it is the whole user-data, and under text/vpnami when
it is a part of a MIME archive.
"""

import logging

LOG = logging.getLogger(__name__)

NOT_MULTIPART = "text/x-not-multipart"


def list_types():
    return ["text/vpnami", NOT_MULTIPART]


def handle_part(_data, ctype, _filename, payload):
    if ctype != NOT_MULTIPART:
        return
    if isinstance(payload, str):
        payload = payload.encode("utf-8", "replace")
    if not payload.startswith(b"#vpnami"):
        # What cloud-init itself would have said without this handler.
        LOG.warning("Unhandled non-multipart (%s) userdata", ctype)
