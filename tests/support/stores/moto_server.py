"""moto's S3 in a process of its own: prints its port, then serves until it is ended.

One request at a time, which makes its check of If-None-Match and the write that follows one step,
as S3 promises.
"""

from __future__ import annotations

import logging

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

if __name__ == "__main__":
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(
        "127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False
    )
    print(server.port, flush=True)
    server.serve_forever()
